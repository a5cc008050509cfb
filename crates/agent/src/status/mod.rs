//! The status of a pod as its agent reports it: a pure function of what is known.
//!
//! Flows in: the pod's spec, its place, and what each container is doing. Flows out: phase, conditions and container
//! statuses by the rules of upstream's kubelet (`pkg/kubelet/kubelet_pods.go`, `pkg/kubelet/status/generate.go`).
//! Never does I/O, and never decides anything.

mod conditions;
mod container;
mod patch;
mod phase;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, HostIP, Pod, PodIP, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::keeper::protocol::Attempt;

pub use container::container_id;
pub use patch::patch;
use phase::Phase;

/// What is known of a pod at one moment.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// The status that was written last; its conditions keep their times.
    pub written: Option<&'a PodStatus>,
    /// The node's address.
    pub node_ip: Ipv4Addr,
    /// The pod's address, once it has one.
    pub ip: Option<Ipv4Addr>,
    /// Whether the pod's keeper is there, or was when it was needed last.
    pub is_set_up: bool,
    /// When the agent first saw the pod.
    pub seen: Timestamp,
    /// What is known of each container, by name; nothing of one that was never looked at.
    pub containers: &'a BTreeMap<String, ContainerKnown>,
    /// Why the pod has ended before its time.
    pub cut_short: Option<&'a CutShort>,
    /// The moment.
    pub now: Timestamp,
}

/// What is known of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerKnown {
    /// The latest attempt at running it.
    pub attempt: Option<Attempt>,
    /// The one before.
    pub previous: Option<Attempt>,
    /// Why it waits, if it does.
    pub waiting: Option<Waiting>,
    /// Its startup probe has succeeded, or it has none.
    pub is_started: bool,
    /// It can serve.
    pub is_ready: bool,
    /// What its image was found to be.
    pub image_id: String,
}

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// One word, `CrashLoopBackOff`.
    pub reason: String,
    /// A sentence, if there is one.
    pub message: Option<String>,
}

/// Why a pod has ended though its containers would run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutShort {
    /// One word, `DeadlineExceeded`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl ContainerKnown {
    /// Whether its main process runs.
    pub fn is_running(&self) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|attempt| attempt.exit.is_none())
    }

    /// The exit code of the latest attempt, if that has ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.attempt.as_ref()?.exit.as_ref().map(|exit| exit.code)
    }
}

impl Known<'_> {
    fn of(&self, container: &Container) -> ContainerKnown {
        self.containers.get(&container.name).cloned().unwrap_or_default()
    }
}

/// Puts the status together.
pub fn status(known: &Known<'_>) -> PodStatus {
    let default = PodSpec::default();
    let spec = known.pod.spec.as_ref().unwrap_or(&default);
    let phase = phase::phase(known, spec);
    let has_init = spec.init_containers.as_ref().is_some_and(|list| !list.is_empty());
    let one = |c: &Container| container::status(c, &known.of(c), has_init);
    let list = |statuses: Vec<_>| Some(statuses).filter(|list| !list.is_empty());
    let init = spec.init_containers.iter().flatten();
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|c| container::ephemeral(one(&api::pods::as_container(c))));
    PodStatus {
        phase: Some(phase.to_string()),
        conditions: Some(conditions::conditions(known, spec, phase)),
        container_statuses: list(spec.containers.iter().map(one).collect()),
        ephemeral_container_statuses: list(ephemeral.collect()),
        init_container_statuses: list(init.map(|c| container::init(c, one(c))).collect()),
        host_ip: Some(known.node_ip.to_string()),
        host_ips: Some(vec![HostIP {
            ip: known.node_ip.to_string(),
        }]),
        pod_ip: known.ip.map(|ip| ip.to_string()),
        pod_ips: known.ip.map(|ip| vec![PodIP { ip: ip.to_string() }]),
        start_time: Some(Time(known.seen)),
        qos_class: Some(api::pods::qos_class(spec).to_owned()),
        observed_generation: known.pod.metadata.generation,
        reason: known.cut_short.map(|cut| cut.reason.to_owned()),
        message: known.cut_short.map(|cut| cut.message.clone()),
        ..PodStatus::default()
    }
}

#[cfg(test)]
mod tests;
