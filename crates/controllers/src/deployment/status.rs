//! The status of a Deployment: counts, conditions, and whether a rollout is complete, moves or is stuck. Pure.
//!
//! Upstream's `sync.go` (`calculateStatus`) and `progress.go`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};

use super::conditions::{
    self, AVAILABLE, Conditions, NEW_REPLICA_SET_AVAILABLE, PAUSED, PROGRESSING, REPLICA_FAILURE, TIMED_OUT,
};
use super::limits::Limits;
use super::sets::Sets;

/// The status that follows from the ReplicaSets' statuses, with `conditions` and what is said about availability.
pub fn calculate(
    deployment: &Deployment,
    limits: &Limits,
    sets: &Sets,
    mut conditions: Conditions,
    now: Timestamp,
) -> DeploymentStatus {
    let sum = |count: fn(&super::sets::Set) -> i32| sets.all().iter().map(count).sum::<i32>();
    let available = sum(super::sets::Set::available);
    let (status, reason, message) = if available >= limits.min_available() {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    conditions.set(conditions::new(AVAILABLE, status, reason, message, now));
    let non_zero = |count: i32| (count != 0).then_some(count);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: non_zero(sum(super::sets::Set::replicas)),
        updated_replicas: non_zero(sets.current().map_or(0, super::sets::Set::replicas)),
        ready_replicas: non_zero(sum(super::sets::Set::ready)),
        available_replicas: non_zero(available),
        unavailable_replicas: non_zero((sets.total() - available).max(0)),
        terminating_replicas: terminating(sets),
        collision_count: deployment
            .status
            .as_ref()
            .and_then(|status| status.collision_count),
        conditions: conditions.into_list(),
    }
}

/// Pods on their way out; unknown as long as one ReplicaSet that has been looked at does not say.
fn terminating(sets: &Sets) -> Option<i32> {
    let statuses = sets.all().iter().filter_map(|set| set.object.status.as_ref());
    let looked_at = statuses.filter(|status| status.observed_generation.unwrap_or(0) > 0);
    looked_at.map(|status| status.terminating_replicas).sum()
}

/// Says in `status` how the rollout goes. `before` are the conditions as decided before, `old` is the stored status.
pub fn judge_progress(
    deployment: &Deployment,
    sets: &Sets,
    before: &Conditions,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    let mut list = Conditions::of(status.conditions.as_ref());
    let subject = match sets.current() {
        Some(new) => format!("ReplicaSet {:?}", new.name()),
        None => format!(
            "Deployment {:?}",
            deployment.metadata.name.as_deref().unwrap_or_default()
        ),
    };
    let was_complete = count(status.replicas) == count(status.updated_replicas)
        && before.reason(PROGRESSING) == NEW_REPLICA_SET_AVAILABLE;
    match deadline(deployment) {
        None => list.remove(PROGRESSING),
        Some(_) if was_complete => {}
        Some(_) if is_complete(deployment, status) => {
            let message = format!("{subject} has successfully progressed.");
            list.set(conditions::new(
                PROGRESSING,
                "True",
                NEW_REPLICA_SET_AVAILABLE,
                message,
                now,
            ));
        }
        Some(_) if has_progressed(deployment.status.as_ref(), status) => {
            let message = format!("{subject} is progressing.");
            list.refresh(conditions::new(
                PROGRESSING,
                "True",
                "ReplicaSetUpdated",
                message,
                now,
            ));
        }
        Some(deadline) if has_timed_out(&list, deadline, now) => {
            let message = format!("{subject} has timed out progressing.");
            list.set(conditions::new(PROGRESSING, "False", TIMED_OUT, message, now));
        }
        Some(_) => {}
    }
    match conditions::replica_failure(sets) {
        Some(failure) => list.set(failure),
        None => list.remove(REPLICA_FAILURE),
    }
    status.conditions = list.into_list();
}

/// How long a rollout may go without progress; `None`: for ever.
pub fn deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then(|| SignedDuration::from_secs(seconds.into()))
}

/// Whether all replicas are of the current template and available, and no others are left.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let replicas = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    count(status.updated_replicas) == replicas
        && count(status.replicas) == replicas
        && count(status.available_replicas) == replicas
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

