//! The status of a ReplicaSet. Pure.

use std::sync::Arc;
use std::time::Duration;

use api::pods;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What kept a sync from creating or deleting pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// What the API said.
    pub message: String,
}

/// The status that follows from the pods that a ReplicaSet owns, those that are finished or on their way out included.
pub fn calculate(
    set: &ReplicaSet,
    owned: &[Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let min_ready = min_ready_seconds(set);
    let active: Vec<_> = owned.iter().filter(|pod| pods::is_active(pod)).collect();
    let count = |is: &dyn Fn(&Pod) -> bool| active.iter().filter(|pod| is(pod)).count();
    let terminating = owned
        .iter()
        .filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod))
        .count();
    ReplicaSetStatus {
        replicas: number(active.len()),
        fully_labeled_replicas: non_zero(count(&|pod| has_template_labels(set, pod))),
        ready_replicas: non_zero(count(&pods::is_ready)),
        available_replicas: non_zero(count(&|pod| pods::is_available(pod, min_ready, now))),
        terminating_replicas: Some(number(terminating)),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure, now),
    }
}

/// When the next ready pod becomes available, if one will.
pub fn next_available(set: &ReplicaSet, owned: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let min_ready = min_ready_seconds(set);
    let active = owned
        .iter()
        .filter(|pod| pods::is_active(pod) && !pods::is_available(pod, min_ready, now));
    let next = active
        .filter_map(|pod| pods::available_at(pod, min_ready))
        .min()?;
    Some(Duration::try_from(next.duration_since(now)).unwrap_or_default())
}

/// The merge patch of a status: what is absent is taken out.
pub fn patch(status: &ReplicaSetStatus) -> Value {
    json!({
        "replicas": status.replicas,
        "fullyLabeledReplicas": status.fully_labeled_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "terminatingReplicas": status.terminating_replicas,
        "observedGeneration": status.observed_generation,
        "conditions": status.conditions,
    })
}

fn min_ready_seconds(set: &ReplicaSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or(0)
}

fn has_template_labels(set: &ReplicaSet, pod: &Pod) -> bool {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let metadata = template.and_then(|template| template.metadata.as_ref());
    let mut wanted = metadata
        .into_iter()
        .flat_map(|metadata| metadata.labels.iter().flatten());
    let labels = pod.metadata.labels.as_ref();
    wanted.all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
}

fn conditions(
    set: &ReplicaSet,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let old = set
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let (failures, mut conditions): (Vec<_>, Vec<_>) = old
        .into_iter()
        .partition(|condition| condition.type_ == REPLICA_FAILURE);
    if let Some(failure) = failure {
        let old = failures
            .into_iter()
            .find(|old| old.reason.as_deref() == Some(failure.reason));
        conditions.push(old.unwrap_or_else(|| ReplicaSetCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }));
    }
    (!conditions.is_empty()).then_some(conditions)
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn non_zero(count: usize) -> Option<i32> {
    (count != 0).then(|| number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn set(min_ready_seconds: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "generation": 3 },
            "spec": {
                "replicas": 3, "minReadySeconds": min_ready_seconds, "selector": {},
                "template": { "metadata": { "labels": { "app": "web" } } },
            },
        }))
        .unwrap()
    }

    fn pod(phase: &str, ready_at: Option<i64>, terminating: bool) -> Arc<Pod> {
        let status = if ready_at.is_some() { "True" } else { "False" };
        let time = ready_at.map(|second| Time(at(second)));
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": { "labels": { "app": "web" } },
            "status": { "phase": phase, "conditions": [
                { "type": "Ready", "status": status, "lastTransitionTime": time }] },
        }))
        .unwrap();
        pod.metadata.deletion_timestamp = terminating.then(|| Time(at(0)));
        Arc::new(pod)
    }

    #[test]
    fn counts() {
        let owned = [
            pod("Running", Some(100), false),
            pod("Running", Some(108), false),
            pod("Running", None, false),
            pod("Failed", None, false),
            pod("Running", Some(50), true),
            pod("Failed", None, true),
        ];
        let status = calculate(&set(10), &owned, None, at(110));
        assert_eq!(
            (
                status.replicas,
                status.fully_labeled_replicas,
                status.ready_replicas,
                status.available_replicas,
                status.terminating_replicas,
                status.observed_generation,
            ),
            (3, Some(3), Some(2), Some(1), Some(1), Some(3))
        );
        assert_eq!(
            next_available(&set(10), &owned, at(110)),
            Some(Duration::from_secs(8))
        );
        assert_eq!(next_available(&set(0), &owned, at(110)), None);
    }

    #[test]
    fn a_failure_is_noted_once_and_taken_back() {
        let failure = Failure {
            reason: "FailedCreate",
            message: "no".into(),
        };
        let mut set = set(0);
        let first = calculate(&set, &[], Some(&failure), at(1));
        set.status = Some(first.clone());
        assert_eq!(calculate(&set, &[], Some(&failure), at(2)), first);
        assert_eq!(calculate(&set, &[], None, at(3)).conditions, None);
    }
}
