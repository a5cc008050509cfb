//! Server-side apply and managedFields, through the door.

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::door::Door;

const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn web(replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx"}]},
            },
        },
    })
}

async fn apply(door: &Door, path: &str, query: &str, config: &Value) -> (StatusCode, Value) {
    let path = format!("{path}?{query}");
    door.ask_as(
        Method::PATCH,
        &path,
        "application/apply-patch+yaml",
        &config.to_string(),
    )
    .await
}

/// The entries as `manager operation subresource`.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries
        .map(|entry| {
            let words = ["manager", "operation", "subresource"].map(|field| text(entry, field));
            words.join(" ").trim_end().to_owned()
        })
        .collect()
}

fn fields<'a>(object: &'a Value, manager: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .expect("has entries");
    let entry = entries.iter().find(|entry| entry["manager"] == manager);
    &entry.expect("has an entry of this manager")["fieldsV1"]
}

#[tokio::test]
async fn applies_make_objects_and_say_who_owns_them() {
    let door = Door::open().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\n";
    let path = "/api/v1/namespaces/default/configmaps/a?fieldManager=me";
    let (code, made) = door
        .ask_as(Method::PATCH, path, "application/apply-patch+yaml", yaml)
        .await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["data"], json!({"x": "1"}));
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(entry["fieldsV1"], json!({"f:data": {"f:x": {}}}));
    assert_eq!(entry["fieldsType"], "FieldsV1");
    let (code, again) = door
        .ask_as(Method::PATCH, path, "application/apply-patch+yaml", yaml)
        .await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(again, made, "nothing changed, not even the revision");
}

#[tokio::test]
async fn conflicts_are_409_with_causes_and_force_wins() {
    let door = Door::open().await;
    let (code, _) = apply(&door, WEB, "fieldManager=one", &web(1)).await;
    assert_eq!(code, StatusCode::CREATED);
    let (code, refused) = apply(&door, WEB, "fieldManager=two", &web(3)).await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    assert_eq!(
        refused["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".spec.replicas"}])
    );
    assert_eq!(refused["reason"], "Conflict");
    let (code, forced) = apply(&door, WEB, "fieldManager=two&force=true", &web(3)).await;
    assert_eq!((code, &forced["spec"]["replicas"]), (StatusCode::OK, &json!(3)));
    assert_eq!(fields(&forced, "one")["f:spec"].get("f:replicas"), None);
    assert_eq!(forced["metadata"]["generation"], 2);
}

#[tokio::test]
async fn other_writers_are_recorded_by_name_and_path() {
    let door = Door::open().await;
    let path = format!("{DEPLOYMENTS}?fieldManager=kubectl-create");
    let made = door.make(&path, &web(1)).await;
    assert_eq!(managers(&made), ["kubectl-create Update"]);
    let owned = fields(&made, "kubectl-create");
    assert_eq!(
        owned["f:spec"]["f:strategy"],
        json!({"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}})
    );
    assert_eq!(owned.get("f:status"), None);
    assert_eq!(
        owned["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"web\"}"],
        json!({".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
            "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {}})
    );
    let status = json!({"status": {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]}});
    door.patch(&format!("{WEB}/status"), "merge", &status).await;
    let scale = json!({"spec": {"replicas": 2}});
    door.patch(&format!("{WEB}/scale?fieldManager=kubectl"), "merge", &scale)
        .await;
    let object = door.get(WEB).await.1;
    let mut names = managers(&object);
    names.sort();
    assert_eq!(
        names,
        [
            "admin Update status",
            "kubectl Update scale",
            "kubectl-create Update"
        ]
    );
    assert_eq!(fields(&object, "kubectl"), &json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(
        fields(&object, "admin"),
        &json!({"f:status": {
            "f:conditions": {".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:status": {}, "f:type": {}}},
            "f:replicas": {},
        }})
    );
    let (_, refused) = apply(&door, WEB, "fieldManager=me", &web(1)).await;
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
}

#[tokio::test]
async fn the_user_agent_names_a_writer() {
    let door = Door::open().await;
    let request = Request::post("/api/v1/namespaces/default/configmaps")
        .header("user-agent", "my-tool/1.2 (linux)")
        .body(coracle_apiserver::full(
            r#"{"metadata":{"name":"a"},"data":{"x":"1"}}"#,
        ));
    door.send(request.unwrap()).await;
    let object = door.get("/api/v1/namespaces/default/configmaps/a").await.1;
    assert_eq!(managers(&object), ["my-tool Update"]);
    assert_eq!(
        fields(&object, "my-tool"),
        &json!({"f:data": {".": {}, "f:x": {}}})
    );
}

#[tokio::test]
async fn what_is_applied_must_be_of_its_type() {
    let door = Door::open().await;
    let mut config = web(1);
    config["spec"]["foo"] = 1.into();
    let (code, refused) = apply(&door, WEB, "fieldManager=me", &config).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        refused["message"],
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema"
    );
    assert_eq!(refused.get("reason"), None);
    let (code, refused) = apply(&door, WEB, "force=true", &web(1)).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let (code, refused) = door
        .patch(&format!("{WEB}?force=true"), "merge", &json!({"spec": {}}))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    let mut other = web(1);
    other["apiVersion"] = "apps/v1beta1".into();
    let (code, refused) = apply(&door, WEB, "fieldManager=me", &other).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(
        refused["message"],
        "invalid object type: apps/v1beta1, Kind=Deployment"
    );
    let mut listed = web(1);
    listed["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    let (code, refused) = apply(&door, WEB, "fieldManager=me", &listed).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(refused["message"], "metadata.managedFields must be nil");
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let door = Door::open().await;
    let (code, made) = apply(&door, WEB, "fieldManager=me&dryRun=All", &web(1)).await;
    assert_eq!(
        (code, &made["spec"]["replicas"]),
        (StatusCode::CREATED, &json!(1))
    );
    assert_eq!(door.get(WEB).await.0, StatusCode::NOT_FOUND);
    apply(&door, WEB, "fieldManager=me", &web(1)).await;
    let (_, shown) = apply(&door, WEB, "fieldManager=me&dryRun=All", &web(5)).await;
    assert_eq!(shown["spec"]["replicas"], 5);
    assert_eq!(door.get(WEB).await.1["spec"]["replicas"], 1);
}

#[tokio::test]
async fn a_status_and_a_scale_can_be_applied() {
    let door = Door::open().await;
    apply(&door, WEB, "fieldManager=me", &web(1)).await;
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 1}});
    let (code, object) = apply(&door, &format!("{WEB}/status"), "fieldManager=other", &status).await;
    assert_eq!((code, &object["status"]["replicas"]), (StatusCode::OK, &json!(1)));
    let mut names = managers(&object);
    names.sort();
    assert_eq!(names, ["me Apply", "other Apply status"]);
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 4}});
    let path = format!("{WEB}/scale");
    let (code, refused) = apply(&door, &path, "fieldManager=hpa", &scale).await;
    assert_eq!(code, StatusCode::CONFLICT, "{refused}");
    let (code, scaled) = apply(&door, &path, "fieldManager=hpa&force=true", &scale).await;
    assert_eq!(
        (code, &scaled["spec"]["replicas"]),
        (StatusCode::OK, &json!(4)),
        "{scaled}"
    );
    assert_eq!(
        fields(&door.get(WEB).await.1, "hpa"),
        &json!({"f:spec": {"f:replicas": {}}})
    );
}

