//! Tables and lists of metadata.

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::door::{CONFIG_MAPS, DEPLOYMENTS, Door, config_map, deployment};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

async fn get_as(door: &Door, path: &str, accept: &str) -> Value {
    let request = Request::get(path)
        .header("accept", accept)
        .body(coracle_apiserver::full(""))
        .unwrap();
    let bytes = door
        .send(request)
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn answers_in_yaml() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let ask = async |path: &str| {
        let request = || {
            let request = Request::get(path).header("accept", "application/yaml");
            request.body(coracle_apiserver::full("")).unwrap()
        };
        let media = door.send(request()).await.headers()["content-type"].clone();
        let (status, text) = door.answer(request()).await;
        (status, media, text.as_str().unwrap_or_default().to_owned())
    };
    let one = format!("{CONFIG_MAPS}/a");
    let (status, media, text) = ask(&one).await;
    assert_eq!(
        (status, media.as_bytes()),
        (StatusCode::OK, &b"application/yaml"[..])
    );
    assert!(
        text.contains("kind: ConfigMap\n") && text.contains("data:\n  a: '1'\n"),
        "{text}"
    );
    let (_, _, list) = ask(CONFIG_MAPS).await;
    assert!(list.contains("kind: ConfigMapList\n"), "{list}");
    let (status, _, missing) = ask(&format!("{CONFIG_MAPS}/b")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(missing.contains("reason: NotFound\n"), "{missing}");
    let (status, _, _) = ask(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_list_as_a_table() {
    let door = Door::open().await;
    let web = door.make(DEPLOYMENTS, &deployment("web")).await;
    let table = get_as(&door, DEPLOYMENTS, TABLE).await;
    assert_eq!(
        (&table["kind"], &table["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        columns,
        [
            "Name",
            "Ready",
            "Up-to-date",
            "Available",
            "Age",
            "Containers",
            "Images",
            "Selector"
        ]
    );
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["columnDefinitions"][5]["priority"], 1);
    let row = &table["rows"][0];
    assert_eq!(
        row["cells"].as_array().unwrap()[..4],
        [json!("web"), json!("0/2"), json!(0), json!(0)]
    );
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    // A terminal has no use for managedFields, which are the half of an object.
    let mut shown = web["metadata"].clone();
    shown.as_object_mut().unwrap().remove("managedFields");
    assert_eq!(row["object"]["metadata"], shown);
    let one = get_as(&door, &format!("{DEPLOYMENTS}/web?includeObject=Object"), TABLE).await;
    assert_eq!(one["rows"][0]["object"], web);
    let bare = get_as(&door, &format!("{DEPLOYMENTS}?includeObject=None"), TABLE).await;
    assert!(bare["rows"][0].get("object").is_none());
}

#[tokio::test]
async fn a_watch_of_tables_says_its_columns_once() {
    let door = Door::open().await;
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion=1&timeoutSeconds=1&labelSelector=a");
    door.make(CONFIG_MAPS, &config_map("a", json!({ "a": "" }))).await;
    door.make(CONFIG_MAPS, &config_map("b", json!({ "a": "" }))).await;
    let request = Request::get(path)
        .header("accept", TABLE)
        .body(coracle_apiserver::full(""))
        .unwrap();
    let bytes = door
        .send(request)
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let events: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(
        events[0]["object"]["columnDefinitions"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(events[1]["object"]["columnDefinitions"], Value::Null);
    assert_eq!(events[1]["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn only_metadata() {
    let door = Door::open().await;
    let made = door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let one = get_as(&door, &format!("{CONFIG_MAPS}/a"), accept).await;
    assert_eq!(
        (&one["kind"], &one["metadata"]),
        (&json!("PartialObjectMetadata"), &made["metadata"])
    );
    assert!(one.get("data").is_none());
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = get_as(&door, CONFIG_MAPS, accept).await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"], made["metadata"]);
}

#[tokio::test]
async fn a_scale_has_columns_of_its_own() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let table = get_as(&door, &format!("{DEPLOYMENTS}/web/scale"), TABLE).await;
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    let columns: Vec<_> = columns.map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Desired", "Available", "Age"]);
    let row = &table["rows"][0];
    assert_eq!(
        row["cells"].as_array().unwrap()[..3],
        [json!("web"), json!(2), json!(0)]
    );
    assert_eq!(row["object"]["metadata"]["name"], "web");
}
