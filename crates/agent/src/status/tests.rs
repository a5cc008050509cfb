use super::*;
use crate::keeper::protocol::{Exit, Failure};
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "generation": 3}, "spec": spec})).unwrap()
}

fn attempt(attempt: u32, exit: Option<i32>) -> Attempt {
    let exit = exit.map(|code| Exit {
        code,
        finished_ms: 9_000,
        failure: None,
    });
    Attempt {
        container: "c".into(),
        attempt,
        pid: 1,
        started: 0,
        started_ms: 5_000,
        exit,
    }
}

fn runs(is_ready: bool) -> ContainerKnown {
    ContainerKnown {
        attempt: Some(attempt(0, None)),
        is_started: true,
        is_ready,
        ..Default::default()
    }
}

fn ended(code: i32) -> ContainerKnown {
    ContainerKnown {
        attempt: Some(attempt(0, Some(code))),
        ..Default::default()
    }
}

fn with(
    pod: &Pod,
    containers: &[(&str, ContainerKnown)],
    written: Option<&PodStatus>,
    now: i64,
) -> PodStatus {
    let containers = containers
        .iter()
        .map(|(name, known)| ((*name).to_owned(), known.clone()))
        .collect();
    status(&Known {
        pod,
        written,
        node_ip: Ipv4Addr::new(127, 10, 1, 1),
        ip: Some(Ipv4Addr::new(127, 10, 1, 2)),
        is_set_up: true,
        seen: at(1),
        containers: &containers,
        cut_short: None,
        now: at(now),
    })
}

fn phase_of(pod: &Pod, containers: &[(&str, ContainerKnown)]) -> String {
    with(pod, containers, None, 2).phase.unwrap()
}

fn condition<'a>(status: &'a PodStatus, name: &str) -> &'a k8s_openapi::api::core::v1::PodCondition {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == name)
        .unwrap()
}

#[test]
fn phases() {
    let nothing = ContainerKnown::default;
    for (policy, containers, expected) in [
        ("Always", vec![nothing(), nothing()], "Pending"),
        ("Always", vec![runs(false), nothing()], "Pending"),
        ("Always", vec![runs(false), runs(true)], "Running"),
        ("Always", vec![ended(1), ended(1)], "Running"),
        ("Always", vec![ended(0), runs(true)], "Running"),
        ("OnFailure", vec![ended(0), ended(0)], "Succeeded"),
        ("OnFailure", vec![ended(0), ended(1)], "Running"),
        ("Never", vec![ended(0), ended(1)], "Failed"),
        ("Never", vec![ended(0), runs(true)], "Running"),
        ("Never", vec![ended(0), ended(0)], "Succeeded"),
    ] {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}));
        let named: Vec<_> = ["a", "b"].into_iter().zip(containers).collect();
        assert_eq!(phase_of(&pod, &named), expected, "{policy} {named:?}");
    }
}

#[test]
fn init_containers_hold_the_phase() {
    let spec = |policy: &str| {
        pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}],
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}))
    };
    assert_eq!(phase_of(&spec("Always"), &[("i", runs(false))]), "Pending");
    assert_eq!(phase_of(&spec("Always"), &[("i", ended(1))]), "Pending");
    assert_eq!(phase_of(&spec("Never"), &[("i", ended(1))]), "Failed");
    assert_eq!(
        phase_of(&spec("Always"), &[("i", ended(0)), ("s", runs(true))]),
        "Pending"
    );
    assert_eq!(
        phase_of(
            &spec("Always"),
            &[("i", ended(0)), ("s", runs(true)), ("a", runs(true))]
        ),
        "Running"
    );
    let waits = with(&spec("Always"), &[("i", ended(0))], None, 2);
    let initialized = condition(&waits, "Initialized");
    assert_eq!(initialized.status, "False");
    assert_eq!(
        initialized.message.as_deref(),
        Some("containers with incomplete status: [s]")
    );
    let first = &waits.container_statuses.unwrap()[0];
    let reason = first
        .state
        .as_ref()
        .unwrap()
        .waiting
        .as_ref()
        .unwrap()
        .reason
        .as_deref();
    assert_eq!(reason, Some("PodInitializing"));
}

