//! The conditions of a pod that its agent writes.

use k8s_openapi::api::core::v1::{Container, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Known, Phase};

/// Reason and message of a condition that is False.
type No = (&'static str, Option<String>);

/// The conditions in upstream's order. `lastTransitionTime` is kept where the status is.
pub fn conditions(known: &Known<'_>, spec: &PodSpec, phase: Phase) -> Vec<PodCondition> {
    let containers_ready = containers_ready(known, spec, phase);
    let ready = containers_ready
        .clone()
        .and_then(|()| readiness_gates(known, spec));
    let set_up = if known.is_set_up { Ok(()) } else { Err(None) };
    [
        ("PodReadyToStartContainers", set_up),
        ("Initialized", initialized(known, spec, phase).map_err(Some)),
        ("Ready", ready.map_err(Some)),
        ("ContainersReady", containers_ready.map_err(Some)),
        ("PodScheduled", Ok(())),
    ]
    .map(|(name, state)| condition(known, phase, name, state))
    .into()
}

fn condition(known: &Known<'_>, phase: Phase, name: &str, state: Result<(), Option<No>>) -> PodCondition {
    let written = known.written.or(known.pod.status.as_ref());
    let before = written
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|c| c.type_ == name);
    let status = if state.is_ok() { "True" } else { "False" };
    let kept = before
        .filter(|before| before.status == status)
        .and_then(|c| c.last_transition_time.clone());
    let (reason, message) = match state {
        Err(Some((reason, message))) => (Some(reason.to_owned()), message),
        // A pod that has completed was initialised, and the condition says that it is over.
        Ok(()) if name == "Initialized" && phase == Phase::Succeeded => {
            (Some("PodCompleted".to_owned()), None)
        }
        _ => (None, None),
    };
    PodCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason,
        message,
        last_transition_time: Some(kept.unwrap_or(Time(known.now))),
        observed_generation: known.pod.metadata.generation,
        last_probe_time: None,
    }
}

fn names(containers: &[&Container]) -> String {
    containers
        .iter()
        .map(|container| container.name.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn initialized(known: &Known<'_>, spec: &PodSpec, phase: Phase) -> Result<(), No> {
    // Once the containers have run, what the init containers did is history.
    if phase == Phase::Succeeded
        || spec
            .containers
            .iter()
            .any(|container| known.of(container).attempt.is_some())
    {
        return Ok(());
    }
    let is_incomplete = |init: &&Container| {
        let known = known.of(init);
        let is_done = known.exit_code() == Some(0);
        let is_up = known.is_running() && known.is_started;
        if api::pods::is_sidecar(init) {
            !is_up
        } else {
            !is_done
        }
    };
    let incomplete: Vec<&Container> = spec
        .init_containers
        .iter()
        .flatten()
        .filter(is_incomplete)
        .collect();
    if incomplete.is_empty() {
        return Ok(());
    }
    let text = format!("containers with incomplete status: [{}]", names(&incomplete));
    Err(("ContainersNotInitialized", Some(text)))
}

fn containers_ready(known: &Known<'_>, spec: &PodSpec, phase: Phase) -> Result<(), No> {
    match phase {
        Phase::Succeeded => return Err(("PodCompleted", None)),
        Phase::Failed => return Err(("PodFailed", None)),
        Phase::Pending | Phase::Running => {}
    }
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|init| api::pods::is_sidecar(init));
    let is_unready = |container: &&Container| {
        let known = known.of(container);
        !(known.is_running() && known.is_ready)
    };
    let unready: Vec<&Container> = sidecars.chain(&spec.containers).filter(is_unready).collect();
    if unready.is_empty() {
        return Ok(());
    }
    Err((
        "ContainersNotReady",
        Some(format!("containers with unready status: [{}]", names(&unready))),
    ))
}

fn readiness_gates(known: &Known<'_>, spec: &PodSpec) -> Result<(), No> {
    let is_open = |gate: &str| api::pods::condition(known.pod, gate).is_some_and(|c| c.status == "True");
    let gates = spec
        .readiness_gates
        .iter()
        .flatten()
        .map(|gate| gate.condition_type.as_str());
    let Some(gate) = gates.into_iter().find(|gate| !is_open(gate)) else {
        return Ok(());
    };
    let text = match api::pods::condition(known.pod, gate) {
        None => format!("corresponding condition of pod readiness gate \"{gate}\" does not exist."),
        Some(condition) => {
            format!(
                "the status of pod readiness gate \"{gate}\" is not \"True\", but {}",
                condition.status
            )
        }
    };
    Err(("ReadinessGatesNotReady", Some(text)))
}
