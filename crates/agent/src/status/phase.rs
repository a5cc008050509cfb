//! The phase of a pod.

use std::fmt;

use k8s_openapi::api::core::v1::PodSpec;

use super::Known;

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Some container has never run, or an init container is not done.
    Pending,
    /// All containers have run, and at least one runs or will again.
    Running,
    /// All containers have ended well for good.
    Succeeded,
    /// All containers have ended for good, at least one not well.
    Failed,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How many containers there are of each kind.
#[derive(Default)]
struct Count {
    waiting: usize,
    running: usize,
    stopped: usize,
    failed: usize,
}

/// Works the phase out. `Succeeded` and `Failed` are never left.
pub fn phase(known: &Known<'_>, spec: &PodSpec) -> Phase {
    let reported = known
        .written
        .or(known.pod.status.as_ref())
        .and_then(|status| status.phase.as_deref());
    match reported {
        Some("Succeeded") => return Phase::Succeeded,
        Some("Failed") => return Phase::Failed,
        _ => {}
    }
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let mut count = Count::default();
    for container in &spec.containers {
        let container = known.of(container);
        match container.exit_code() {
            Some(code) => {
                count.stopped += 1;
                count.failed += usize::from(code != 0);
            }
            None if container.is_running() => count.running += 1,
            None => count.waiting += 1,
        }
    }
    let is_ending = known.pod.metadata.deletion_timestamp.is_some() || known.cut_short.is_some();
    if is_ending && count.running == 0 && !any_init_runs(known, spec) {
        let all_well = count.failed == 0 && count.stopped > 0 && known.cut_short.is_none();
        return if all_well { Phase::Succeeded } else { Phase::Failed };
    }
    if count.waiting == spec.containers.len() {
        for init in spec
            .init_containers
            .iter()
            .flatten()
            .filter(|init| !api::pods::is_sidecar(init))
        {
            match known.of(init).exit_code() {
                Some(0) => {}
                Some(_) if policy == "Never" => return Phase::Failed,
                _ => return Phase::Pending,
            }
        }
    }
    match count {
        Count { waiting: 1.., .. } => Phase::Pending,
        Count { running: 1.., .. } => Phase::Running,
        Count { stopped: 0, .. } => Phase::Pending,
        _ if policy == "Always" => Phase::Running,
        Count { failed: 0, .. } => Phase::Succeeded,
        _ if policy == "Never" => Phase::Failed,
        _ => Phase::Running,
    }
}

fn any_init_runs(known: &Known<'_>, spec: &PodSpec) -> bool {
    spec.init_containers
        .iter()
        .flatten()
        .any(|init| known.of(init).is_running())
}
