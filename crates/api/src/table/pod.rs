//! Cells of pods: above all STATUS, which sums up the whole status in a word.

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod, PodSpec, PodStatus};
use serde_json::Value;

use crate::duration;
use crate::pods;
use crate::table::{age, name, or_none};

/// One row.
#[must_use]
pub fn cells(pod: &Pod, now: i64) -> Vec<Value> {
    let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let status = pod.status.as_ref().unwrap_or(&no_status);
    let summary = Summary::of(pod, spec, status);
    let ip = status
        .pod_ips
        .iter()
        .flatten()
        .next()
        .map(|ip| ip.ip.as_str())
        .or(status.pod_ip.as_deref());
    vec![
        name(&pod.metadata),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.as_str().into(),
        summary.restarts(now).into(),
        age(&pod.metadata, now),
        or_none(ip).into(),
        or_none(spec.node_name.as_deref()).into(),
        or_none(status.nominated_node_name.as_deref()).into(),
        readiness_gates(spec, status).into(),
    ]
}

/// What the row says about the containers together.
#[derive(Debug, Default)]
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: Restarts,
    sidecar_restarts: Restarts,
}

/// How often containers were restarted, and when the last of their runs ended.
#[derive(Clone, Copy, Debug, Default)]
struct Restarts {
    count: i64,
    last: Option<jiff::Timestamp>,
}

impl Summary {
    fn of(pod: &Pod, spec: &PodSpec, status: &PodStatus) -> Self {
        let sidecars = spec
            .init_containers
            .iter()
            .flatten()
            .filter(|container| pods::is_sidecar(container));
        let mut summary = Self {
            reason: first_non_empty([status.reason.as_deref(), status.phase.as_deref()]),
            total: spec.containers.len() + sidecars.count(),
            ..Self::default()
        };
        let scheduled = pods::condition(pod, "PodScheduled");
        if scheduled.is_some_and(|condition| condition.reason.as_deref() == Some("SchedulingGated")) {
            summary.reason = "SchedulingGated".to_owned();
        }
        let initializing = summary.init_containers(spec, status);
        if !initializing
            || pods::condition(pod, "Initialized").is_some_and(|condition| condition.status == "True")
        {
            summary.containers(pod, status);
        }
        if pods::is_terminating(pod) {
            if status.reason.as_deref() == Some("NodeLost") {
                summary.reason = "Unknown".to_owned();
            } else if !pods::is_finished(pod) {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// Counts the init containers' restarts; returns whether one of them is still to finish, which is then the reason.
    fn init_containers(&mut self, spec: &PodSpec, status: &PodStatus) -> bool {
        let declared = spec.init_containers.as_deref().unwrap_or_default();
        let no_state = ContainerState::default();
        for (index, container) in status.init_container_statuses.iter().flatten().enumerate() {
            let is_sidecar = declared
                .iter()
                .any(|c: &Container| c.name == container.name && pods::is_sidecar(c));
            self.restarts.add(container);
            if is_sidecar {
                self.sidecar_restarts.add(container);
            }
            let state = container.state.as_ref().unwrap_or(&no_state);
            if state
                .terminated
                .as_ref()
                .is_some_and(|terminated| terminated.exit_code == 0)
            {
                continue;
            }
            if is_sidecar && container.started == Some(true) {
                self.ready += usize::from(container.ready);
                continue;
            }
            self.reason = init_reason(state, index, declared.len());
            return true;
        }
        false
    }

    fn containers(&mut self, pod: &Pod, status: &PodStatus) {
        // Once initialization is over, the restarts of init containers that have ended no longer count.
        self.restarts = self.sidecar_restarts;
        let no_state = ContainerState::default();
        let mut has_running = false;
        let mut error_reason = None;
        for container in status.container_statuses.iter().flatten().rev() {
            self.restarts.add(container);
            let state = container.state.as_ref().unwrap_or(&no_state);
            let waiting = state
                .waiting
                .as_ref()
                .and_then(|waiting| waiting.reason.as_deref());
            if let Some(reason) = waiting.filter(|reason| !reason.is_empty()) {
                self.reason = reason.to_owned();
            } else if let Some(ended) = &state.terminated {
                self.reason = terminated_reason(ended.reason.as_deref(), ended.signal, ended.exit_code);
                if ended.exit_code != 0 {
                    error_reason = Some(self.reason.clone());
                }
            } else if state.running.is_some() {
                has_running = true;
                self.ready += usize::from(container.ready);
            }
        }
        if self.reason == "Completed" {
            self.reason = match error_reason {
                _ if has_running && pods::is_ready(pod) => "Running".to_owned(),
                Some(reason) => reason,
                None if has_running => "NotReady".to_owned(),
                None => "Completed".to_owned(),
            };
        }
    }

    /// RESTARTS: `3 (5m ago)`
    fn restarts(&self, now: i64) -> String {
        match self.restarts {
            Restarts {
                count,
                last: Some(last),
            } if count != 0 => {
                format!("{count} ({} ago)", duration::since(Some(last), now))
            }
            Restarts { count, .. } => count.to_string(),
        }
    }
}

impl Restarts {
    fn add(&mut self, container: &ContainerStatus) {
        self.count += i64::from(container.restart_count);
        self.last = self.last.max(last_finished(container));
    }
}

/// When the container's previous run ended.
fn last_finished(container: &ContainerStatus) -> Option<jiff::Timestamp> {
    let terminated = container.last_state.as_ref()?.terminated.as_ref()?;
    terminated.finished_at.as_ref().map(|time| time.0)
}

fn init_reason(state: &ContainerState, index: usize, total: usize) -> String {
    if let Some(terminated) = &state.terminated {
        return match terminated.reason.as_deref().filter(|reason| !reason.is_empty()) {
            Some(reason) => format!("Init:{reason}"),
            None => format!(
                "Init:{}",
                terminated_reason(None, terminated.signal, terminated.exit_code)
            ),
        };
    }
    let waiting = state
        .waiting
        .as_ref()
        .and_then(|waiting| waiting.reason.as_deref());
    match waiting.filter(|reason| !reason.is_empty() && *reason != "PodInitializing") {
        Some(reason) => format!("Init:{reason}"),
        None => format!("Init:{index}/{total}"),
    }
}

fn terminated_reason(reason: Option<&str>, signal: Option<i32>, exit_code: i32) -> String {
    match (reason.filter(|reason| !reason.is_empty()), signal.unwrap_or(0)) {
        (Some(reason), _) => reason.to_owned(),
        (None, 0) => format!("ExitCode:{exit_code}"),
        (None, signal) => format!("Signal:{signal}"),
    }
}

/// How many of the pod's readiness gates are open, `1/2`.
fn readiness_gates(spec: &PodSpec, status: &PodStatus) -> String {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    if gates.is_empty() {
        return or_none(None);
    }
    let is_open = |name: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == name && condition.status == "True")
    };
    let open = gates.iter().filter(|gate| is_open(&gate.condition_type)).count();
    format!("{open}/{}", gates.len())
}

fn first_non_empty<const N: usize>(texts: [Option<&str>; N]) -> String {
    texts
        .into_iter()
        .flatten()
        .find(|text| !text.is_empty())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
#[path = "pod_tests.rs"]
mod tests;
