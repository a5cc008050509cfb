//! Which containers of a pod are to be started and which stopped: a pure function of what is known.
//!
//! Init containers run one after another, each to its good end; one with restart policy Always (a sidecar) only has to
//! be up before the next one starts, and runs until the containers have ended. Ephemeral containers run once, beside
//! whatever runs, and decide nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

use crate::status::ContainerKnown;

/// What to do.
#[derive(Debug, Default, PartialEq)]
pub struct Plan<'a> {
    /// To be started, each when its back-off is over.
    pub start: Vec<&'a Container>,
    /// Sidecars that are not needed any more, to be stopped.
    pub stop: Vec<&'a Container>,
    /// To be started for the first and only time.
    pub ephemeral: Vec<&'a EphemeralContainer>,
}

/// Makes the plan for a pod that is neither deleted nor cut short.
pub fn plan<'a>(spec: &'a PodSpec, known: &BTreeMap<String, ContainerKnown>) -> Plan<'a> {
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let of = |container: &Container| known.get(&container.name).cloned().unwrap_or_default();
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let has_run = |name: &str| known.get(name).is_some_and(|known| known.attempt.is_some());
    let mut plan = Plan {
        ephemeral: ephemeral.filter(|ephemeral| !has_run(&ephemeral.name)).collect(),
        ..Plan::default()
    };
    let have_run = spec
        .containers
        .iter()
        .any(|container| of(container).attempt.is_some());
    let are_done = spec.containers.iter().all(|container| {
        of(container)
            .exit_code()
            .is_some_and(|code| !restarts(policy, code))
    });
    for init in spec.init_containers.iter().flatten() {
        let known = of(init);
        if api::pods::is_sidecar(init) {
            match (known.is_running(), are_done) {
                (true, true) => plan.stop.push(init),
                (false, false) => plan.start.push(init),
                _ => {}
            }
            let is_up = known.is_running() && known.is_started;
            if !have_run && !is_up {
                return plan;
            }
        } else if !have_run && known.exit_code() != Some(0) {
            let may_start = known.exit_code().is_none_or(|_| policy != "Never");
            if !known.is_running() && may_start {
                plan.start.push(init);
            }
            return plan;
        }
    }
    for container in &spec.containers {
        let known = of(container);
        let is_due = match known.exit_code() {
            None => !known.is_running(),
            Some(code) => restarts(policy, code),
        };
        if is_due {
            plan.start.push(container);
        }
    }
    plan
}

fn restarts(policy: &str, code: i32) -> bool {
    policy == "Always" || (policy == "OnFailure" && code != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::protocol::{Attempt, Exit};
    use serde_json::json;

    fn known(state: &str) -> ContainerKnown {
        let exit = |code| {
            Some(Exit {
                code,
                finished_ms: 2,
                failure: None,
            })
        };
        let attempt = |exit| {
            Some(Attempt {
                container: "c".into(),
                attempt: 0,
                pid: 1,
                started: 0,
                started_ms: 1,
                exit,
            })
        };
        let (attempt, is_started) = match state {
            "new" => (None, false),
            "runs" => (attempt(None), false),
            "up" => (attempt(None), true),
            "ok" => (attempt(exit(0)), false),
            _ => (attempt(exit(1)), false),
        };
        ContainerKnown {
            attempt,
            is_started,
            ..Default::default()
        }
    }

    /// The names to start, `/`, the names to stop, for init containers i, s (a sidecar), j and containers a, b.
    fn planned(policy: &str, states: [&str; 5]) -> String {
        let spec: PodSpec = serde_json::from_value(json!({
            "restartPolicy": policy,
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}, {"name": "j"}],
            "containers": [{"name": "a"}, {"name": "b"}],
        }))
        .unwrap();
        let known = ["i", "s", "j", "a", "b"].into_iter().zip(states);
        let known = known
            .map(|(name, state)| (name.to_owned(), self::known(state)))
            .collect();
        let plan = plan(&spec, &known);
        let names = |list: Vec<&Container>| list.iter().map(|c| c.name.clone()).collect::<String>();
        format!("{}/{}", names(plan.start), names(plan.stop))
    }

    #[test]
    fn plans() {
        for (policy, states, expected) in [
            ("Always", ["new", "new", "new", "new", "new"], "i/"),
            ("Always", ["runs", "new", "new", "new", "new"], "/"),
            ("Always", ["bad", "new", "new", "new", "new"], "i/"),
            ("Never", ["bad", "new", "new", "new", "new"], "/"),
            ("Always", ["ok", "new", "new", "new", "new"], "s/"),
            ("Always", ["ok", "runs", "new", "new", "new"], "/"),
            ("Always", ["ok", "up", "new", "new", "new"], "j/"),
            ("Always", ["ok", "bad", "ok", "new", "new"], "s/"),
            ("Always", ["ok", "up", "ok", "new", "new"], "ab/"),
            ("Always", ["ok", "up", "ok", "up", "new"], "b/"),
            ("Always", ["ok", "bad", "ok", "up", "up"], "s/"),
            ("Always", ["ok", "up", "ok", "ok", "up"], "a/"),
            ("OnFailure", ["ok", "up", "ok", "ok", "bad"], "b/"),
            ("OnFailure", ["ok", "up", "ok", "ok", "ok"], "/s"),
            ("Never", ["ok", "up", "ok", "ok", "bad"], "/s"),
            ("Never", ["ok", "ok", "ok", "ok", "bad"], "/"),
        ] {
            assert_eq!(planned(policy, states), expected, "{policy} {states:?}");
        }
    }

    #[test]
    fn ephemeral_containers_run_once_and_hold_nobody_up() {
        let spec: PodSpec = serde_json::from_value(json!({
            "restartPolicy": "Always",
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a"}],
            "ephemeralContainers": [{"name": "e"}, {"name": "f"}],
        }))
        .unwrap();
        for (states, starts, looks) in [
            (["new", "new", "new", "new"], "i", "ef"),
            (["runs", "new", "runs", "new"], "", "f"),
            (["ok", "new", "ok", "bad"], "a", ""),
            (["ok", "up", "bad", "new"], "", "f"),
            (["ok", "bad", "up", "ok"], "a", ""),
        ] {
            let known = ["i", "a", "e", "f"].into_iter().zip(states);
            let known = known
                .map(|(name, state)| (name.to_owned(), self::known(state)))
                .collect();
            let plan = plan(&spec, &known);
            let starting: String = plan.start.iter().map(|c| c.name.clone()).collect();
            let looking: String = plan.ephemeral.iter().map(|c| c.name.clone()).collect();
            assert_eq!((&*starting, &*looking), (starts, looks), "{states:?}");
            assert!(plan.stop.is_empty());
        }
    }
}
