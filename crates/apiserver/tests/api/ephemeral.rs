//! `pods/NAME/ephemeralcontainers`: the list of ephemeral containers, which only grows.

use http::StatusCode;
use serde_json::{Value, json};

use crate::door::{Door, PODS, pod};

const PATH: &str = "/api/v1/namespaces/default/pods/a/ephemeralcontainers";

async fn door() -> Door {
    let door = Door::open().await;
    door.make(PODS, &pod("a")).await;
    door
}

fn added(container: Value) -> Value {
    json!({ "spec": { "ephemeralContainers": [container] } })
}

fn look() -> Value {
    added(json!({ "name": "look", "image": "host", "command": ["sh"], "targetContainerName": "main" }))
}

fn names(pod: &Value) -> Vec<&str> {
    let list = pod["spec"]["ephemeralContainers"].as_array().unwrap();
    list.iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn ephemeral_containers_are_added_by_every_kind_of_write() {
    let door = door().await;
    let (status, first) = door.patch(PATH, "strategic-merge", &look()).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    assert_eq!((&first["kind"], names(&first)), (&json!("Pod"), vec!["look"]));
    let container = &first["spec"]["ephemeralContainers"][0];
    assert_eq!(
        (
            &container["imagePullPolicy"],
            &container["terminationMessagePolicy"]
        ),
        (&json!("Always"), &json!("File"))
    );
    assert_eq!(first["metadata"]["generation"], 2);
    let entries = first["metadata"]["managedFields"].as_array().unwrap();
    let own = entries
        .iter()
        .find(|entry| entry["subresource"] == "ephemeralcontainers");
    assert!(own.unwrap()["fieldsV1"]["f:spec"]["f:ephemeralContainers"].is_object());

    // By name: the first one stays.
    let second = added(json!({ "name": "more", "image": "host" }));
    let (_, both) = door.patch(PATH, "strategic-merge", &second).await;
    let mut both = names(&both);
    both.sort_unstable();
    assert_eq!(both, ["look", "more"]);
    let third = json!({ "name": "third", "image": "host" });
    let operation = json!([{ "op": "add", "path": "/spec/ephemeralContainers/-", "value": third }]);
    let (status, three) = door.patch(PATH, "json", &operation).await;
    assert_eq!((status, names(&three).len()), (StatusCode::OK, 3), "{three}");
    let mut whole = door.get(PATH).await.1;
    let mut fourth = third;
    fourth["name"] = "fourth".into();
    whole["spec"]["ephemeralContainers"]
        .as_array_mut()
        .unwrap()
        .push(fourth);
    let (status, four) = door.put(PATH, &whole).await;
    assert_eq!((status, names(&four).len()), (StatusCode::OK, 4), "{four}");
    assert_eq!(four["metadata"]["generation"], 5);
    // That was a version ago.
    assert_eq!(door.put(PATH, &whole).await.0, StatusCode::CONFLICT);
    assert_eq!(door.get(PATH).await.1, door.get(&format!("{PODS}/a")).await.1);
}

#[tokio::test]
async fn nothing_else_can_be_written_there() {
    let door = door().await;
    let before = door.get(PATH).await.1;
    let mut patch = look();
    patch["metadata"] = json!({ "labels": { "new": "label" } });
    patch["spec"]["activeDeadlineSeconds"] = 5.into();
    patch["spec"]["containers"] = json!([{ "name": "main", "image": "another" }]);
    patch["status"] = json!({ "phase": "Failed" });
    let (status, after) = door.patch(PATH, "strategic-merge", &patch).await;
    assert_eq!((status, names(&after)), (StatusCode::OK, vec!["look"]), "{after}");
    assert_eq!(after["metadata"]["labels"], before["metadata"]["labels"]);
    assert_eq!(after["spec"]["containers"], before["spec"]["containers"]);
    assert_eq!(after["spec"]["activeDeadlineSeconds"], Value::Null);
    assert_eq!(after["status"]["phase"], "Pending");

    let (status, _) = door
        .patch(&PATH.replace("/a/", "/b/"), "strategic-merge", &look())
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = door.post(PATH, &look()).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, _) = door.get("/api/v1/nodes/node-1/ephemeralcontainers").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn ephemeral_containers_neither_go_nor_change() {
    let door = door().await;
    let (_, made) = door.patch(PATH, "strategic-merge", &look()).await;
    let refused = |detail: &str| {
        format!(
            "Pod \"a\" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers \"look\" may not be {detail}\n"
        )
    };
    let without = json!([{ "op": "remove", "path": "/spec/ephemeralContainers" }]);
    let (status, answer) = door.patch(PATH, "json", &without).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer["message"], refused("removed"));
    let other = added(json!({ "name": "look", "image": "another" }));
    let (_, answer) = door.patch(PATH, "strategic-merge", &other).await;
    assert_eq!(answer["message"], refused("changed"));
    assert_eq!(answer["details"]["causes"][0]["reason"], "FieldValueForbidden");
    // The object's own path is not the place.
    let main = format!("{PODS}/a");
    for change in [
        json!([{ "op": "remove", "path": "/spec/ephemeralContainers" }]),
        json!([{ "op": "add", "path": "/spec/ephemeralContainers/-", "value": { "name": "x", "image": "host" } }]),
    ] {
        let (status, answer) = door.patch(&main, "json", &change).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        let text = answer["message"].as_str().unwrap();
        assert!(
            text.starts_with(
                "Pod \"a\" is invalid: spec: Forbidden: pod updates may not change fields other"
            ),
            "{text}"
        );
    }
    assert_eq!(door.get(&main).await.1, made);
    let mut new = pod("b");
    new["spec"]["ephemeralContainers"] = look()["spec"]["ephemeralContainers"].clone();
    let (_, answer) = door.post(PODS, &new).await;
    assert_eq!(
        answer["message"],
        "Pod \"b\" is invalid: spec.ephemeralContainers: Forbidden: cannot be set on create"
    );
}

