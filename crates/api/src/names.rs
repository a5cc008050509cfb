//! The words that several components must agree on: annotations, conditions, labels, identities.

/// Annotation of a pod, written by its node agent: a JSON object from declared port to real port, `{"80/TCP":20003}`.
/// Absent where pods listen on their declared ports (`--pod-ports=declared`, `hostNetwork`).
pub const POD_PORTS: &str = "coracle.dev/ports";

/// Pod condition, written by the balancer: `True` before traffic is first routed to the pod, `False` once nothing is
/// routed to it and its last connection has ended, or its grace period is nearly over. The agent waits for `False` before
/// it stops a pod.
pub const IN_SERVICE: &str = "coracle.dev/InService";

/// Label of an EndpointSlice: its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Label of pods and ReplicaSets of a Deployment: hash of the pod template.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// Namespace of the nodes' Leases.
pub const NODE_LEASES: &str = "kube-node-lease";

/// Annotation of a Node: with the value [`STOPPED`] the server runs no agent for it (`coracle node stop`). Its pods'
/// processes go on, and the node becomes NotReady when its Lease has run out.
pub const NODE_AGENT: &str = "coracle.dev/agent";

/// See [`NODE_AGENT`].
pub const STOPPED: &str = "stopped";
