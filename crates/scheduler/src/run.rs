//! The loop: feeds the cluster's state, asks for decisions, carries them out.

use std::sync::Arc;
use std::time::Duration;

use api::pods;
use informer::{Informer, Key, Next, Queue, Recorder, Type};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::pick::{NoFit, pick};
use crate::retry::Unschedulable;
use crate::wanted::Wanted;
use crate::{NAME, neighbours, spread};

/// Bindings under way at the same time. Decisions are made one after another all the same.
const WORKERS: usize = 16;
/// A pod that fits nowhere is tried again after this time even if nothing seems to have changed.
const LEFTOVER: Duration = Duration::from_secs(300);

/// What can go wrong; each is tried again.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("binding to node {node}")]
    Bind {
        node: String,
        #[source]
        source: kube::Error,
    },
    #[error("writing the condition PodScheduled")]
    Condition(#[source] kube::Error),
}

#[derive(Default)]
struct State {
    cluster: Cluster,
    unschedulable: Unschedulable,
}

struct Scheduler {
    client: Client,
    recorder: Recorder,
    pods: Informer<Pod>,
    queue: Queue<Key>,
    /// Held for one change or one decision, never across an await.
    state: Mutex<State>,
}

/// Schedules until `stop`. Pods are ours if they name [`NAME`] as their scheduler.
pub async fn run(client: Client, pods: Informer<Pod>, nodes: Informer<Node>, stop: CancellationToken) {
    let scheduler = Arc::new(Scheduler {
        recorder: Recorder::new(client.clone(), NAME, ""),
        client,
        pods: pods.clone(),
        queue: Queue::new("scheduler"),
        state: Mutex::default(),
    });
    // Nodes and placed pods must be known before the first decision, or everything would go to the first node listed.
    tokio::select! {
        () = async { nodes.synced().await; pods.synced().await } => {}
        () = stop.cancelled() => return,
    }
    let watching = scheduler.clone();
    nodes.on_change(Box::new(move |old, new| watching.node_changed(old, new)));
    let watching = scheduler.clone();
    pods.on_change(Box::new(move |old, new| watching.pod_changed(old, new)));
    let working = scheduler.clone();
    let queue = scheduler.queue.clone();
    queue
        .run(WORKERS, stop, move |key| {
            let scheduler = working.clone();
            async move { scheduler.schedule(key).await }
        })
        .await;
}

impl Scheduler {
    fn node_changed(&self, old: Option<&Arc<Node>>, new: Option<&Arc<Node>>) {
        let mut state = self.state.lock();
        match (old, new) {
            (_, Some(node)) => state.cluster.set_node(node.clone()),
            (Some(node), None) => state.cluster.remove_node(&Key::of(&**node).name),
            (None, None) => {}
        }
        if new.is_some_and(|new| old.is_none_or(|old| matters(old, new))) {
            self.retry(&state, false);
        }
    }

    fn pod_changed(&self, old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>) {
        let Some(key) = new.or(old).map(|pod| Key::of(&**pod)) else {
            return;
        };
        let mut state = self.state.lock();
        let was_placed = state.cluster.is_placed(&key);
        match new {
            Some(pod) => state.cluster.set_pod(pod.clone()),
            None => state.cluster.remove_pod(&key),
        }
        let is_placed = state.cluster.is_placed(&key);
        if was_placed && !is_placed {
            self.retry(&state, false);
        } else if is_placed && old.is_none_or(|old| new.is_some_and(|new| relabelled(old, new))) {
            self.retry(&state, true);
        }
        match new {
            Some(pod) if is_ours(pod) && !is_placed => {
                // Our own status writes must not start a new attempt.
                if old.is_none_or(|old| old.spec != pod.spec || relabelled(old, pod)) {
                    self.queue.add(key);
                }
            }
            _ => state.unschedulable.forget(&key),
        }
    }

    fn retry(&self, state: &State, only_those_that_mind_pods: bool) {
        for (key, delay) in state
            .unschedulable
            .retry(only_those_that_mind_pods, Instant::now())
        {
            self.queue.add_after(key, delay);
        }
    }

