//! The node lifecycle: notices nodes whose agent has fallen silent, taints nodes, and moves pods off them.
//!
//! Flows in: Nodes, their Leases, their pods. Flows out: node conditions and taints, pods marked not ready, pods deleted,
//! Events of nodes that come and go.
//! Silence is counted from when this process saw the last renewal, so that after a restart every agent has time to renew.

mod eviction;
mod health;
mod orphans;
mod renewals;
mod roll;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::names::NODE_LEASES;
use api::pods;
use informer::{Key, Next, Queue, Recorder, Type};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::RequestError;
use crate::context::{Context, attempt};
use eviction::Stay;
use renewals::{ATTENDANCE, Renewals};
use roll::Roll;

const WORKERS: usize = 4;

/// Runs the controller until the context's stop; an agent may be silent for `grace`.
pub async fn run(context: Context, grace: Duration) {
    let queue = Queue::new("node");
    watch(&context, &queue);
    let recorder = Recorder::new(context.client.clone(), "node-controller", "");
    let stop = context.stop.clone();
    let controller = Arc::new(Controller {
        context,
        grace,
        recorder,
        renewals: Mutex::new(Renewals::new(Instant::now())),
        roll: Mutex::new(Roll::new(Timestamp::now())),
    });
    let attending = controller.clone();
    let attend = async {
        loop {
            tokio::time::sleep(ATTENDANCE).await;
            attending.renewals().attend(Instant::now());
        }
    };
    let reconcile = move |node: String| {
        let controller = controller.clone();
        async move { attempt(controller.sync(&node)).await }
    };
    tokio::select! {
        () = queue.run(WORKERS, stop, reconcile) => {}
        () = attend => {}
    }
}

fn watch(context: &Context, queue: &Queue<String>) {
    let changed = queue.clone();
    context.caches.nodes.on_change(Box::new(move |old, new| {
        new.or(old)
            .into_iter()
            .for_each(|node| changed.add(node.metadata.name.clone().unwrap_or_default()));
    }));
    let changed = queue.clone();
    context.caches.leases.on_change(Box::new(move |old, new| {
        let lease = new
            .or(old)
            .filter(|lease| lease.metadata.namespace.as_deref() == Some(NODE_LEASES));
        lease
            .into_iter()
            .for_each(|lease| changed.add(lease.metadata.name.clone().unwrap_or_default()));
    }));
    let changed = queue.clone();
    context.caches.pods.on_change(Box::new(move |old, new| {
        let was_bound = old.and_then(|pod| pods::node_name(pod)).is_some();
        let node = new.and_then(|pod| pods::node_name(pod)).filter(|_| !was_bound);
        node.into_iter().for_each(|node| changed.add(node.to_owned()));
    }));
}

struct Controller {
    context: Context,
    grace: Duration,
    recorder: Recorder,
    renewals: Mutex<Renewals>,
    roll: Mutex<Roll>,
}

