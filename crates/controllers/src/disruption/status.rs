//! How many pods of a budget may go now. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::pods;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// For so long an evicted pod that is still there counts as gone.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

/// How many pods there should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// By the workloads that own the pods.
    pub total: i32,
    /// Some pods have no owner that says.
    pub unknown: bool,
}

/// The status of a budget, and when it changes by itself.
pub fn calculate(
    budget: &PodDisruptionBudget,
    covered: &[Arc<Pod>],
    expected: &Expected,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let before = budget.status.clone().unwrap_or_default();
    let (disrupted, again) = still_going(before.disrupted_pods.as_ref(), covered, now);
    let is_healthy = |pod: &&Arc<Pod>| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        !pods::is_terminating(pod) && pods::is_ready(pod) && !disrupted.contains_key(name)
    };
    let healthy = count(covered.iter().filter(is_healthy).count());
    let spec = budget.spec.clone().unwrap_or_default();
    let (expected_pods, desired) = wanted(&spec, count(covered.len()), expected);
    let allowed = if expected_pods > 0 {
        (healthy - desired).max(0)
    } else {
        0
    };
    let generation = budget.metadata.generation;
    let status = PodDisruptionBudgetStatus {
        conditions: Some(conditions(before.conditions.as_deref(), allowed, generation, now)),
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        disrupted_pods: Some(disrupted).filter(|disrupted| !disrupted.is_empty()),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected_pods),
        observed_generation: generation,
    };
    (status, again)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The evicted pods that are not terminating yet, and when the first of them counts again.
fn still_going(
    before: Option<&BTreeMap<String, Time>>,
    covered: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let is_there = |name: &str| {
        let mut pods = covered.iter();
        pods.any(|pod| pod.metadata.name.as_deref() == Some(name) && !pods::is_terminating(pod))
    };
    let left = |since: &Time| DELETION_TIMEOUT - now.duration_since(since.0);
    let kept = before.into_iter().flatten();
    let kept = kept.filter(|(name, since)| is_there(name) && left(since).is_positive());
    let kept: BTreeMap<_, _> = kept.map(|(name, since)| (name.clone(), since.clone())).collect();
    let again = kept.values().map(left).min().map(SignedDuration::unsigned_abs);
    (kept, again)
}

/// How many pods there should be, and how many of them must be healthy. Percentages are of the pods that there should be,
/// and round up.
fn wanted(spec: &PodDisruptionBudgetSpec, there: i32, expected: &Expected) -> (i32, i32) {
    // Pods that no workload asks for are counted as they are.
    let total = if expected.unknown {
        there.max(expected.total)
    } else {
        expected.total
    };
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (total, (total - scaled(most, total)).max(0)),
        (None, Some(IntOrString::Int(least))) => (there, *least),
        (None, Some(least)) => (total, scaled(least, total)),
        (None, None) => (there, 0),
    }
}

fn scaled(value: &IntOrString, total: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let scaled = (percent * i64::from(total) + 99) / 100;
            i32::try_from(scaled).unwrap_or(i32::MAX)
        }
    }
}

