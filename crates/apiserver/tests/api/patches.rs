//! Patches of all kinds, through the door.

use http::{Method, StatusCode};
use serde_json::json;

use crate::door::{CONFIG_MAPS, DEPLOYMENTS, Door, PODS, config_map, deployment, pod};

#[tokio::test]
async fn each_kind_of_patch() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let containers = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": "nginx:1.8" }] } } } });
    let (_, web) = door.patch(&path, "strategic-merge", &containers).await;
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["imagePullPolicy"]),
        (&json!("nginx:1.8"), &json!("IfNotPresent"))
    );
    assert_eq!(web["metadata"]["generation"], 2);
    let (_, web) = door
        .patch(&path, "merge", &json!({ "metadata": { "labels": { "a": "b" } } }))
        .await;
    assert_eq!(web["metadata"]["labels"]["a"], "b");
    let operations = json!([
        { "op": "test", "path": "/spec/replicas", "value": 2 },
        { "op": "replace", "path": "/spec/replicas", "value": 3 },
        { "op": "remove", "path": "/metadata/labels/a" },
    ]);
    let (_, web) = door.patch(&path, "json", &operations).await;
    assert_eq!(web["spec"]["replicas"], 3);
    assert!(
        web["metadata"]
            .get("labels")
            .is_none_or(|labels| labels == &json!({}))
    );
}

#[tokio::test]
async fn patches_that_cannot_be_applied() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let (status, body) = door
        .patch(
            &path,
            "json",
            &json!([{ "op": "test", "path": "/spec/replicas", "value": 9 }]),
        )
        .await;
    assert_eq!(
        (status, &body["reason"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("Invalid"))
    );
    assert_eq!(
        body["message"],
        "the server rejected our request due to an error in our request"
    );
    assert_eq!(
        door.patch(&path, "json", &json!([{ "op": "fly" }])).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let map = "Go value of type map[string]interface {}";
    let refused = [
        (
            "merge",
            json!([]),
            format!("error decoding patch: json: cannot unmarshal array into {map}"),
        ),
        (
            "strategic-merge",
            json!("not json"),
            format!("json: cannot unmarshal string into {map}"),
        ),
        (
            "json",
            json!({}),
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch".to_owned(),
        ),
    ];
    for (kind, patch, why) in refused {
        let (status, body) = door.patch(&path, kind, &patch).await;
        assert_eq!((status, &body["message"]), (StatusCode::BAD_REQUEST, &json!(why)));
    }
    let (status, _) = door
        .ask_as(Method::PATCH, &path, "application/some-patch+json", "{}")
        .await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let stale = json!({ "metadata": { "resourceVersion": "1" } });
    assert_eq!(door.patch(&path, "merge", &stale).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn copies_cannot_blow_up() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let copy = json!({ "op": "copy", "from": "/data", "path": "/data/x" });
    let operations = vec![copy; 1000];
    let (status, _) = door
        .patch(&format!("{CONFIG_MAPS}/a"), "json", &json!(operations))
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn conditions_of_a_status_merge_by_type() {
    let door = Door::open().await;
    door.make(PODS, &pod("a")).await;
    let path = format!("{PODS}/a/status");
    let condition = |kind: &str| json!({ "status": { "conditions": [{ "type": kind, "status": "True" }] } });
    let mut first = condition("Ready");
    first["metadata"] = json!({ "annotations": { "coracle.dev/ports": "{}" } });
    first["spec"] = json!({ "nodeName": "elsewhere" });
    door.patch(&path, "strategic-merge", &first).await;
    let (_, pod) = door
        .patch(&path, "strategic-merge", &condition("coracle.dev/InService"))
        .await;
    let types: Vec<&str> = pod["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|condition| condition["type"].as_str())
        .collect();
    assert!(
        types.contains(&"Ready") && types.contains(&"coracle.dev/InService"),
        "{types:?}"
    );
    assert_eq!(pod["metadata"]["annotations"]["coracle.dev/ports"], "{}");
    assert!(pod["spec"].get("nodeName").is_none());
}