impl Controller {
    async fn sync(&self, name: &str) -> Result<Next, RequestError> {
        let node = self.context.caches.nodes.get(&Key::new("", name));
        self.call_roll(name, node.as_deref());
        let Some(node) = node else {
            return self.delete_orphans(name).await;
        };
        let silent = self.silent_for(name);
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        if silent >= self.grace
            && let Some(conditions) = health::unknown(&node, now)
        {
            tracing::warn!(node = name, "the agent has stopped renewing its lease");
            let patch = json!({ "status": { "conditions": conditions } });
            self.patch_node(name, patch, true).await?;
            let message = format!("Node {name} status is now: NodeNotReady");
            self.recorder
                .event(&node.object_ref(&()), Type::Normal, "NodeNotReady", message);
            // The change comes back through the cache, and taints follow.
            return Ok(Next::Wait);
        }
        if let Some(taints) = health::taints(&node, now) {
            let version = &node.metadata.resource_version;
            let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } });
            self.patch_node(name, patch, false).await?;
            return Ok(Next::Wait);
        }
        if health::status(&node, "Ready").is_some_and(|ready| ready != "True") {
            self.mark_pods_not_ready(name, now).await?;
        }
        let next_eviction = self.evict(&node).await?;
        let next_check = self.grace.checked_sub(silent).filter(|left| !left.is_zero());
        Ok([next_check, next_eviction]
            .into_iter()
            .flatten()
            .min()
            .map_or(Next::Wait, Next::After))
    }

    fn call_roll(&self, name: &str, node: Option<&Node>) {
        let mut roll = self.roll.lock().unwrap_or_else(PoisonError::into_inner);
        for news in roll.call(name, node) {
            self.recorder
                .event(&news.about, Type::Normal, news.reason, news.message);
        }
    }

    fn renewals(&self) -> std::sync::MutexGuard<'_, Renewals> {
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the node's agent has not renewed its Lease.
    fn silent_for(&self, name: &str) -> Duration {
        let lease = self.context.caches.leases.get(&Key::new(NODE_LEASES, name));
        let at = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        self.renewals().silent_for(name, at, Instant::now())
    }

    async fn patch_node(&self, name: &str, patch: Value, is_status: bool) -> Result<(), RequestError> {
        let api: Api<Node> = Api::all(self.context.client.clone());
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let result = if is_status {
            api.patch_status(name, &params, &patch).await
        } else {
            api.patch(name, &params, &patch).await
        };
        let node = result.map_err(|source| RequestError::Update {
            what: format!("Node {name}"),
            source,
        })?;
        self.context.seen(&self.context.caches.nodes, &node).await;
        Ok(())
    }

    /// Nobody knows whether the pods of a silent node still answer: they get no traffic.
    async fn mark_pods_not_ready(&self, node: &str, now: Timestamp) -> Result<(), RequestError> {
        for pod in self.pods_on(node).into_iter().filter(|pod| pods::is_ready(pod)) {
            let ready = PodCondition {
                type_: "Ready".to_owned(),
                status: "False".to_owned(),
                last_transition_time: Some(Time(now)),
                ..PodCondition::default()
            };
            let key = Key::of(&*pod);
            let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
            let patch = Patch::Strategic(json!({
                "metadata": { "uid": pod.metadata.uid },
                "status": { "conditions": [ready] },
            }));
            match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
                Ok(_) => {
                    let message = "Node is not ready";
                    self.recorder
                        .event(&pod.object_ref(&()), Type::Warning, "NodeNotReady", message);
                }
                Err(source) => {
                    let error = RequestError::Update {
                        what: format!("status of Pod {key}"),
                        source,
                    };
                    crate::context::ignore_gone(error)?;
                }
            }
        }
        Ok(())
    }

    /// Deletes the pods that may not stay; returns when the next one may not.
    async fn evict(&self, node: &Node) -> Result<Option<Duration>, RequestError> {
        let taints = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.as_deref())
            .unwrap_or_default();
        let mut next: Option<Duration> = None;
        for pod in self.pods_on(node.metadata.name.as_deref().unwrap_or_default()) {
            let Stay::Until(until) = eviction::stay(&pod, taints) else {
                continue;
            };
            match Duration::try_from(until.duration_since(Timestamp::now())) {
                Ok(left) if !left.is_zero() => {
                    next = Some(next.map_or(left, |next| next.min(left)));
                }
                _ => {
                    let message = format!("Marking for deletion Pod {}", Key::of(&*pod));
                    self.recorder.event(
                        &pod.object_ref(&()),
                        Type::Normal,
                        "TaintManagerEviction",
                        message,
                    );
                    self.context.delete(&self.context.caches.pods, &*pod).await?;
                }
            }
        }
        Ok(next)
    }

    /// The pods of a node that are not on their way out.
    fn pods_on(&self, node: &str) -> Vec<Arc<Pod>> {
        let mut on_node = self.context.caches.pods.indexed(&format!("node/{node}"));
        on_node.retain(|pod| !pods::is_terminating(pod));
        on_node
    }
}
