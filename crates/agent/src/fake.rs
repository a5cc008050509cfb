//! Pods of a node that only pretends (`coracle up --fake-pods`): for tests of scale, where processes would cost too much.
//!
//! Flows in: the pods that the scheduler bound to the node, from the shared informer. Flows out: a status as if every
//! container had been started and were ready, and the end of pods that are deleted. Only the node, its addresses and the
//! status' rules are real: never starts a process, makes a folder, probes, or takes a port.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use informer::{Key, Next, Queue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::keeper::protocol::{Attempt, Exit};
use crate::node::Node;
use crate::status::{self, ContainerKnown, Known};

/// Pods that are looked at at the same time.
const WORKERS: usize = 8;

/// Who has which address: a pod by its name, and which pod of that name.
type Addresses = Mutex<HashMap<Key, (String, Ipv4Addr)>>;

/// Pretends to run the node's pods until `stop`.
pub async fn run(node: Arc<Node>, stop: CancellationToken) {
    if stop.run_until_cancelled(node.pods.synced()).await.is_none() {
        return;
    }
    let addresses = Arc::new(Addresses::default());
    for pod in node.pods.indexed(&format!("node/{}", node.config.node_name)) {
        remember(&node, &addresses, &pod);
    }
    let queue = Queue::new("fake kubelet");
    let (changed, name) = (queue.clone(), node.config.node_name.clone());
    let tell: informer::Handler<Pod> = Box::new(move |before, after| {
        let is_ours = |pod: &&Arc<Pod>| api::pods::node_name(pod) == Some(name.as_str());
        if let Some(pod) = after.filter(is_ours).or(before.filter(is_ours)) {
            changed.add(Key::of(&**pod));
        }
    });
    node.pods.on_change_until(stop.clone(), tell);
    let reconcile = move |key: Key| {
        let (node, addresses) = (node.clone(), addresses.clone());
        async move { sync(&node, &addresses, &key).await.map(|()| Next::Wait) }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

/// Keeps the address of a pod that an earlier agent has pretended to run.
fn remember(node: &Node, addresses: &Addresses, pod: &Pod) {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    if let Some(ip) = ip.and_then(|ip| ip.parse().ok()) {
        node.addresses.reserve(ip);
        addresses.lock().insert(Key::of(pod), (uid(pod).to_owned(), ip));
    }
}

async fn sync(node: &Node, addresses: &Addresses, key: &Key) -> kube::Result<()> {
    let Some(pod) = node.pods.get(key) else {
        release(node, addresses, key);
        return Ok(());
    };
    let api: Api<Pod> = Api::namespaced(node.client.clone(), &key.namespace);
    let result = if pod.metadata.deletion_timestamp.is_some() {
        api.delete(&key.name, &at_once(&pod)).await.map(drop)
    } else if is_running(&pod) {
        Ok(())
    } else if let Some(ip) = address(node, addresses, key, &pod) {
        let body = status::patch(uid(&pod), &running(node, &pod, ip), &BTreeMap::new());
        let patch = Patch::Strategic(body);
        api.patch_status(&key.name, &PatchParams::default(), &patch)
            .await
            .map(drop)
    } else {
        tracing::warn!(node = node.config.node_name, pod = %key.name, "the node has no free address");
        Ok(())
    };
    match result {
        // It is gone, or another by now: the informer will say so.
        Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => Ok(()),
        result => result,
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase.is_some_and(|phase| phase != "Pending")
}

fn at_once(pod: &Pod) -> DeleteParams {
    DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

/// The pod's address: the one it has, or a new one.
fn address(node: &Node, addresses: &Addresses, key: &Key, pod: &Pod) -> Option<Ipv4Addr> {
    match addresses.lock().get(key) {
        Some((owner, ip)) if owner == uid(pod) => return Some(*ip),
        _ => {}
    }
    // It may be another's of the same name.
    release(node, addresses, key);
    let ip = node.addresses.take()?;
    addresses.lock().insert(key.clone(), (uid(pod).to_owned(), ip));
    Some(ip)
}

fn release(node: &Node, addresses: &Addresses, key: &Key) {
    if let Some((_, ip)) = addresses.lock().remove(key) {
        node.addresses.give_back(ip);
    }
}

/// The status of a pod all of whose containers run; its init containers have done their work.
fn running(node: &Node, pod: &Pod, ip: Ipv4Addr) -> PodStatus {
    let now = Timestamp::now();
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let init = spec.init_containers.iter().flatten();
    let done = init
        .clone()
        .filter(|c| !api::pods::is_sidecar(c))
        .map(|c| container(c, now, true));
    let running = init.filter(|c| api::pods::is_sidecar(c)).chain(&spec.containers);
    let containers = done.chain(running.map(|c| container(c, now, false))).collect();
    status::status(&Known {
        pod,
        written: None,
        node_ip: node.ip,
        ip: Some(ip),
        is_set_up: true,
        seen: now,
        containers: &containers,
        cut_short: None,
        now,
    })
}

fn container(container: &Container, now: Timestamp, is_done: bool) -> (String, ContainerKnown) {
    let exit = is_done.then(|| Exit {
        code: 0,
        finished_ms: now.as_millisecond(),
        failure: None,
    });
    let attempt = Attempt {
        container: container.name.clone(),
        attempt: 0,
        pid: 0,
        started: 0,
        started_ms: now.as_millisecond(),
        exit,
    };
    let known = ContainerKnown {
        attempt: Some(attempt),
        is_started: true,
        is_ready: true,
        image_id: container.image.clone().unwrap_or_default(),
        ..ContainerKnown::default()
    };
    (container.name.clone(), known)
}
