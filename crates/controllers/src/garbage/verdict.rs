//! What becomes of an object, given its owners. Pure. Upstream's `attemptToDeleteItem`.

use kube::api::{ObjectMeta, PropagationPolicy};

/// Finalizer of an owner that waits for its dependents to be gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner that leaves its dependents to themselves.
pub const ORPHAN: &str = "orphan";

/// How an owner of an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It exists.
    Solid,
    /// It is gone.
    Absent,
    /// It is being deleted, and waits for its dependents to be gone.
    Waiting,
}

/// What to do with an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing.
    Keep,
    /// Another owner keeps it: forget the owners that are not solid.
    Forget,
    /// Nobody keeps it.
    Delete(PropagationPolicy),
}

/// Judges an object that is not being deleted.
pub fn judge(object: &ObjectMeta, owners: &[Owner], has_dependents: bool) -> Verdict {
    let has_solid = owners.contains(&Owner::Solid);
    let all_solid = owners.iter().all(|owner| *owner == Owner::Solid);
    if all_solid {
        Verdict::Keep
    } else if has_solid {
        Verdict::Forget
    } else if owners.contains(&Owner::Waiting) && has_dependents {
        // The owner waits; so this one must wait for its own dependents in turn.
        Verdict::Delete(PropagationPolicy::Foreground)
    } else if has_finalizer(object, ORPHAN) {
        Verdict::Delete(PropagationPolicy::Orphan)
    } else if has_finalizer(object, FOREGROUND) {
        Verdict::Delete(PropagationPolicy::Foreground)
    } else {
        Verdict::Delete(PropagationPolicy::Background)
    }
}

/// How an owner with this metadata stands.
pub fn standing(owner: &ObjectMeta) -> Owner {
    let waits = owner.deletion_timestamp.is_some() && has_finalizer(owner, FOREGROUND);
    if waits { Owner::Waiting } else { Owner::Solid }
}

/// Whether an object has this finalizer.
pub fn has_finalizer(object: &ObjectMeta, finalizer: &str) -> bool {
    object.finalizers.iter().flatten().any(|other| other == finalizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        use Owner::{Absent, Solid, Waiting};
        let object = |finalizer: Option<&str>| ObjectMeta {
            finalizers: finalizer.map(|finalizer| vec![finalizer.to_owned()]),
            ..Default::default()
        };
        let delete = Verdict::Delete;
        let cases: [(&[Owner], bool, Option<&str>, Verdict); 8] = [
            (&[], false, None, Verdict::Keep),
            (&[Solid], true, None, Verdict::Keep),
            (&[Solid, Absent], true, None, Verdict::Forget),
            (&[Solid, Waiting], true, None, Verdict::Forget),
            (&[Absent], true, None, delete(PropagationPolicy::Background)),
            (&[Absent], true, Some(ORPHAN), delete(PropagationPolicy::Orphan)),
            (&[Waiting], true, None, delete(PropagationPolicy::Foreground)),
            (
                &[Absent, Waiting],
                false,
                None,
                delete(PropagationPolicy::Background),
            ),
        ];
        for (owners, has_dependents, finalizer, expected) in cases {
            assert_eq!(
                judge(&object(finalizer), owners, has_dependents),
                expected,
                "{owners:?}"
            );
        }
    }
}
