//! Ownership: which objects a controller may count as its own.
//!
//! An object has at most one owner with `controller: true`. A controller adopts objects without one that its selector
//! matches, and releases those it owns that the selector no longer matches. Pure.

use std::collections::BTreeMap;

use api::labels::Selector;
use api::pods::controller_of;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use serde_json::{Value, json};

/// The reference by which `owner` controls its dependents.
pub fn reference_to<K: kube::Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// A selector that can be asked; one that cannot be understood matches nothing, and so does an empty one: to select
/// everything in a namespace is taken for a mistake.
#[derive(Default)]
pub struct Matcher(Option<Selector>);

impl Matcher {
    /// Reads a selector.
    pub fn new(selector: &LabelSelector) -> Self {
        Self(
            Selector::from_spec(selector)
                .ok()
                .filter(|selector| !selector.is_empty()),
        )
    }

    /// Whether an object with this metadata is selected.
    pub fn matches(&self, meta: &ObjectMeta) -> bool {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.0
            .as_ref()
            .is_some_and(|selector| selector.matches(meta.labels.as_ref().unwrap_or(&NONE)))
    }
}

/// What a controller does about one object that it owns or could own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours.
    Own,
    /// It is nobody's and matches: make it ours.
    Adopt,
    /// It is ours and does not match any more: let it go.
    Release,
    /// It is not ours.
    Leave,
}

/// Decides for one object. `owner` is the controller's metadata.
pub fn claim(owner: &ObjectMeta, matcher: &Matcher, object: &ObjectMeta) -> Claim {
    let is_leaving = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(controller) if Some(&controller.uid) != owner.uid.as_ref() => Claim::Leave,
        Some(_) if matcher.matches(object) => Claim::Own,
        Some(_) if is_leaving => Claim::Leave,
        Some(_) => Claim::Release,
        None if is_leaving || object.deletion_timestamp.is_some() => Claim::Leave,
        None if matcher.matches(object) => Claim::Adopt,
        None => Claim::Leave,
    }
}

/// The merge patch that makes `owner` the controller of the object.
pub fn adoption(object: &ObjectMeta, owner: OwnerReference) -> Value {
    let mut owners = object.owner_references.clone().unwrap_or_default();
    owners.retain(|other| other.uid != owner.uid);
    owners.push(owner);
    owners_patch(object, &owners)
}

/// The merge patch that takes the owners out for which `drop` says so.
pub fn without_owners(object: &ObjectMeta, drop: impl Fn(&OwnerReference) -> bool) -> Value {
    let mut owners = object.owner_references.clone().unwrap_or_default();
    owners.retain(|owner| !drop(owner));
    owners_patch(object, &owners)
}

fn owners_patch(object: &ObjectMeta, owners: &[OwnerReference]) -> Value {
    json!({ "metadata": {
        "uid": object.uid,
        "resourceVersion": object.resource_version,
        "ownerReferences": owners,
    }})
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn owner(leaving: bool) -> ObjectMeta {
        ObjectMeta {
            uid: Some("us".into()),
            deletion_timestamp: leaving.then_some(Time(Timestamp::UNIX_EPOCH)),
            ..Default::default()
        }
    }

    fn object(label: &str, controller: Option<&str>) -> ObjectMeta {
        let reference = |uid: &str| OwnerReference {
            uid: uid.into(),
            controller: Some(true),
            ..Default::default()
        };
        ObjectMeta {
            labels: Some([("app".to_owned(), label.to_owned())].into()),
            owner_references: controller.map(|uid| vec![reference(uid)]),
            ..Default::default()
        }
    }

    #[test]
    fn claims() {
        let matcher = Matcher::new(&LabelSelector {
            match_labels: Some([("app".to_owned(), "web".to_owned())].into()),
            ..Default::default()
        });
        for (leaving, label, controller, expected) in [
            (false, "web", Some("us"), Claim::Own),
            (false, "web", None, Claim::Adopt),
            (false, "other", Some("us"), Claim::Release),
            (false, "other", None, Claim::Leave),
            (false, "web", Some("them"), Claim::Leave),
            (true, "web", Some("us"), Claim::Own),
            (true, "web", None, Claim::Leave),
            (true, "other", Some("us"), Claim::Leave),
        ] {
            let got = claim(&owner(leaving), &matcher, &object(label, controller));
            assert_eq!(
                got, expected,
                "leaving {leaving}, label {label}, controller {controller:?}"
            );
        }
    }

    #[test]
    fn an_empty_selector_matches_nothing() {
        assert!(!Matcher::new(&LabelSelector::default()).matches(&object("web", None)));
    }
}
