//! What a pod asks of a node, worked out once a decision.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::cluster::Cluster;
use crate::neighbours::{self, Neighbours};
use crate::requests::Request;
use crate::spread::{self, Constraint};

static NOTHING: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);

/// A pod that looks for a node, and what the cluster means for it. Plugins look at this and at one node at a time.
pub struct Wanted<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) request: Request,
    pub(crate) constraints: Vec<Constraint<'a>>,
    pub(crate) neighbours: Neighbours<'a>,
}

impl<'a> Wanted<'a> {
    /// Reads the pod, and counts the pods of the cluster that matter to it.
    pub fn new(pod: &'a Pod, cluster: &Cluster) -> Self {
        let neighbours = neighbours::neighbours(pod, cluster);
        let mut wanted = Self {
            pod,
            request: Request::of(pod),
            constraints: Vec::new(),
            neighbours,
        };
        wanted.constraints = spread::constraints(&wanted, cluster);
        wanted
    }

    pub(crate) fn spec(&self) -> &'a PodSpec {
        self.pod.spec.as_ref().unwrap_or(&NOTHING)
    }
}
