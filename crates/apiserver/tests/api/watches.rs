//! Watches: from a revision, through selectors, with bookmarks, to their end.

use http::StatusCode;
use serde_json::{Value, json};

use crate::door::{CONFIG_MAPS, Door, PODS, bind, config_map, pod};

fn event(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn from_a_revision_nothing_is_missing() {
    let door = Door::open().await;
    let a = door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let from = a["metadata"]["resourceVersion"].as_str().unwrap();
    door.patch(
        &format!("{CONFIG_MAPS}/a"),
        "merge",
        &json!({ "data": { "a": "2" } }),
    )
    .await;
    let mut lines = door
        .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}"))
        .await;
    assert_eq!(lines.next_name().await, event("MODIFIED", "a"));
    door.make(CONFIG_MAPS, &config_map("b", json!({}))).await;
    assert_eq!(lines.next_name().await, event("ADDED", "b"));
    door.delete(&format!("{CONFIG_MAPS}/a"), &json!({})).await;
    let deleted = lines.next().await.unwrap();
    assert_eq!(
        (&deleted["type"], &deleted["object"]["data"]["a"]),
        (&json!("DELETED"), &json!("2"))
    );
    // The deletion's own revision, so that a watch can go on from it.
    let revision: u64 = deleted["object"]["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(revision, store::Store::revision(&*door.store));
}

#[tokio::test]
async fn without_a_revision_it_begins_with_what_is_there() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({ "x": "y" })))
        .await;
    let mut lines = door
        .watch(&format!("{CONFIG_MAPS}?watch=true&labelSelector=x%3Dy"))
        .await;
    assert_eq!(lines.next_name().await, event("ADDED", "a"));
    door.make(CONFIG_MAPS, &config_map("b", json!({ "x": "y" })))
        .await;
    assert_eq!(lines.next_name().await, event("ADDED", "b"));
}

#[tokio::test]
async fn entering_and_leaving_a_selection() {
    let door = Door::open().await;
    let mut lines = door
        .watch(&format!(
            "{CONFIG_MAPS}?watch=1&resourceVersion=1&labelSelector=on%3Dyes"
        ))
        .await;
    door.make(CONFIG_MAPS, &config_map("a", json!({ "on": "no" })))
        .await;
    let label = |value: &str| json!({ "metadata": { "labels": { "on": value } } });
    let path = format!("{CONFIG_MAPS}/a");
    let (_, shown) = door.patch(&path, "merge", &label("yes")).await;
    assert_eq!(
        lines.next().await.unwrap(),
        json!({ "type": "ADDED", "object": shown })
    );
    let (_, hidden) = door.patch(&path, "merge", &label("no")).await;
    let left = lines.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["metadata"]["labels"]["on"], "yes");
    assert_eq!(
        left["object"]["metadata"]["resourceVersion"],
        hidden["metadata"]["resourceVersion"]
    );
    door.delete(&path, &json!({})).await;
    door.make(CONFIG_MAPS, &config_map("b", json!({ "on": "yes" })))
        .await;
    assert_eq!(lines.next_name().await, event("ADDED", "b"));
}

#[tokio::test]
async fn field_selectors_follow_the_object() {
    let door = Door::open().await;
    let mut lines = door
        .watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dnode-1")
        .await;
    door.make(PODS, &pod("a")).await;
    assert_eq!(bind(&door, "a").await.0, StatusCode::CREATED);
    assert_eq!(lines.next_name().await, event("ADDED", "a"));
}

#[tokio::test]
async fn one_object_by_name() {
    let door = Door::open().await;
    let mut lines = door
        .watch(&format!("{CONFIG_MAPS}/web?watch=1&resourceVersion=1"))
        .await;
    door.make(CONFIG_MAPS, &config_map("web2", json!({}))).await;
    door.make(CONFIG_MAPS, &config_map("web", json!({}))).await;
    assert_eq!(lines.next_name().await, event("ADDED", "web"));
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let door = Door::open().await;
    let path = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut lines = door.watch(&path).await;
    assert_eq!(lines.next_name().await, event("ADDED", "kube-root-ca.crt"));
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    assert_eq!(lines.next_name().await, event("ADDED", "a"));
    let (status, _) = door
        .get(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true"))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_every_minute_and_at_the_end() {
    let door = Door::open().await;
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion=1&allowWatchBookmarks=true&timeoutSeconds=90");
    let mut lines = door.watch(&path).await;
    let mut bookmarks = Vec::new();
    while let Some(event) = lines.next().await {
        if event["type"] == "BOOKMARK" {
            bookmarks.push(event["object"]["metadata"]["resourceVersion"].clone());
        }
    }
    assert_eq!(bookmarks.len(), 2);
    let current = store::Store::revision(&*door.store).to_string();
    assert_eq!(bookmarks.last(), Some(&Value::from(current)));
}

#[tokio::test]
async fn watches_end_with_the_server() {
    let door = Door::open().await;
    let now = store::Store::revision(&*door.store);
    let mut lines = door
        .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={now}"))
        .await;
    door.api.shutdown();
    assert_eq!(lines.next().await, None);
    let (status, _) = door.get(&format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
