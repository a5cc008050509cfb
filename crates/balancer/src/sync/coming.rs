//! Whether a pod is coming up that a Service waits for: then its clients wait, too, instead of being refused.
//!
//! EndpointSlices cannot tell: they list a pod only once it has an address, and not why it is not ready. So the pods
//! themselves are asked, and only for Services that have nobody to route to.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{pods, ports};
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};

/// The pods that a port of a Service is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    namespace: String,
    labels: BTreeMap<String, String>,
    port: ServicePort,
}

/// The index of pods: `label/<namespace>/<name>=<value>`, for each label.
pub fn index(pod: &Pod) -> Vec<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.iter().flatten();
    labels
        .map(|(name, value)| format!("label/{namespace}/{name}={value}"))
        .collect()
}

impl Selector {
    /// The pods of this port of a Service; `None` if that has no selector.
    pub fn of(service: &Service, port: &ServicePort) -> Option<Self> {
        let labels = service.spec.as_ref()?.selector.clone()?;
        (!labels.is_empty()).then(|| Self {
            namespace: service.metadata.namespace.clone().unwrap_or_default(),
            labels,
            port: port.clone(),
        })
    }

    /// Whether one of its pods is on its way. `indexed` looks up [`index`].
    pub fn is_expecting(&self, indexed: impl FnOnce(&str) -> Vec<Arc<Pod>>) -> bool {
        let Some((name, value)) = self.labels.first_key_value() else {
            return false;
        };
        let some = indexed(&format!("label/{}/{name}={value}", self.namespace));
        some.iter()
            .any(|pod| self.selects(pod) && self.reaches(pod) && is_coming(pod))
    }

    /// Whether the pod has the port at all, be it by the name that the Service uses.
    fn reaches(&self, pod: &Pod) -> bool {
        ports::target_port(pod, &self.port).is_some()
    }

    fn selects(&self, pod: &Pod) -> bool {
        let label = |name: &String| pod.metadata.labels.as_ref().and_then(|labels| labels.get(name));
        self.labels.iter().all(|(name, value)| label(name) == Some(value))
    }
}

/// Whether a pod may become ready any moment: it is neither finished nor stuck. One that is on its way out counts, too: a
/// roll that stops the only pod before it starts the next one has not made the next one yet.
fn is_coming(pod: &Pod) -> bool {
    !pods::is_finished(pod) && !is_unscheduled(pod) && !is_held_up(pod)
}

/// No node has room for it.
fn is_unscheduled(pod: &Pod) -> bool {
    pods::condition(pod, "PodScheduled").is_some_and(|condition| condition.status == "False")
}

/// One of its containers cannot be started, or is not to be before some time has passed.
fn is_held_up(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.into_iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    let mut waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref());
    waiting.any(|waiting| {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        !matches!(reason, "" | "ContainerCreating" | "PodInitializing")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(labels: Value, status: Value) -> Pod {
        let metadata = json!({"name": "p", "namespace": "d", "labels": labels});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    }

    #[test]
    fn pods_that_can_become_ready_are_coming() {
        let waiting = |reason: &str| {
            json!({"containerStatuses": [{"name": "c", "image": "i", "imageID": "",
            "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}}}]})
        };
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False"}]});
        for (status, coming) in [
            (json!({}), true),
            (json!({"phase": "Running"}), true),
            (waiting("ContainerCreating"), true),
            (waiting("CrashLoopBackOff"), false),
            (waiting("ErrImagePull"), false),
            (unscheduled, false),
            (json!({"phase": "Failed"}), false),
        ] {
            assert_eq!(is_coming(&pod(json!({}), status.clone())), coming, "{status}");
        }
        let mut leaving = pod(json!({}), json!({"phase": "Running"}));
        leaving.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert!(is_coming(&leaving), "its successor may not have been made yet");
    }

    #[test]
    fn all_labels_must_fit() {
        let service = json!({"metadata": {"name": "s", "namespace": "d"}, "spec": {"selector": {"app": "a", "tier": "t"}}});
        let service: Service = serde_json::from_value(service).unwrap();
        let selector = Selector::of(&service, &ServicePort::default()).unwrap();
        let expecting = |labels: Value| {
            let pod = Arc::new(pod(labels, json!({})));
            selector.is_expecting(|value| {
                let found = index(&pod).iter().any(|indexed| indexed == value);
                found.then(|| pod.clone()).into_iter().collect()
            })
        };
        assert!(expecting(json!({"app": "a", "tier": "t", "more": "m"})));
        assert!(!expecting(json!({"app": "a"})));
        assert!(!expecting(json!({"app": "b", "tier": "t"})));
        assert_eq!(Selector::of(&Service::default(), &ServicePort::default()), None);
    }

    #[test]
    fn a_pod_without_the_port_is_not_waited_for() {
        let service: Service = serde_json::from_value(
            json!({"metadata": {"namespace": "d"}, "spec": {"selector": {"app": "a"}}}),
        )
        .unwrap();
        let mut pod = pod(json!({"app": "a"}), json!({}));
        pod.spec = serde_json::from_value(json!({"containers": [
            {"name": "c", "ports": [{"name": "http", "containerPort": 80}]}]}))
        .unwrap();
        let pod = Arc::new(pod);
        for (target, expecting) in [(json!("http"), true), (json!("other"), false), (json!(81), true)] {
            let port = serde_json::from_value(json!({"port": 80, "targetPort": target})).unwrap();
            let selector = Selector::of(&service, &port).unwrap();
            assert_eq!(
                selector.is_expecting(|_| vec![pod.clone()]),
                expecting,
                "{target}"
            );
        }
    }
}
