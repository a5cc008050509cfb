//! Deletion: grace, finalizers, propagation, namespaces.

use http::StatusCode;
use serde_json::{Value, json};

use crate::door::{CONFIG_MAPS, DEPLOYMENTS, Door, PODS, bind, config_map, deployment, pod};

#[tokio::test]
async fn what_is_gone_is_told_by_a_status() {
    let door = Door::open().await;
    let made = door.make(DEPLOYMENTS, &deployment("web")).await;
    let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background" });
    let (status, answer) = door.delete(&format!("{DEPLOYMENTS}/web"), &options).await;
    assert_eq!(status, StatusCode::OK);
    let details =
        json!({ "name": "web", "group": "apps", "kind": "deployments", "uid": made["metadata"]["uid"] });
    let expected = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
    assert_eq!(answer, expected);
    assert_eq!(
        door.get(&format!("{DEPLOYMENTS}/web")).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn pods_stop_gracefully() {
    let door = Door::open().await;
    door.make(PODS, &pod("a")).await;
    assert_eq!(bind(&door, "a").await.0, StatusCode::CREATED);
    let path = format!("{PODS}/a");
    let (_, held) = door.delete(&path, &Value::Null).await;
    assert_eq!(held["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(held["metadata"]["generation"], 2);
    let (_, same) = door.delete(&path, &json!({ "gracePeriodSeconds": 60 })).await;
    assert_eq!(same, held);
    let (_, sooner) = door.delete(&path, &json!({ "gracePeriodSeconds": 5 })).await;
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    let other = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": "other" } });
    assert_eq!(door.delete(&path, &other).await.0, StatusCode::CONFLICT);
    let now = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": held["metadata"]["uid"] } });
    assert_eq!(door.delete(&path, &now).await.0, StatusCode::OK);
    assert_eq!(door.get(&path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_the_object_that_is_meant_goes() {
    let door = Door::open().await;
    let made = door.make(DEPLOYMENTS, &deployment("web")).await;
    let text = |field: &str| made["metadata"][field].as_str().unwrap().to_owned();
    let (uid, version) = (text("uid"), text("resourceVersion"));
    let path = format!("{DEPLOYMENTS}/web");
    let other = |field: &str| json!({ "preconditions": { field: "1" } });
    for (field, why) in [
        (
            "uid",
            format!(
                "the UID in the precondition (1) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            ),
        ),
        (
            "resourceVersion",
            format!(
                "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({version}). The object might have been modified"
            ),
        ),
    ] {
        let (status, refused) = door.delete(&path, &other(field)).await;
        assert_eq!(
            (status, &refused["message"]),
            (
                StatusCode::CONFLICT,
                &json!(format!(
                    "Operation cannot be fulfilled on Deployment.apps \"web\": {why}"
                ))
            )
        );
    }
    let this = json!({ "preconditions": { "uid": uid, "resourceVersion": version } });
    assert_eq!(door.delete(&path, &this).await.0, StatusCode::OK);
}

#[tokio::test]
async fn contradictory_options_are_refused() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let path = format!("{CONFIG_MAPS}/a");
    let both = json!({ "propagationPolicy": "Orphan", "orphanDependents": true });
    let (status, refused) = door.delete(&path, &both).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused["message"],
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set"
    );
    assert_eq!(door.get(&path).await.0, StatusCode::OK);
}

#[tokio::test]
async fn pods_without_a_node_go_at_once() {
    let door = Door::open().await;
    door.make(PODS, &pod("a")).await;
    let (status, gone) = door.delete(&format!("{PODS}/a"), &Value::Null).await;
    assert_eq!((status, &gone["kind"]), (StatusCode::OK, &json!("Pod")));
    assert_eq!(door.get(&format!("{PODS}/a")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn finalizers_hold() {
    let door = Door::open().await;
    let mut map = config_map("a", json!({}));
    map["metadata"]["finalizers"] = json!(["example.com/hold"]);
    door.make(CONFIG_MAPS, &map).await;
    let path = format!("{CONFIG_MAPS}/a");
    let (status, held) = door.delete(&path, &Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    let (_, gone) = door
        .patch(&path, "merge", &json!({ "metadata": { "finalizers": null } }))
        .await;
    assert_eq!(gone["metadata"]["name"], "a");
    assert_eq!(door.get(&path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn foreground_waits_for_the_collector() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web?propagationPolicy=Foreground");
    let (status, held) = door.delete(&path, &Value::Null).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{held}");
    let (status, held) = door
        .delete(
            &format!("{DEPLOYMENTS}/web"),
            &json!({ "propagationPolicy": "Foreground" }),
        )
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(held["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let door = Door::open().await;
    door.make("/api/v1/namespaces", &json!({ "metadata": { "name": "mine" } }))
        .await;
    let path = "/api/v1/namespaces/mine";
    let (_, held) = door.delete(path, &Value::Null).await;
    assert_eq!(held["status"]["phase"], "Terminating");
    assert_eq!(held["spec"]["finalizers"], json!(["kubernetes"]));
    let (status, refused) = door
        .post("/api/v1/namespaces/mine/configmaps", &config_map("a", json!({})))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(
        refused["message"],
        "configmaps \"a\" is forbidden: unable to create new content in namespace mine because it is being terminated"
    );
    assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut empty = held;
    empty["spec"] = json!({});
    assert_eq!(
        door.put(&format!("{path}/finalize"), &empty).await.0,
        StatusCode::OK
    );
    assert_eq!(door.get(path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        door.delete("/api/v1/namespaces/default", &Value::Null).await.0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn namespaces_go_one_by_one() {
    let door = Door::open().await;
    let (status, refused) = door.delete("/api/v1/namespaces", &Value::Null).await;
    assert_eq!(
        (status, &refused["reason"]),
        (StatusCode::METHOD_NOT_ALLOWED, &json!("MethodNotAllowed"))
    );
    let (_, discovered) = door.get("/api/v1").await;
    let resources = discovered["resources"].as_array().unwrap();
    let verbs = |name: &str| {
        let resource = resources.iter().find(|resource| resource["name"] == name);
        resource.unwrap()["verbs"].clone()
    };
    let without = json!(["create", "delete", "get", "list", "patch", "update", "watch"]);
    assert_eq!(verbs("namespaces"), without);
    assert!(
        verbs("nodes")
            .as_array()
            .unwrap()
            .contains(&json!("deletecollection"))
    );
    let (_, document) = door.get("/openapi/v3/api/v1").await;
    assert_eq!(document["paths"]["/api/v1/namespaces"]["delete"], Value::Null);
    assert!(document["paths"]["/api/v1/nodes"]["delete"].is_object());
}

#[tokio::test]
async fn a_collection_goes_by_its_selector() {
    let door = Door::open().await;
    for name in ["a", "b"] {
        door.make(CONFIG_MAPS, &config_map(name, json!({ "name": name })))
            .await;
    }
    let (status, gone) = door
        .delete(&format!("{CONFIG_MAPS}?labelSelector=name%3Da"), &Value::Null)
        .await;
    assert_eq!(
        (status, gone["items"].as_array().map(Vec::len)),
        (StatusCode::OK, Some(1))
    );
    assert_eq!(
        door.get(&format!("{CONFIG_MAPS}/a")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(door.get(&format!("{CONFIG_MAPS}/b")).await.0, StatusCode::OK);
}
