//! The list of a Deployment's conditions, and the rules by which it changes. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DeploymentCondition, ReplicaSetCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::sets::Sets;

/// Whether a rollout moves.
pub const PROGRESSING: &str = "Progressing";
/// Whether enough replicas are available.
pub const AVAILABLE: &str = "Available";
/// Whether pods cannot be created or deleted.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Reason of Progressing: the rollout is complete.
pub const NEW_REPLICA_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
/// Reason of Progressing: nothing moved for too long.
pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";
/// Reason of Progressing: `spec.paused`.
pub const PAUSED: &str = "DeploymentPaused";

/// Conditions, each type once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions(Vec<DeploymentCondition>);

impl Conditions {
    /// The conditions of a status.
    pub fn of(conditions: Option<&Vec<DeploymentCondition>>) -> Self {
        Self(conditions.cloned().unwrap_or_default())
    }

    /// As a status holds them.
    pub fn into_list(self) -> Option<Vec<DeploymentCondition>> {
        (!self.0.is_empty()).then_some(self.0)
    }

    /// A condition by type.
    pub fn get(&self, type_: &str) -> Option<&DeploymentCondition> {
        self.0.iter().find(|condition| condition.type_ == type_)
    }

    /// The reason of a condition; empty if there is none.
    pub fn reason(&self, type_: &str) -> &str {
        self.get(type_)
            .and_then(|condition| condition.reason.as_deref())
            .unwrap_or_default()
    }

    /// Sets a condition. One of the same status and reason stays as it is, its times and message included; one of the same
    /// status keeps its time of transition.
    pub fn set(&mut self, mut condition: DeploymentCondition) {
        if let Some(old) = self.get(&condition.type_)
            && old.status == condition.status
        {
            if old.reason == condition.reason {
                return;
            }
            condition.last_transition_time = old.last_transition_time.clone();
        }
        self.remove(&condition.type_.clone());
        self.0.push(condition);
    }

    /// Sets a condition even if only its time and message are new.
    pub fn refresh(&mut self, mut condition: DeploymentCondition) {
        if let Some(old) = self.get(&condition.type_)
            && old.status == condition.status
        {
            condition.last_transition_time = old.last_transition_time.clone();
        }
        self.remove(&condition.type_.clone());
        self.0.push(condition);
    }

    /// Takes a condition out.
    pub fn remove(&mut self, type_: &str) {
        self.0.retain(|condition| condition.type_ != type_);
    }
}

/// A condition as of `now`.
pub fn new(
    type_: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// The failure to create or delete pods that a ReplicaSet reports, the new one first.
pub fn replica_failure(sets: &Sets) -> Option<DeploymentCondition> {
    let failure = |set: &super::sets::Set| {
        let conditions = set.object.status.as_ref()?.conditions.as_ref()?;
        conditions
            .iter()
            .find(|condition| condition.type_ == REPLICA_FAILURE)
            .cloned()
    };
    let of_set: Option<ReplicaSetCondition> = sets
        .current()
        .and_then(failure)
        .or_else(|| sets.all().iter().find_map(failure));
    of_set.map(|condition| DeploymentCondition {
        type_: condition.type_,
        status: condition.status,
        reason: condition.reason,
        message: condition.message,
        last_update_time: condition.last_transition_time.clone(),
        last_transition_time: condition.last_transition_time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Status, reason and time of a change; expected times of update and transition after it.
    type Case = (&'static str, &'static str, i64, (i64, i64));

    fn times(conditions: &Conditions) -> (i64, i64) {
        let condition = conditions.get(PROGRESSING).unwrap();
        let second = |time: &Option<Time>| time.as_ref().unwrap().0.as_second();
        (
            second(&condition.last_update_time),
            second(&condition.last_transition_time),
        )
    }

    #[test]
    fn times_change_by_status_and_reason() {
        let mut conditions = Conditions::default();
        let cases: [Case; 4] = [
            ("True", "NewReplicaSetCreated", 1, (1, 1)),
            ("True", "NewReplicaSetCreated", 2, (1, 1)),
            ("True", "ReplicaSetUpdated", 3, (3, 1)),
            ("False", "ProgressDeadlineExceeded", 4, (4, 4)),
        ];
        for (status, reason, second, expected) in cases {
            conditions.set(new(PROGRESSING, status, reason, "", at(second)));
            assert_eq!(times(&conditions), expected, "{status} {reason} at {second}");
        }
        conditions.refresh(new(PROGRESSING, "False", "ProgressDeadlineExceeded", "", at(5)));
        assert_eq!(times(&conditions), (5, 4));
        conditions.refresh(new(PROGRESSING, "True", "ReplicaSetUpdated", "", at(6)));
        assert_eq!(times(&conditions), (6, 6));
        assert_eq!(conditions.into_list().map(|list| list.len()), Some(1));
    }
}
