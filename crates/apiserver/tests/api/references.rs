//! What new objects refer to, by name or by default.

use http::StatusCode;
use serde_json::{Value, json};

use crate::door::{Door, PODS, pod};

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

async fn refusal(door: &Door, pod: &Value) -> String {
    let (status, refused) = door.post(PODS, pod).await;
    assert_eq!(
        (status, &refused["reason"]),
        (StatusCode::FORBIDDEN, &json!("Forbidden"))
    );
    refused["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn pods_need_the_account_and_the_runtime_that_they_name() {
    let door = Door::open().await;
    let mut with_account = pod("p");
    with_account["spec"]["serviceAccountName"] = "robot".into();
    assert_eq!(
        refusal(&door, &with_account).await,
        "pods \"p\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not found"
    );
    let robot = json!({ "metadata": { "name": "robot" } });
    door.make("/api/v1/namespaces/default/serviceaccounts", &robot)
        .await;
    door.make(PODS, &with_account).await;
    let mut with_class = pod("q");
    with_class["spec"]["runtimeClassName"] = "fast".into();
    assert_eq!(
        refusal(&door, &with_class).await,
        "pods \"q\" is forbidden: pod rejected: RuntimeClass \"fast\" not found"
    );
    let fast = json!({ "metadata": { "name": "fast" }, "handler": "fast" });
    door.make("/apis/node.k8s.io/v1/runtimeclasses", &fast).await;
    door.make(PODS, &with_class).await;
}

#[tokio::test]
async fn the_default_account_is_always_there() {
    let door = Door::open().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default";
    assert_eq!(door.delete(path, &Value::Null).await.0, StatusCode::OK);
    door.make(PODS, &pod("p")).await;
    assert_eq!(door.get(path).await.0, StatusCode::OK);
}

#[tokio::test]
async fn claims_get_the_default_class() {
    let door = Door::open().await;
    let claim = |name: &str| {
        json!({ "metadata": { "name": name }, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } })
    };
    let without = door.make(CLAIMS, &claim("a")).await;
    assert_eq!(without["spec"]["storageClassName"], Value::Null);
    for (name, is_default) in [("slow", "false"), ("usual", "true")] {
        let annotations = json!({ "storageclass.kubernetes.io/is-default-class": is_default });
        let class = json!({ "metadata": { "name": name, "annotations": annotations }, "provisioner": "example.com/p" });
        door.make(CLASSES, &class).await;
    }
    let given = door.make(CLAIMS, &claim("b")).await;
    assert_eq!(given["spec"]["storageClassName"], "usual");
    let mut none = claim("c");
    none["spec"]["storageClassName"] = "".into();
    assert_eq!(door.make(CLAIMS, &none).await["spec"]["storageClassName"], "");
    let kept = door.get(&format!("{CLAIMS}/a")).await.1;
    assert_eq!(kept["spec"]["storageClassName"], Value::Null);
}
