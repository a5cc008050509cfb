//! STATUS, READY and RESTARTS of pods, case by case.

use serde_json::{Value, json};

use super::*;

fn row(spec: Value, status: Value, deleted: bool) -> [String; 3] {
    let mut metadata = json!({"name": "p"});
    if deleted {
        metadata["deletionTimestamp"] = json!("2024-01-01T00:00:00Z");
    }
    let pod: Pod = serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status}))
        .unwrap_or_default();
    // 2024-01-01T00:10:00Z
    let cells = cells(&pod, 1_704_067_800);
    [1, 2, 3].map(|at: usize| cells[at].as_str().unwrap_or_default().to_owned())
}

fn one(state: Value) -> [String; 3] {
    row(
        json!({"containers": [{"name": "a"}]}),
        json!({"phase": "Running", "containerStatuses": [container(state)]}),
        false,
    )
}

fn container(state: Value) -> Value {
    json!({"name": "a", "ready": state.get("running").is_some(), "restartCount": 0, "state": state})
}

fn init(containers: Value, statuses: Value) -> String {
    let spec = json!({"containers": [{"name": "a"}], "initContainers": containers});
    let [_, status, _] = row(
        spec,
        json!({"phase": "Pending", "initContainerStatuses": statuses}),
        false,
    );
    status
}

#[test]
fn one_container() {
    assert_eq!(one(json!({"running": {}})), ["1/1", "Running", "0"]);
    assert_eq!(
        one(json!({"waiting": {"reason": "CrashLoopBackOff"}})),
        ["0/1", "CrashLoopBackOff", "0"]
    );
    assert_eq!(
        one(json!({"terminated": {"exitCode": 0, "reason": "Completed"}})),
        ["0/1", "Completed", "0"]
    );
    assert_eq!(
        one(json!({"terminated": {"exitCode": 137, "signal": 9}})),
        ["0/1", "Signal:9", "0"]
    );
    assert_eq!(
        one(json!({"terminated": {"exitCode": 3}})),
        ["0/1", "ExitCode:3", "0"]
    );
}

#[test]
fn before_and_after_containers_run() {
    let spec = json!({"containers": [{"name": "a"}]});
    assert_eq!(
        row(spec.clone(), json!({"phase": "Pending"}), false),
        ["0/1", "Pending", "0"]
    );
    assert_eq!(
        row(spec.clone(), json!({"phase": "Pending"}), true),
        ["0/1", "Terminating", "0"]
    );
    assert_eq!(
        row(spec.clone(), json!({"phase": "Succeeded"}), true),
        ["0/1", "Succeeded", "0"]
    );
    assert_eq!(
        row(
            spec.clone(),
            json!({"phase": "Running", "reason": "NodeLost"}),
            true
        ),
        ["0/1", "Unknown", "0"]
    );
    assert_eq!(
        row(
            spec.clone(),
            json!({"phase": "Failed", "reason": "Evicted"}),
            false
        ),
        ["0/1", "Evicted", "0"]
    );
    let gated = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
    assert_eq!(
        row(spec, json!({"phase": "Pending", "conditions": gated}), false),
        ["0/1", "SchedulingGated", "0"]
    );
}

#[test]
fn restarts_tell_when() {
    let state = json!({"name": "a", "ready": true, "restartCount": 3, "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2024-01-01T00:05:00Z"}}});
    let status = json!({"phase": "Running", "containerStatuses": [state]});
    assert_eq!(
        row(json!({"containers": [{"name": "a"}]}), status, false),
        ["1/1", "Running", "3 (5m ago)"]
    );
}

#[test]
fn completed_beside_running() {
    let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let done = container(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}));
    let running = container(json!({"running": {}}));
    let ready = |status: &str| json!([{"type": "Ready", "status": status}]);
    let status = |conditions: Value| json!({"phase": "Running", "conditions": conditions, "containerStatuses": [done.clone(), running.clone()]});
    assert_eq!(
        row(spec.clone(), status(ready("True")), false),
        ["1/2", "Running", "0"]
    );
    assert_eq!(
        row(spec.clone(), status(ready("False")), false),
        ["1/2", "NotReady", "0"]
    );
    let failed = container(json!({"terminated": {"exitCode": 1, "reason": "Error"}}));
    let both = json!({"phase": "Failed", "containerStatuses": [done.clone(), failed]});
    assert_eq!(row(spec, both, false), ["0/2", "Error", "0"]);
}

#[test]
fn init_containers() {
    let two = json!([{"name": "i"}, {"name": "j"}]);
    let status = |state: Value| json!([{"name": "i", "ready": false, "restartCount": 0, "state": state}]);
    assert_eq!(init(two.clone(), status(json!({"running": {}}))), "Init:0/2");
    assert_eq!(
        init(
            two.clone(),
            status(json!({"waiting": {"reason": "PodInitializing"}}))
        ),
        "Init:0/2"
    );
    assert_eq!(
        init(
            two.clone(),
            status(json!({"waiting": {"reason": "ErrImagePull"}}))
        ),
        "Init:ErrImagePull"
    );
    assert_eq!(
        init(
            two.clone(),
            status(json!({"terminated": {"exitCode": 1, "reason": "Error"}}))
        ),
        "Init:Error"
    );
    assert_eq!(
        init(two.clone(), status(json!({"terminated": {"exitCode": 2}}))),
        "Init:ExitCode:2"
    );
    assert_eq!(
        init(
            two.clone(),
            status(json!({"terminated": {"exitCode": 137, "signal": 9}}))
        ),
        "Init:Signal:9"
    );
    assert_eq!(
        init(two, status(json!({"terminated": {"exitCode": 0}}))),
        "Pending"
    );
}

#[test]
fn sidecars_count_as_containers() {
    let spec =
        json!({"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
    let sidecar =
        json!({"name": "s", "ready": true, "started": true, "restartCount": 2, "state": {"running": {}}});
    let status = json!({"phase": "Running", "initContainerStatuses": [sidecar],
        "containerStatuses": [container(json!({"running": {}}))]});
    assert_eq!(row(spec, status, false), ["2/2", "Running", "2"]);
}