    async fn schedule(&self, key: Key) -> Result<Next, Error> {
        let Some(pod) = self.pods.get(&key).filter(|pod| is_ours(pod)) else {
            return Ok(Next::Wait);
        };
        if is_gated(&pod) {
            let message = "Scheduling is blocked due to non-empty scheduling gates";
            self.set_condition(&pod, "SchedulingGated", message).await?;
            return Ok(Next::Wait);
        }
        match self.decide(&key, &pod) {
            None => Ok(Next::Wait),
            Some(Ok(node)) => {
                self.bind(&key, &pod, node).await?;
                Ok(Next::Wait)
            }
            Some(Err(no_fit)) => {
                let message = no_fit.to_string();
                self.recorder
                    .event(&pod.object_ref(&()), Type::Warning, "FailedScheduling", &message);
                self.set_condition(&pod, "Unschedulable", &message).await?;
                Ok(Next::After(LEFTOVER))
            }
        }
    }

    /// Decides and remembers the decision. `None`: it has been made already.
    fn decide(&self, key: &Key, pod: &Arc<Pod>) -> Option<Result<String, NoFit>> {
        let mut state = self.state.lock();
        if state.cluster.is_placed(key) {
            return None;
        }
        let decision = pick(&Wanted::new(pod, &state.cluster), &state.cluster).map(str::to_owned);
        match &decision {
            Ok(node) => {
                state.cluster.assume(pod.clone(), node);
                state.unschedulable.forget(key);
            }
            Err(_) => state
                .unschedulable
                .failed(key.clone(), minds_pods(pod), Instant::now()),
        }
        Some(decision)
    }

    async fn bind(&self, key: &Key, pod: &Pod, node: String) -> Result<(), Error> {
        let binding = Binding {
            metadata: ObjectMeta {
                name: pod.metadata.name.clone(),
                namespace: pod.metadata.namespace.clone(),
                uid: pod.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.clone()),
                ..ObjectReference::default()
            },
        };
        let api = self.api(key);
        let bound: kube::Result<serde_json::Value> = api
            .create_subresource("binding", &key.name, &PostParams::default(), &binding)
            .await;
        match bound {
            Ok(_) => {
                let message = format!("Successfully assigned {key} to {node}");
                // In the older style, unlike upstream's: clients sort by time, in which those of the agent, to the second, would
                // stand before one to the microsecond.
                self.recorder
                    .event(&pod.object_ref(&()), Type::Normal, "Scheduled", message);
                Ok(())
            }
            Err(source) => {
                let mut state = self.state.lock();
                state.cluster.forget(key);
                self.retry(&state, false);
                drop(state);
                if is_gone(&source) {
                    Ok(())
                } else {
                    Err(Error::Bind { node, source })
                }
            }
        }
    }

    /// Sets PodScheduled to False if it does not say so already.
    async fn set_condition(&self, pod: &Pod, reason: &str, message: &str) -> Result<(), Error> {
        let present = pods::condition(pod, "PodScheduled");
        let same = |text: &Option<String>, wanted: &str| text.as_deref() == Some(wanted);
        if present
            .is_some_and(|c| c.status == "False" && same(&c.reason, reason) && same(&c.message, message))
        {
            return Ok(());
        }
        let kept = present.filter(|condition| condition.status == "False");
        let since = kept.and_then(|condition| condition.last_transition_time.clone());
        let patch = json!({"status": {"conditions": [{
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastProbeTime": null,
            "lastTransitionTime": since.unwrap_or(Time(Timestamp::now())),
            "observedGeneration": pod.metadata.generation,
        }]}});
        let key = Key::of(pod);
        let patched = self
            .api(&key)
            .patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch))
            .await;
        match patched {
            Err(error) if !is_gone(&error) => Err(Error::Condition(error)),
            _ => Ok(()),
        }
    }

    fn api(&self, key: &Key) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

/// Whether the pod waits for this scheduler.
fn is_ours(pod: &Pod) -> bool {
    let scheduler = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
    scheduler.unwrap_or(NAME) == NAME
        && pods::node_name(pod).is_none()
        && !pods::is_terminating(pod)
        && !pods::is_finished(pod)
}

fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
    gates.is_some_and(|gates| !gates.is_empty())
}

fn minds_pods(pod: &Pod) -> bool {
    pod.spec
        .as_ref()
        .is_some_and(|spec| spread::is_constrained(spec) || neighbours::is_constrained(spec))
}

fn relabelled(old: &Pod, new: &Pod) -> bool {
    old.metadata.labels != new.metadata.labels
}

/// Whether a node's change can make room for a pod. Heartbeats do not.
fn matters(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    old.spec != new.spec || old.metadata.labels != new.metadata.labels || allocatable(old) != allocatable(new)
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
