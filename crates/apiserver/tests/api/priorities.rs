//! Priority classes: what pods are given at the door.

use http::StatusCode;
use serde_json::{Value, json};

use crate::door::{Door, PODS, pod};

const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";

fn class(name: &str, value: i32, is_default: bool) -> Value {
    json!({ "metadata": { "name": name }, "value": value, "globalDefault": is_default, "preemptionPolicy": "Never" })
}

fn pod_with(name: &str, fields: &[(&str, Value)]) -> Value {
    let mut pod = pod(name);
    for (field, value) in fields {
        pod["spec"][*field] = value.clone();
    }
    pod
}

#[tokio::test]
async fn pods_have_the_priority_of_their_class() {
    let door = Door::open().await;
    door.make(CLASSES, &class("high", 1000, false)).await;
    let plain = door.make(PODS, &pod("plain")).await;
    assert_eq!(plain["spec"]["priority"], 0);
    assert_eq!(plain["spec"]["preemptionPolicy"], "PreemptLowerPriority");
    let named = pod_with("named", &[("priorityClassName", json!("high"))]);
    let named = door.make(PODS, &named).await;
    assert_eq!(named["spec"]["priority"], 1000);
    assert_eq!(named["spec"]["preemptionPolicy"], "Never");
    door.make(CLASSES, &class("usual", 7, true)).await;
    let usual = door.make(PODS, &pod("usual")).await;
    assert_eq!(usual["spec"]["priorityClassName"], "usual");
    assert_eq!(usual["spec"]["priority"], 7);
}

#[tokio::test]
async fn what_contradicts_the_class_is_refused() {
    let door = Door::open().await;
    door.make(CLASSES, &class("high", 1000, true)).await;
    let refused = [
        (
            pod_with("p", &[("priorityClassName", json!("none"))]),
            "no PriorityClass with name none was found",
        ),
        (
            pod_with("p", &[("priority", json!(5))]),
            "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name",
        ),
        (
            pod_with("p", &[("preemptionPolicy", json!("PreemptLowerPriority"))]),
            "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name",
        ),
    ];
    for (pod, why) in refused {
        let (status, body) = door.post(PODS, &pod).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(body["message"], format!("pods \"p\" is forbidden: {why}"));
    }
    let (status, body) = door.post(CLASSES, &class("other", 1, true)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(
        body["message"],
        "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass high is already marked as default. Only one default can exist"
    );
}