/// Whether anything got better since the stored status.
fn has_progressed(old: Option<&DeploymentStatus>, new: &DeploymentStatus) -> bool {
    let default = DeploymentStatus::default();
    let old = old.unwrap_or(&default);
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

fn has_timed_out(conditions: &Conditions, deadline: SignedDuration, now: Timestamp) -> bool {
    match conditions.reason(PROGRESSING) {
        NEW_REPLICA_SET_AVAILABLE => false,
        TIMED_OUT => true,
        _ => times_out_at(conditions, deadline).is_some_and(|at| at < now),
    }
}

fn times_out_at(conditions: &Conditions, deadline: SignedDuration) -> Option<Timestamp> {
    let updated = conditions.get(PROGRESSING)?.last_update_time.as_ref()?;
    updated.0.checked_add(deadline).ok()
}

/// When to look again whether the rollout is stuck.
pub fn look_again(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let conditions = Conditions::of(status.conditions.as_ref());
    let has_no_clock =
        [TIMED_OUT, NEW_REPLICA_SET_AVAILABLE, PAUSED].contains(&conditions.reason(PROGRESSING));
    if has_no_clock || is_complete(deployment, status) {
        return None;
    }
    let left = times_out_at(&conditions, deadline(deployment)?)?.duration_since(now);
    Some(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}

fn count(count: Option<i32>) -> i32 {
    count.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ReplicaSetCondition;
    use serde_json::json;

    use super::super::simulation::Simulation;
    use super::*;

    /// A rollout in its first step: the new ReplicaSet is there, its pod is not ready.
    fn begun() -> Simulation {
        let mut simulation = Simulation::rolled_out(4, &json!({ "maxSurge": 1, "maxUnavailable": 0 }));
        simulation.set_image("b");
        for _ in 0..5 {
            simulation.sync();
            simulation.pods_follow();
        }
        simulation
    }

    #[test]
    fn progress_is_judged_by_what_moved_and_by_the_clock() {
        type Change = fn(&mut Simulation);
        let cases: [(&str, Change, &str, &str); 6] = [
            (
                "nothing moved in time",
                |it| it.pass(500),
                "True",
                "ReplicaSetUpdated",
            ),
            (
                "nothing moved for too long",
                |it| it.pass(602),
                "False",
                "ProgressDeadlineExceeded",
            ),
            (
                "late, but it moved",
                |it| {
                    it.pass(602);
                    it.make_available(1, 1);
                },
                "True",
                "ReplicaSetUpdated",
            ),
            (
                "complete",
                |it| drop(it.finish()),
                "True",
                "NewReplicaSetAvailable",
            ),
            (
                "stuck, then paused",
                |it| {
                    it.pass(602);
                    it.sync();
                    it.change_spec(|spec| spec.paused = Some(true));
                },
                "False",
                "ProgressDeadlineExceeded",
            ),
            (
                "paused",
                |it| it.change_spec(|spec| spec.paused = Some(true)),
                "Unknown",
                "DeploymentPaused",
            ),
        ];
        for (name, change, status, reason) in cases {
            let mut simulation = begun();
            change(&mut simulation);
            simulation.sync();
            let got = simulation.condition(PROGRESSING);
            assert_eq!(got, Some((status.to_owned(), reason.to_owned())), "{name}");
        }
    }

    #[test]
    fn without_a_deadline_nothing_is_said_of_progress() {
        let mut simulation = begun();
        simulation.change_spec(|spec| spec.progress_deadline_seconds = Some(i32::MAX));
        let plan = simulation.sync();
        assert_eq!((simulation.condition(PROGRESSING), plan.look_again), (None, None));
    }

    #[test]
    fn the_deadline_is_looked_at_in_time() {
        let mut simulation = begun();
        simulation.pass(500);
        assert_eq!(simulation.sync().look_again, Some(Duration::from_secs(101)));
    }

    #[test]
    fn what_cannot_time_out_is_not_looked_at_by_the_clock() {
        let mut settled = Simulation::rolled_out(4, &json!({ "maxSurge": 1, "maxUnavailable": 0 }));
        settled.pass(700);
        settled.make_available(0, -1);
        assert_eq!(settled.sync().look_again, None, "a pod failed after the rollout");
        let mut paused = begun();
        paused.change_spec(|spec| spec.paused = Some(true));
        assert_eq!(paused.sync().look_again, None, "a paused rollout");
    }

    #[test]
    fn too_few_available_and_failures_are_reported_and_taken_back() {
        let mut simulation = begun();
        simulation.make_available(0, -1);
        let set = simulation.sets[1].status.as_mut().unwrap();
        set.conditions = Some(vec![ReplicaSetCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some("FailedCreate".to_owned()),
            ..Default::default()
        }]);
        simulation.sync();
        let pair = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
        assert_eq!(
            simulation.condition(AVAILABLE),
            pair("False", "MinimumReplicasUnavailable")
        );
        assert_eq!(
            simulation.condition(REPLICA_FAILURE),
            pair("True", "FailedCreate")
        );
        simulation.all_available();
        simulation.sets[1].status.as_mut().unwrap().conditions = None;
        simulation.sync();
        assert_eq!(
            simulation.condition(AVAILABLE),
            pair("True", "MinimumReplicasAvailable")
        );
        assert_eq!(simulation.condition(REPLICA_FAILURE), None);
    }
}