#[test]
fn an_init_container_is_ready_when_it_is_done() {
    let pod = pod(json!({"containers": [{"name": "a"}],
        "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}));
    for (init, sidecar, expected) in [
        (
            ContainerKnown::default(),
            ContainerKnown::default(),
            [false, false],
        ),
        (runs(true), runs(true), [false, true]),
        (ended(1), ended(1), [false, false]),
        (ended(0), ended(0), [true, false]),
    ] {
        let status = with(&pod, &[("i", init), ("s", sidecar)], None, 2);
        let ready: Vec<bool> = status
            .init_container_statuses
            .unwrap()
            .iter()
            .map(|s| s.ready)
            .collect();
        assert_eq!(ready, expected);
    }
}

#[test]
fn an_ephemeral_container_has_a_status_and_changes_nothing_else() {
    let spec = json!({"containers": [{"name": "a"}]});
    let mut looked_at = spec.clone();
    looked_at["ephemeralContainers"] = json!([{"name": "e", "image": "host", "targetContainerName": "a"}]);
    let (plain, looked_at) = (pod(spec), pod(looked_at));
    let waits = ContainerKnown {
        waiting: Some(Waiting {
            reason: "ErrImagePull".into(),
            message: None,
        }),
        ..Default::default()
    };
    for a in [ContainerKnown::default(), runs(true), ended(0)] {
        let expected = with(&plain, &[("a", a.clone())], None, 2);
        for (e, state) in [
            (ContainerKnown::default(), "waiting"),
            (waits.clone(), "waiting"),
            (runs(false), "running"),
            (ended(3), "terminated"),
        ] {
            let mut status = with(&looked_at, &[("a", a.clone()), ("e", e)], None, 2);
            let own = serde_json::to_value(status.ephemeral_container_statuses.take().unwrap()).unwrap();
            assert_eq!(
                (&own[0]["name"], &own[0]["ready"], own[0].get("started")),
                (&json!("e"), &json!(false), None)
            );
            assert!(own[0]["state"][state].is_object(), "{own}");
            assert_eq!(status, expected);
        }
    }
}

#[test]
fn a_deleted_pod_ends_when_its_containers_have() {
    let mut pod = pod(json!({"containers": [{"name": "a"}]}));
    pod.metadata.deletion_timestamp = Some(Time(at(5)));
    assert_eq!(phase_of(&pod, &[("a", runs(true))]), "Running");
    assert_eq!(phase_of(&pod, &[("a", ended(0))]), "Succeeded");
    assert_eq!(phase_of(&pod, &[("a", ended(137))]), "Failed");
}

#[test]
fn readiness_is_told_with_its_time() {
    let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let first = with(&pod, &[("a", runs(true)), ("b", runs(false))], None, 10);
    let ready = condition(&first, "Ready");
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_deref()),
        ("False", Some("ContainersNotReady"))
    );
    assert_eq!(
        ready.message.as_deref(),
        Some("containers with unready status: [b]")
    );
    assert_eq!(ready.observed_generation, Some(3));
    let second = with(&pod, &[("a", runs(true)), ("b", runs(true))], Some(&first), 20);
    assert_eq!(condition(&second, "Ready").status, "True");
    assert_eq!(
        condition(&second, "Ready").last_transition_time,
        Some(Time(at(20)))
    );
    assert_eq!(
        condition(&second, "PodScheduled").last_transition_time,
        Some(Time(at(10)))
    );
    let third = with(&pod, &[("a", runs(true)), ("b", runs(true))], Some(&second), 30);
    assert_eq!(second, third);
}

#[test]
fn states_and_restarts() {
    let pod = pod(json!({"containers": [{"name": "c", "image": "i"}]}));
    let state = |known: ContainerKnown| {
        let status = with(&pod, &[("c", known)], None, 2);
        serde_json::to_value(&status.container_statuses.unwrap()[0]).unwrap()
    };
    let created = state(ContainerKnown::default());
    assert_eq!(created["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(created["started"], false);
    let running = ContainerKnown {
        attempt: Some(attempt(2, None)),
        previous: Some(attempt(1, Some(1))),
        is_started: true,
        is_ready: true,
        ..Default::default()
    };
    let running = state(running);
    assert_eq!(running["state"]["running"]["startedAt"], "1970-01-01T00:00:05Z");
    assert_eq!(running["lastState"]["terminated"]["reason"], "Error");
    assert_eq!(
        (&running["restartCount"], &running["ready"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(
        running["containerID"].as_str().unwrap().len(),
        "coracle://".len() + 64
    );
    let waiting = Waiting {
        reason: "CrashLoopBackOff".into(),
        message: Some("back-off".into()),
    };
    let backing_off = state(ContainerKnown {
        waiting: Some(waiting),
        ..ended(1)
    });
    assert_eq!(backing_off["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(backing_off["lastState"]["terminated"]["exitCode"], 1);
    for (failure, reason) in [
        (Failure::Lost, "ContainerStatusUnknown"),
        (Failure::Start("x".into()), "StartError"),
        (Failure::OutOfMemory, "OOMKilled"),
    ] {
        let mut known = ended(128);
        if let Some(exit) = known.attempt.as_mut().and_then(|attempt| attempt.exit.as_mut()) {
            exit.failure = Some(failure);
        }
        assert_eq!(state(known)["state"]["terminated"]["reason"], reason);
    }
    assert_eq!(state(ended(0))["state"]["terminated"]["reason"], "Completed");
}
