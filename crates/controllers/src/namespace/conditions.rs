//! Why a namespace is still there: the conditions of one that is being deleted. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// What one look at a namespace has found and not got rid of.
#[derive(Debug, Default)]
pub struct Left {
    /// Objects by resource, as `pods.` or `deployments.apps`.
    resources: BTreeMap<String, usize>,
    /// Objects by the finalizer that keeps them.
    finalizers: BTreeMap<String, usize>,
    failures: Vec<String>,
}

/// What a condition says when there is nothing to say.
const FINE: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        CONTENT_FAILURE,
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    (
        CONTENT_REMAINING,
        "ContentRemoved",
        "All content successfully removed",
    ),
    (
        FINALIZERS_REMAINING,
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];
const CONTENT_FAILURE: &str = "NamespaceDeletionContentFailure";
const CONTENT_REMAINING: &str = "NamespaceContentRemaining";
const FINALIZERS_REMAINING: &str = "NamespaceFinalizersRemaining";

impl Left {
    /// Objects of a kind are still there; `in_time`: they may be, for a while.
    pub fn add(&mut self, kind: &api::Kind, namespace: &str, objects: &[&ObjectMeta], in_time: bool) {
        if objects.is_empty() {
            return;
        }
        let resource = format!("{}.{}", kind.plural, kind.group);
        *self.resources.entry(resource).or_default() += objects.len();
        let finalizers = objects
            .iter()
            .flat_map(|object| object.finalizers.iter().flatten());
        let mut is_held = false;
        for finalizer in finalizers {
            is_held = true;
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        if !is_held && !in_time {
            let (group, version, plural) = (kind.group, kind.version, kind.plural);
            self.failures.push(format!(
                "unexpected items still remain in namespace: {namespace} for gvr: {group}/{version}, Resource={plural}"
            ));
        }
    }

    /// A kind could not be read or deleted: why, in a sentence.
    pub fn failed(&mut self, why: String) {
        self.failures.push(why);
    }

    /// Whether nothing is left, as far as anyone could see.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.failures.is_empty()
    }

