//! Lists: pages, revisions, selectors.

use http::StatusCode;
use serde_json::{Value, json};

use crate::door::{CONFIG_MAPS, Door, config_map};

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn filled() -> Door {
    let door = Door::open().await;
    for name in ["a", "b", "c", "d"] {
        let tier = if name < "c" { "front" } else { "back" };
        door.make(
            CONFIG_MAPS,
            &config_map(name, json!({ "tier": tier, "name": name })),
        )
        .await;
    }
    door
}

#[tokio::test]
async fn pages_show_one_revision() {
    let door = filled().await;
    let (_, first) = door.get(&format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    door.delete(&format!("{CONFIG_MAPS}/c"), &json!({})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = door.get(&format!("{CONFIG_MAPS}?limit=9&continue={token}")).await;
    assert_eq!(names(&second), ["c", "d", "kube-root-ca.crt"]);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    assert!(second["metadata"].get("continue").is_none());
    let (status, refused) = door.get(&format!("{CONFIG_MAPS}?continue=x")).await;
    assert_eq!(
        (status, &refused["reason"]),
        (StatusCode::BAD_REQUEST, &json!("BadRequest"))
    );
}

#[tokio::test]
async fn selectors_and_pages_together() {
    let door = filled().await;
    for (query, expected) in [
        ("labelSelector=tier%3Dfront", vec!["a", "b"]),
        ("labelSelector=tier%20in%20(back),name!=d", vec!["c"]),
        ("fieldSelector=metadata.name%3Dd", vec!["d"]),
        (
            "labelSelector=tier&fieldSelector=metadata.name!=a&limit=2",
            vec!["b", "c"],
        ),
    ] {
        let (_, list) = door.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(names(&list), expected, "{query}");
        assert!(list["metadata"].get("remainingItemCount").is_none());
    }
    let (_, everywhere) = door
        .get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Dkube-public")
        .await;
    assert_eq!(names(&everywhere), ["kube-root-ca.crt"]);
    let (status, refused) = door.get(&format!("{CONFIG_MAPS}?fieldSelector=spec.x%3D1")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        refused["message"],
        "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
}

#[tokio::test]
async fn revisions_of_the_past_and_of_the_future() {
    let door = filled().await;
    let (_, list) = door.get(CONFIG_MAPS).await;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    door.delete(&format!("{CONFIG_MAPS}/a"), &json!({})).await;
    let (_, then) = door
        .get(&format!(
            "{CONFIG_MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact"
        ))
        .await;
    assert_eq!(names(&then).len(), 5);
    let (_, now) = door
        .get(&format!(
            "{CONFIG_MAPS}?resourceVersion={revision}&resourceVersionMatch=NotOlderThan"
        ))
        .await;
    assert_eq!(names(&now).len(), 4);
    let (status, refused) = door.get(&format!("{CONFIG_MAPS}?resourceVersion=100000")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(
        refused["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    assert_eq!(refused["details"]["retryAfterSeconds"], 1);
}

#[tokio::test]
async fn options_that_do_not_go_together() {
    let door = Door::open().await;
    let matching = "resourceVersionMatch: ";
    let initial = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list";
    let refused = [
        (
            "resourceVersionMatch=Exact",
            format!(
                "{matching}Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
            ),
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            format!(
                "{matching}Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""
            ),
        ),
        (
            "resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=x",
            format!("{matching}Forbidden: resourceVersionMatch is forbidden when continue is provided"),
        ),
        ("sendInitialEvents=false", initial.to_owned()),
        (
            "sendInitialEvents=true&resourceVersionMatch=Newest&resourceVersion=1",
            format!(
                "[{matching}Unsupported value: \"Newest\": supported values: \"Exact\", \"NotOlderThan\", \"\", {initial}]"
            ),
        ),
    ];
    for (query, why) in refused {
        let (status, body) = door.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(
            body["message"],
            format!("ListOptions.meta.k8s.io \"\" is invalid: {why}")
        );
    }
    for (number, why) in [
        ("foo", "invalid syntax"),
        ("9223372036854775808", "value out of range"),
    ] {
        let (status, body) = door.get(&format!("{CONFIG_MAPS}?limit={number}")).await;
        assert_eq!(
            (status, &body["message"]),
            (
                StatusCode::BAD_REQUEST,
                &json!(format!("strconv.ParseInt: parsing {number:?}: {why}"))
            )
        );
    }
}

#[tokio::test]
async fn items_leave_kind_and_version_to_the_list() {
    let door = filled().await;
    let (_, list) = door.get(CONFIG_MAPS).await;
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("ConfigMapList"), &json!("v1"))
    );
    let item = &list["items"][0];
    assert!(item.get("kind").is_none() && item.get("apiVersion").is_none());
    assert!(item["metadata"]["resourceVersion"].is_string());
}
