//! Questions that everybody asks about pods, and conditions.
//!
//! Flows in: typed objects and the time. Flows out: answers, changed condition lists. Never does I/O.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Whether the pod has been asked to end.
#[must_use]
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod has ended for good: phase Succeeded or Failed.
#[must_use]
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a ReplicaSet counts the pod: neither finished nor terminating.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

/// Whether the pod's condition Ready is True.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// When the pod became ready, if it is.
#[must_use]
pub fn ready_since(pod: &Pod) -> Option<jiff::Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether the pod has been ready for `min_ready_seconds`; with 0, whether it is ready.
#[must_use]
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: jiff::Timestamp) -> bool {
    is_ready(pod)
        && (min_ready_seconds <= 0 || available_at(pod, min_ready_seconds).is_some_and(|at| at <= now))
}

/// When a ready pod becomes available if it stays ready.
#[must_use]
pub fn available_at(pod: &Pod, min_ready_seconds: i32) -> Option<jiff::Timestamp> {
    ready_since(pod)?
        .checked_add(jiff::SignedDuration::from_secs(i64::from(min_ready_seconds)))
        .ok()
}

/// Time of a deleted pod's grace period that is left to its programs to end in; its connections must be gone before.
const TIME_TO_STOP: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// When a deleted pod is stopped even if connections still go to it.
#[must_use]
pub fn stopped_at(pod: &Pod) -> Option<jiff::Timestamp> {
    let deadline = pod.metadata.deletion_timestamp.as_ref()?.0;
    Some(deadline.checked_sub(TIME_TO_STOP).unwrap_or(deadline))
}

/// The pod's phase; empty if it has none yet.
#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// The node the pod is bound to.
#[must_use]
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .filter(|name| !name.is_empty())
}

/// Whether an init container keeps running beside the containers.
#[must_use]
pub fn is_sidecar(init_container: &Container) -> bool {
    init_container.restart_policy.as_deref() == Some("Always")
}

/// All containers of a pod, in the order in which they may start: ephemeral ones wait for nobody.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = Cow<'_, Container>> {
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let others = spec.init_containers.iter().flatten().chain(&spec.containers);
    ephemeral
        .map(|ephemeral| Cow::Owned(as_container(ephemeral)))
        .chain(others.map(Cow::Borrowed))
}

/// An ephemeral container without what sets it apart: the container that it looks at.
#[must_use]
pub fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let EphemeralContainer {
        args,
        command,
        env,
        env_from,
        image,
        image_pull_policy,
        lifecycle,
        liveness_probe,
        name,
        ports,
        readiness_probe,
        resize_policy,
        resources,
        restart_policy,
        restart_policy_rules,
        security_context,
        startup_probe,
        stdin,
        stdin_once,
        target_container_name: _,
        termination_message_path,
        termination_message_policy,
        tty,
        volume_devices,
        volume_mounts,
        working_dir,
    } = ephemeral.clone();
    Container {
        args,
        command,
        env,
        env_from,
        image,
        image_pull_policy,
        lifecycle,
        liveness_probe,
        name,
        ports,
        readiness_probe,
        resize_policy,
        resources,
        restart_policy,
        restart_policy_rules,
        security_context,
        startup_probe,
        stdin,
        stdin_once,
        termination_message_path,
        termination_message_policy,
        tty,
        volume_devices,
        volume_mounts,
        working_dir,
    }
}

/// The owner that manages the object.
#[must_use]
pub fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
}

/// Whether the object with `uid` manages this one.
#[must_use]
pub fn is_controlled_by(metadata: &ObjectMeta, uid: &str) -> bool {
    controller_of(metadata).is_some_and(|owner| owner.uid == uid)
}

/// The pod's condition of a type.
#[must_use]
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind)
}

/// Puts `new` into `conditions`. `lastTransitionTime` moves to `now` only if the status differs from the one before.
/// Returns whether anything changed.
pub fn set_condition(conditions: &mut Vec<PodCondition>, mut new: PodCondition, now: Time) -> bool {
    match conditions
        .iter_mut()
        .find(|condition| condition.type_ == new.type_)
    {
        Some(old) => {
            let kept = old
                .last_transition_time
                .clone()
                .filter(|_| old.status == new.status);
            new.last_transition_time = Some(kept.unwrap_or(now));
            let changed = *old != new;
            *old = new;
            changed
        }
        None => {
            new.last_transition_time.get_or_insert(now);
            conditions.push(new);
            true
        }
    }
}

/// The pod's quality of service: `Guaranteed` if every container limits cpu and memory to what it requests,
/// `BestEffort` if none says anything about them, else `Burstable`.
#[must_use]
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let containers = || {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    };
    let amounts = |amounts: Option<&BTreeMap<String, Quantity>>, name: &str| {
        let amount = amounts.and_then(|amounts| amounts.get(name));
        amount
            .and_then(|amount| amount.0.parse::<crate::quantity::Amount>().ok())
            .filter(|a| a.is_positive())
    };
    let (mut any, mut guaranteed) = (false, true);
    for container in containers() {
        for resource in ["cpu", "memory"] {
            let resources = container.resources.as_ref();
            let limit = amounts(resources.and_then(|r| r.limits.as_ref()), resource);
            let request = amounts(resources.and_then(|r| r.requests.as_ref()), resource).or(limit);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && limit == request;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap_or_default())
    }

    fn ready(status: &str, since: i64) -> Pod {
        serde_json::from_value(json!({"status": {"conditions": [
            {"type": "Ready", "status": status, "lastTransitionTime": at(since)}]}}))
        .unwrap_or_default()
    }

    #[test]
    fn is_available_after_min_ready_seconds() {
        assert!(is_available(&ready("True", 100), 0, at(100).0));
        assert!(!is_available(&ready("True", 100), 5, at(104).0));
        assert!(is_available(&ready("True", 100), 5, at(105).0));
        assert!(!is_available(&ready("False", 100), 0, at(200).0));
    }

    #[test]
    fn moves_transition_time_only_with_the_status() {
        let condition = |status: &str, reason: &str| PodCondition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            ..PodCondition::default()
        };
        let mut conditions = Vec::new();
        assert!(set_condition(&mut conditions, condition("False", "a"), at(1)));
        assert!(!set_condition(&mut conditions, condition("False", "a"), at(2)));
        assert!(set_condition(&mut conditions, condition("False", "b"), at(3)));
        assert_eq!(conditions[0].last_transition_time, Some(at(1)));
        assert!(set_condition(&mut conditions, condition("True", "b"), at(4)));
        assert_eq!(conditions[0].last_transition_time, Some(at(4)));
    }

    #[test]
    fn classes_of_service() {
        let class = |resources: serde_json::Value| {
            let spec = json!({"containers": [{"name": "a", "resources": resources}]});
            qos_class(&serde_json::from_value(spec).unwrap_or_default())
        };
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(
            class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
            "Guaranteed"
        );
        let same = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}});
        assert_eq!(class(same), "Guaranteed");
        assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    }
}