#[tokio::test]
async fn kubectl_takes_over_from_its_own_client_side_applies() {
    let door = Door::open().await;
    let mut config = web(1);
    config["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
        web(1).to_string().into();
    door.make(
        &format!("{DEPLOYMENTS}?fieldManager=kubectl-client-side-apply"),
        &config,
    )
    .await;
    let (code, refused) = apply(&door, WEB, "fieldManager=flux", &web(2)).await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let (code, object) = apply(&door, WEB, "fieldManager=kubectl", &web(2)).await;
    assert_eq!(code, StatusCode::OK, "{object}");
    assert_eq!(object["spec"]["replicas"], 2);
    let annotation = &object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    let remembered: Value = serde_json::from_str(annotation.as_str().unwrap()).unwrap();
    assert_eq!(remembered["spec"]["replicas"], 2);
}

#[tokio::test]
async fn managed_fields_can_be_emptied() {
    let door = Door::open().await;
    apply(&door, WEB, "fieldManager=me", &web(1)).await;
    let reset = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    let (code, object) = door.patch(WEB, "json", &reset).await;
    assert_eq!(code, StatusCode::OK, "{object}");
    assert_eq!(object["metadata"].get("managedFields"), None);
    let (code, object) = apply(&door, WEB, "fieldManager=other", &web(2)).await;
    assert_eq!(code, StatusCode::OK, "nobody owns it: {object}");
    // A client that does not know of them does not take them away.
    let mut plain = object.clone();
    plain["metadata"].as_object_mut().unwrap().remove("managedFields");
    let (_, put) = door.put(WEB, &plain).await;
    assert_eq!(managers(&put), ["other Apply"]);
}

#[tokio::test]
async fn what_an_applier_leaves_out_goes() {
    let door = Door::open().await;
    let mut two = web(1);
    two["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "side", "image": "busybox"}));
    two["metadata"]["labels"]["tier"] = "front".into();
    apply(&door, WEB, "fieldManager=me", &two).await;
    let (code, object) = apply(&door, WEB, "fieldManager=me", &web(1)).await;
    assert_eq!(code, StatusCode::OK, "{object}");
    assert_eq!(object["metadata"]["labels"], json!({"app": "web"}));
    let containers = object["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!(
        containers[0]["imagePullPolicy"], "Always",
        "what nobody owns stays"
    );
}
