//! When a pod must leave a tainted node. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

/// How long a pod may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// As long as things are as they are.
    Forever,
    /// Until then.
    Until(Timestamp),
}

/// How long a pod may stay on a node with these taints: each taint with the effect NoExecute must be tolerated, and the
/// shortest toleration counts, from the time the taint was added.
pub fn stay(pod: &Pod, taints: &[Taint]) -> Stay {
    let none = Vec::new();
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_ref())
        .unwrap_or(&none);
    let until = taints
        .iter()
        .filter(|taint| taint.effect == "NoExecute")
        .filter_map(|taint| {
            let added = taint
                .time_added
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
            match tolerated_for(tolerations, taint) {
                None => Some(added),
                Some(None) => None,
                Some(Some(seconds)) => added.checked_add(SignedDuration::from_secs(seconds.max(0))).ok(),
            }
        });
    until.min().map_or(Stay::Forever, Stay::Until)
}

/// For how many seconds a taint is tolerated: not at all, without end (`Some(None)`), or the fewest that any toleration of
/// it says.
fn tolerated_for(tolerations: &[Toleration], taint: &Taint) -> Option<Option<i64>> {
    let mut matching = tolerations
        .iter()
        .filter(|toleration| tolerates(toleration, taint))
        .peekable();
    matching.peek()?;
    Some(
        matching
            .filter_map(|toleration| toleration.toleration_seconds)
            .min(),
    )
}

/// Whether a toleration is meant for a taint.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    let exists = toleration.operator.as_deref() == Some("Exists");
    exists || (!key.is_empty() && text(&toleration.value) == text(&taint.value))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn until(tolerations: Value) -> Stay {
        let pod = serde_json::from_value(json!({ "spec": { "containers": [], "tolerations": tolerations } }));
        let taints = json!([
            { "key": "gone", "effect": "NoExecute", "timeAdded": "1970-01-01T00:01:40Z" },
            { "key": "full", "effect": "NoSchedule" },
        ]);
        stay(
            &pod.unwrap(),
            &serde_json::from_value::<Vec<Taint>>(taints).unwrap(),
        )
    }

    #[test]
    fn tolerations_decide() {
        let at = |second| Stay::Until(Timestamp::from_second(second).unwrap());
        assert_eq!(until(json!([])), at(100));
        assert_eq!(until(json!([{ "key": "other", "operator": "Exists" }])), at(100));
        assert_eq!(until(json!([{ "operator": "Exists" }])), Stay::Forever);
        assert_eq!(
            until(json!([{ "key": "gone", "operator": "Equal", "value": "x" }])),
            at(100)
        );
        let seconds = json!([
            { "key": "gone", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            { "key": "gone", "operator": "Exists", "tolerationSeconds": 60 },
        ]);
        assert_eq!(until(seconds), at(160));
    }
}
