//! The Node object and its Lease: that the node is there, what it has, that it lives.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    Node as NodeObject, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::node::{DEFAULT_MAX_PODS, Node};
use crate::node_events::Events;

/// Between two renewals of the Lease.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long a Lease is good for, in seconds.
const LEASE_SECONDS: i32 = 40;
/// Between two writes of an unchanged status.
const STATUS: Duration = Duration::from_secs(300);
/// Until the API is asked again after a failure.
const RETRY: Duration = Duration::from_millis(500);
/// What the API server says it is, too.
const KUBELET_VERSION: &str = concat!("v1.36.2+coracle-", env!("CARGO_PKG_VERSION"));

/// The machine's processors and bytes of memory.
pub fn machine() -> (u64, u64) {
    let memory = sysinfo::System::new().map_or(0, |mut system| {
        system.refresh_memory();
        system.total_memory()
    });
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (u64::try_from(processors).unwrap_or(1), memory)
}

/// Registers the node and renews its Lease until `stop`.
pub async fn run(node: Arc<Node>, stop: CancellationToken) {
    let nodes: Api<NodeObject> = Api::all(node.client.clone());
    let mut events = Events::start(&node);
    let mut status_due = Instant::now();
    loop {
        let now = Instant::now();
        let mut result = Ok(());
        // Should the answer fail, so will what follows, and be tried again.
        let object = nodes.get_opt(&node.config.node_name).await.ok().flatten();
        object.iter().for_each(|object| events.scheduling(object));
        if status_due <= now || object.as_ref().is_some_and(is_doubted) {
            result = register(&node, &events).await;
            if result.is_ok() {
                status_due = now + STATUS;
            }
        }
        let result = match result {
            Ok(()) => renew(&node).await,
            failed => failed,
        };
        let pause = match result {
            Ok(()) => RENEWAL,
            Err(error) => {
                tracing::warn!(node = node.config.node_name, %error, "cannot register the node");
                // The object may have been deleted.
                status_due = Instant::now();
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Whether the Node object says that the agent is silent, which it is not: the node controller marks a node whose Lease
/// was not renewed in time, and leaves it to the agent to take that back.
fn is_doubted(object: &NodeObject) -> bool {
    let mut conditions = object
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status != "True")
}

/// Creates the Node object where there is none, and writes its status.
async fn register(node: &Node, events: &Events<'_>) -> kube::Result<()> {
    let api: Api<NodeObject> = Api::all(node.client.clone());
    let name = &node.config.node_name;
    let before = match api.get_opt(name).await? {
        Some(object) => object.status,
        None => match api.create(&PostParams::default(), &object(node)).await {
            Ok(_) => None,
            Err(kube::Error::Api(answer)) if answer.code == 409 => api.get(name).await?.status,
            Err(error) => return Err(error),
        },
    };
    let status = status(node, before.as_ref());
    let patch = serde_json::json!({"status": status});
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch))
        .await?;
    events.conditions(before.as_ref(), &status);
    Ok(())
}

fn object(node: &Node) -> NodeObject {
    let cidr = node.network.pod_cidr(node.config.node_index);
    let labels = [
        ("kubernetes.io/hostname", node.config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
    ];
    NodeObject {
        metadata: ObjectMeta {
            name: Some(node.config.node_name.clone()),
            labels: Some(
                labels
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: Some(cidr.clone()),
            pod_cidrs: Some(vec![cidr]),
            ..NodeSpec::default()
        }),
        status: Some(status(node, None)),
    }
}

/// The architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn status(node: &Node, before: Option<&NodeStatus>) -> NodeStatus {
    let (processors, memory) = node.machine;
    let quantity = |name: &str, value: String| (name.to_owned(), Quantity(value));
    let amounts: BTreeMap<String, Quantity> = [
        quantity("cpu", processors.to_string()),
        quantity("memory", format!("{}Ki", memory / 1024)),
        quantity("pods", DEFAULT_MAX_PODS.to_string()),
    ]
    .into();
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.to_owned(),
        address,
    };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", node.ip.to_string()),
            address("Hostname", node.config.node_name.clone()),
        ]),
        capacity: Some(amounts.clone()),
        allocatable: Some(amounts),
        conditions: Some(conditions(before)),
        node_info: Some(system()),
        daemon_endpoints: Some(NodeDaemonEndpoints::default()),
        ..NodeStatus::default()
    }
}

fn conditions(before: Option<&NodeStatus>) -> Vec<NodeCondition> {
    let now = Time(Timestamp::now());
    let known = |name: &str, status: &str| {
        let mut known = before
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        known
            .find(|c| c.type_ == name && c.status == status)
            .and_then(|c| c.last_transition_time.clone())
    };
    [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    .map(|(name, status, reason, message)| NodeCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(known(name, status).unwrap_or_else(|| now.clone())),
    })
    .into()
}

fn system() -> NodeSystemInfo {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: concat!("coracle://", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel_version: sysinfo::System::kernel_version().unwrap_or_default(),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        machine_id: read("/etc/machine-id"),
        operating_system: "linux".to_owned(),
        os_image: sysinfo::System::long_os_version().unwrap_or_default(),
        system_uuid: String::new(),
        ..NodeSystemInfo::default()
    }
}

async fn renew(node: &Node) -> kube::Result<()> {
    let api: Api<Lease> = Api::namespaced(node.client.clone(), api::names::NODE_LEASES);
    let name = &node.config.node_name;
    let now = MicroTime(Timestamp::now());
    let patch = serde_json::json!({"spec": {"renewTime": now, "holderIdentity": name}});
    match api
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Err(kube::Error::Api(answer)) if answer.code == 404 => {}
        result => return result.map(drop),
    }
    let nodes: Api<NodeObject> = Api::all(node.client.clone());
    let uid = nodes.get(name).await?.metadata.uid.unwrap_or_default();
    let owner = OwnerReference {
        api_version: NodeObject::api_version(&()).into_owned(),
        kind: NodeObject::kind(&()).into_owned(),
        name: name.clone(),
        uid,
        ..OwnerReference::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}