#[tokio::test]
async fn bad_ephemeral_containers_are_refused_in_upstreams_words() {
    let door = door().await;
    let forbidden = |field: &str| {
        format!("spec.ephemeralContainers[0].{field}: Forbidden: cannot be set for an Ephemeral Container")
    };
    let with = |field: &str, value: Value| {
        let mut container = json!({ "name": "look", "image": "host" });
        container[field] = value;
        container
    };
    let probe = json!({ "exec": { "command": ["true"] } });
    let mount = json!([{ "name": "v", "mountPath": "/v", "subPath": "s" }]);
    for (container, expected) in [
        (
            json!({ "image": "host" }),
            "spec.ephemeralContainers[0].name: Required value".to_owned(),
        ),
        (
            json!({ "name": "look" }),
            "spec.ephemeralContainers[0].image: Required value".to_owned(),
        ),
        (
            with("name", json!("main")),
            "spec.ephemeralContainers[0].name: Duplicate value: \"main\"".to_owned(),
        ),
        (
            with("targetContainerName", json!("nobody")),
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"nobody\"".to_owned(),
        ),
        (
            with("ports", json!([{ "containerPort": 80 }])),
            forbidden("ports"),
        ),
        (
            with("resources", json!({ "limits": { "cpu": "1" } })),
            forbidden("resources"),
        ),
        (with("livenessProbe", probe.clone()), forbidden("livenessProbe")),
        (with("readinessProbe", probe.clone()), forbidden("readinessProbe")),
        (with("startupProbe", probe.clone()), forbidden("startupProbe")),
        (
            with("lifecycle", json!({ "preStop": probe })),
            forbidden("lifecycle"),
        ),
        (with("restartPolicy", json!("Always")), forbidden("restartPolicy")),
        (with("volumeMounts", mount), forbidden("volumeMounts[0].subPath")),
    ] {
        let all = json!([{ "op": "add", "path": "/spec/ephemeralContainers", "value": [container] }]);
        let (status, answer) = door.patch(PATH, "json", &all).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{container}");
        let text = answer["message"].as_str().unwrap();
        assert!(text.contains(&expected), "{container}: {text}");
    }
    let twice = json!({ "name": "look", "image": "host" });
    let both = json!([{ "op": "add", "path": "/spec/ephemeralContainers", "value": [twice, twice] }]);
    let (_, answer) = door.patch(PATH, "json", &both).await;
    assert_eq!(
        answer["message"],
        "Pod \"a\" is invalid: spec.ephemeralContainers[1].name: Duplicate value: \"look\""
    );
}

#[tokio::test]
async fn clients_find_the_subresource() {
    let door = door().await;
    let (_, core) = door.get("/api/v1").await;
    let all = core["resources"].as_array().unwrap();
    let found = all
        .iter()
        .find(|entry| entry["name"] == "pods/ephemeralcontainers");
    assert_eq!(
        found.unwrap(),
        &json!({ "name": "pods/ephemeralcontainers", "singularName": "", "namespaced": true, "kind": "Pod",
            "verbs": ["get", "patch", "update"] })
    );
    let (_, document) = door.get("/openapi/v3/api/v1").await;
    let path = "/api/v1/namespaces/{namespace}/pods/{name}/ephemeralcontainers";
    for action in ["get", "put", "patch"] {
        assert_eq!(document["paths"][path][action]["x-kubernetes-action"], action);
    }
}
