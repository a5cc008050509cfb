//! The status of one container.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{ContainerKnown, Waiting};
use crate::keeper::protocol::{Attempt, Exit, Failure};

/// Puts the status of a container together. `has_init`: the pod has init containers.
pub fn status(container: &Container, known: &ContainerKnown, has_init: bool) -> ContainerStatus {
    let waits = known.waiting.as_ref();
    let (state, last) = match &known.attempt {
        None => {
            let reason = if has_init {
                "PodInitializing"
            } else {
                "ContainerCreating"
            };
            let default = Waiting {
                reason: reason.to_owned(),
                message: None,
            };
            (waiting(waits.unwrap_or(&default)), None)
        }
        Some(attempt) => match (&attempt.exit, waits) {
            (None, _) => (running(attempt), known.previous.as_ref()),
            (Some(_), Some(waits)) => (waiting(waits), Some(attempt)),
            (Some(exit), None) => (terminated(attempt, exit), known.previous.as_ref()),
        },
    };
    let last_state = last.and_then(|last| last.exit.as_ref().map(|exit| terminated(last, exit)));
    let restarts = known.attempt.as_ref().map_or(0, |attempt| attempt.attempt);
    let is_running = known.is_running();
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: known.image_id.clone(),
        container_id: known.attempt.as_ref().map(container_id),
        ready: is_running && known.is_ready,
        started: Some(is_running && known.is_started),
        restart_count: i32::try_from(restarts).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: Some(last_state.unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

/// The same of an init container: it is ready when it has done its work, unless it is a sidecar (upstream
/// `pkg/kubelet/prober/prober_manager.go`).
pub fn init(container: &Container, mut status: ContainerStatus) -> ContainerStatus {
    if !api::pods::is_sidecar(container) {
        let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        status.ready = ended.is_some_and(|ended| ended.exit_code == 0);
    }
    status
}

/// The same of an ephemeral container, which no probe ever looks at.
pub fn ephemeral(status: ContainerStatus) -> ContainerStatus {
    ContainerStatus {
        started: None,
        ..status
    }
}

fn time(milliseconds: i64) -> Option<Time> {
    Timestamp::from_millisecond(milliseconds).ok().map(Time)
}

fn waiting(waiting: &Waiting) -> ContainerState {
    let Waiting { reason, message } = waiting.clone();
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason),
            message,
        }),
        ..ContainerState::default()
    }
}

fn running(attempt: &Attempt) -> ContainerState {
    ContainerState {
        running: Some(ContainerStateRunning {
            started_at: time(attempt.started_ms),
        }),
        ..ContainerState::default()
    }
}

fn terminated(attempt: &Attempt, exit: &Exit) -> ContainerState {
    let (reason, message) = match &exit.failure {
        Some(Failure::Start(text)) => ("StartError", Some(text.clone())),
        Some(Failure::Lost) => {
            let text = "The container could not be located when the pod was terminated";
            ("ContainerStatusUnknown", Some(text.to_owned()))
        }
        Some(Failure::OutOfMemory) => ("OOMKilled", None),
        None if exit.code == 0 => ("Completed", None),
        None => ("Error", None),
    };
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(container_id(attempt)),
            exit_code: exit.code,
            // Upstream's runtimes do not tell it: the exit code does.
            signal: None,
            reason: Some(reason.to_owned()),
            message,
            started_at: time(attempt.started_ms),
            finished_at: time(exit.finished_ms),
        }),
        ..ContainerState::default()
    }
}

/// An id as runtimes give them, 64 hexadecimal digits: the same for the same attempt, whoever asks.
pub fn container_id(attempt: &Attempt) -> String {
    // FNV-1a (64 bits) with four different beginnings.
    let digits: String = (0..4u64)
        .map(|seed| {
            let text = format!(
                "{seed}/{}/{}/{}",
                attempt.container, attempt.started_ms, attempt.pid
            );
            let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            format!("{hash:016x}")
        })
        .collect();
    format!("coracle://{digits}")
}