    /// The conditions that tell it, those of others kept; `None` if `old` tells it already.
    pub fn conditions(&self, old: &[NamespaceCondition], now: Timestamp) -> Option<Vec<NamespaceCondition>> {
        let mut new = old.to_vec();
        for (type_, reason, message) in FINE {
            let bad = self.problem(type_);
            let status = if bad.is_some() { "True" } else { "False" };
            let (reason, message) = bad.unwrap_or_else(|| (reason, message.to_owned()));
            let known = new.iter().position(|condition| condition.type_ == type_);
            let since = known
                .map(|at| &old[at])
                .filter(|known| known.status == status)
                .and_then(|known| known.last_transition_time.clone());
            let condition = NamespaceCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: since.or(Some(Time(now))),
            };
            match known {
                Some(at) => new[at] = condition,
                None => new.push(condition),
            }
        }
        (new != old).then_some(new)
    }

    /// What is wrong in the sense of a condition: reason and message.
    fn problem(&self, type_: &str) -> Option<(&'static str, String)> {
        let joined = |mut parts: Vec<String>| {
            parts.sort();
            parts.join(", ")
        };
        let counted = |counts: &BTreeMap<String, usize>, verb: &str| {
            let parts = counts.iter();
            joined(
                parts
                    .map(|(name, count)| format!("{name} {verb} {count} resource instances"))
                    .collect(),
            )
        };
        match type_ {
            CONTENT_FAILURE if !self.failures.is_empty() => {
                let (count, failures) = (self.failures.len(), joined(self.failures.clone()));
                let message = format!("Failed to delete all resource types, {count} remaining: {failures}");
                Some(("ContentDeletionFailed", message))
            }
            CONTENT_REMAINING if !self.resources.is_empty() => {
                let resources = counted(&self.resources, "has");
                let message = format!("Some resources are remaining: {resources}");
                Some(("SomeResourcesRemain", message))
            }
            FINALIZERS_REMAINING if !self.finalizers.is_empty() => {
                let finalizers = counted(&self.finalizers, "in");
                let message = format!("Some content in the namespace has finalizers remaining: {finalizers}");
                Some(("SomeFinalizersRemain", message))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(kind: &str) -> &'static api::Kind {
        let mut kinds = api::kinds::kinds().iter();
        kinds.find(|known| known.kind == kind).unwrap()
    }

    fn held_by(finalizers: &[&str]) -> ObjectMeta {
        ObjectMeta {
            finalizers: Some(finalizers.iter().map(|name| (*name).to_owned()).collect()),
            ..ObjectMeta::default()
        }
    }

    fn told(conditions: &[NamespaceCondition]) -> Vec<String> {
        let mut told = Vec::new();
        for condition in conditions {
            let (reason, message) = (condition.reason.as_deref(), condition.message.as_deref());
            let (type_, status) = (&condition.type_, &condition.status);
            told.push(format!(
                "{type_}={status} {} {:?}",
                reason.unwrap(),
                message.unwrap()
            ));
        }
        told
    }

    #[test]
    fn what_is_left_is_counted_and_told_once() {
        let start = Timestamp::UNIX_EPOCH;
        let later = Timestamp::from_second(9).unwrap();
        let mut left = Left::default();
        assert!(left.is_empty());
        left.add(kind("Secret"), "term", &[], false);
        left.add(kind("ConfigMap"), "term", &[&held_by(&["a.b/c"])], false);
        let deployments = [&held_by(&["a.b/c", "d"]), &held_by(&[])];
        left.add(kind("Deployment"), "term", &deployments, false);
        left.add(kind("Pod"), "term", &[&held_by(&[])], true);
        assert!(!left.is_empty());
        let conditions = left.conditions(&[], start).unwrap();
        let expected = [
            r#"NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered "All resources successfully discovered""#,
            r#"NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions "All legacy kube types successfully parsed""#,
            r#"NamespaceDeletionContentFailure=False ContentDeleted "All content successfully deleted, may be waiting on finalization""#,
            r#"NamespaceContentRemaining=True SomeResourcesRemain "Some resources are remaining: configmaps. has 1 resource instances, deployments.apps has 2 resource instances, pods. has 1 resource instances""#,
            r#"NamespaceFinalizersRemaining=True SomeFinalizersRemain "Some content in the namespace has finalizers remaining: a.b/c in 2 resource instances, d in 1 resource instances""#,
        ];
        assert_eq!(told(&conditions), expected);
        assert_eq!(left.conditions(&conditions, later), None);

        // The time moves with the status only.
        let gone = Left::default().conditions(&conditions, later).unwrap();
        assert_eq!(
            told(&gone)[3..],
            [
                r#"NamespaceContentRemaining=False ContentRemoved "All content successfully removed""#,
                r#"NamespaceFinalizersRemaining=False ContentHasNoFinalizers "All content-preserving finalizers finished""#,
            ]
        );
        let since = |at: usize| gone[at].last_transition_time.as_ref().map(|time| time.0);
        assert_eq!((since(0), since(3)), (Some(start), Some(later)));
    }

    #[test]
    fn what_stays_for_no_reason_is_a_failure() {
        let mut left = Left::default();
        left.failed("the server is on fire".to_owned());
        left.add(kind("Pod"), "term", &[&held_by(&[])], false);
        let conditions = left.conditions(&[], Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            told(&conditions)[2],
            "NamespaceDeletionContentFailure=True ContentDeletionFailed \
             \"Failed to delete all resource types, 2 remaining: the server is on fire, \
             unexpected items still remain in namespace: term for gvr: /v1, Resource=pods\""
        );
        let mut failed = Left::default();
        failed.failed("the server is on fire".to_owned());
        assert!(!failed.is_empty());
    }
}
