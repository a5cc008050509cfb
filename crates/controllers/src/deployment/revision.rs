//! Revisions: the numbers by which `kubectl rollout` knows the templates of a Deployment, and the annotations that a
//! ReplicaSet takes over from it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;

use super::sets::Set;

/// The revision of a ReplicaSet, and of the Deployment's current template.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The revisions that a ReplicaSet had before it was rolled back to.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's replicas when the ReplicaSet was last scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The Deployment's replicas plus maxSurge when the ReplicaSet was last scaled.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of the Deployment that say nothing of its template.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// Longest value of [`REVISION_HISTORY`], in characters.
const HISTORY_LENGTH: usize = 2000;

/// The revision of a ReplicaSet; 0 if it has none.
pub fn of(set: &Set) -> i64 {
    set.annotation(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The Deployment's annotations that its ReplicaSet takes over.
pub fn copied(deployment: &Deployment) -> BTreeMap<String, String> {
    let annotations = deployment.metadata.annotations.iter().flatten();
    annotations
        .filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Brings the annotations of the new ReplicaSet up to date: `next` becomes its revision unless its own is as high.
pub fn annotate(deployment: &Deployment, set: &mut Set, next: i64) {
    for (name, value) in copied(deployment) {
        set.annotate(&name, value);
    }
    let before = set.annotation(REVISION).map(str::to_owned);
    if of(set) >= next {
        return;
    }
    set.annotate(REVISION, next.to_string());
    if let Some(before) = before {
        let history = append(set.annotation(REVISION_HISTORY).unwrap_or_default(), &before);
        set.annotate(REVISION_HISTORY, history);
    }
}

/// Appends a revision to a history, dropping the earliest ones if it becomes too long.
fn append(history: &str, revision: &str) -> String {
    let mut parts: Vec<&str> = history.split(',').filter(|part| !part.is_empty()).collect();
    parts.push(revision);
    while parts.iter().map(|part| part.len() + 1).sum::<usize>() > HISTORY_LENGTH + 1 && parts.len() > 1 {
        parts.remove(0);
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_stay_short() {
        assert_eq!(append("", "1"), "1");
        assert_eq!(append("1,3", "5"), "1,3,5");
        let long = append(&"1234567,".repeat(300), "9");
        assert!(
            long.len() <= HISTORY_LENGTH && long.ends_with(",9"),
            "{}",
            long.len()
        );
    }
}