fn conditions(
    before: Option<&[Condition]>,
    allowed: i32,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let (status, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let before = before.unwrap_or_default();
    let old = before
        .iter()
        .find(|condition| condition.type_ == "DisruptionAllowed");
    let since = old
        .filter(|old| old.status == status)
        .map(|old| old.last_transition_time.clone());
    let new = Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        observed_generation: generation,
        last_transition_time: since
            .unwrap_or_else(|| Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
    };
    let others = before
        .iter()
        .filter(|condition| condition.type_ != "DisruptionAllowed");
    others.cloned().chain([new]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pods(ready: usize, unready: usize) -> Vec<Arc<Pod>> {
        let pod = |at: usize| {
            let status = if at < ready { "True" } else { "False" };
            let pod = json!({
                "metadata": { "name": format!("p{at}") },
                "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": status }] },
            });
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        (0..ready + unready).map(pod).collect()
    }

    fn budget(spec: &serde_json::Value) -> PodDisruptionBudget {
        let budget = json!({ "metadata": { "generation": 2 }, "spec": spec });
        serde_json::from_value(budget).unwrap()
    }

    fn counted(spec: &serde_json::Value, ready: usize, unready: usize, total: i32) -> [Option<i32>; 4] {
        let expected = Expected {
            total,
            unknown: false,
        };
        let (status, _) = calculate(
            &budget(spec),
            &pods(ready, unready),
            &expected,
            Timestamp::UNIX_EPOCH,
        );
        [
            status.expected_pods,
            status.desired_healthy,
            status.current_healthy,
            status.disruptions_allowed,
        ]
    }

    #[test]
    fn counts_as_upstream_does() {
        let row = |numbers: [i32; 4]| numbers.map(Some);
        assert_eq!(counted(&json!({ "minAvailable": 2 }), 3, 0, 3), row([3, 2, 3, 1]));
        assert_eq!(
            counted(&json!({ "minAvailable": "50%" }), 3, 0, 3),
            row([3, 2, 3, 1])
        );
        assert_eq!(
            counted(&json!({ "maxUnavailable": 1 }), 2, 1, 3),
            row([3, 2, 2, 0])
        );
        assert_eq!(
            counted(&json!({ "maxUnavailable": "30%" }), 3, 0, 3),
            row([3, 2, 3, 1])
        );
        assert_eq!(
            counted(&json!({ "maxUnavailable": 5 }), 3, 0, 3),
            row([3, 0, 3, 3])
        );
        assert_eq!(counted(&json!({ "minAvailable": 0 }), 0, 0, 0), row([0, 0, 0, 0]));
    }

    #[test]
    fn an_evicted_pod_counts_as_gone_for_a_while() {
        let mut budget = budget(&json!({ "minAvailable": 1 }));
        let evicted = BTreeMap::from([
            ("p0".to_owned(), Time(Timestamp::UNIX_EPOCH)),
            ("gone".to_owned(), Time(Timestamp::UNIX_EPOCH)),
        ]);
        budget.status = Some(PodDisruptionBudgetStatus {
            disrupted_pods: Some(evicted),
            ..PodDisruptionBudgetStatus::default()
        });
        let at = |second| Timestamp::from_second(second).unwrap();
        let expected = Expected::default();
        let (soon, again) = calculate(&budget, &pods(2, 0), &expected, at(60));
        assert_eq!(
            (soon.current_healthy, soon.disruptions_allowed),
            (Some(1), Some(0))
        );
        assert_eq!(soon.disrupted_pods.map(|pods| pods.len()), Some(1));
        assert_eq!(again, Some(Duration::from_mins(1)));
        let (late, again) = calculate(&budget, &pods(2, 0), &expected, at(121));
        assert_eq!(
            (late.current_healthy, late.disruptions_allowed, again),
            (Some(2), Some(1), None)
        );
    }

    #[test]
    fn the_condition_keeps_its_time() {
        let mut budget = budget(&json!({ "minAvailable": 1 }));
        let (status, _) = calculate(&budget, &pods(2, 0), &Expected::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(status.conditions.as_ref().unwrap()[0].reason, "SufficientPods");
        budget.status = Some(status.clone());
        let later = Timestamp::from_second(9).unwrap();
        assert_eq!(
            calculate(&budget, &pods(2, 0), &Expected::default(), later).0,
            status
        );
        let (less, _) = calculate(&budget, &pods(1, 1), &Expected::default(), later);
        let condition = &less.conditions.unwrap()[0];
        assert_eq!(
            (condition.reason.as_str(), condition.last_transition_time.0),
            ("InsufficientPods", later)
        );
    }

    proptest! {
        /// Whoever uses up what is allowed leaves as many healthy pods as are desired.
        #[test]
        fn never_allows_too_much(number in 0..200i32, percent in any::<bool>(), min in any::<bool>(), ready in 0..20usize, unready in 0..20usize, total in 0..40i32) {
            let value = if percent { json!(format!("{}%", number % 101)) } else { json!(number) };
            let spec = json!({ (if min { "minAvailable" } else { "maxUnavailable" }): value });
            let [_, desired, healthy, allowed] = counted(&spec, ready, unready, total).map(Option::unwrap);
            prop_assert!(allowed >= 0 && allowed <= healthy);
            prop_assert!(allowed == 0 || healthy - allowed >= desired);
        }
    }
}
