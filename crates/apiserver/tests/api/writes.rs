//! Creating and updating.

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::door::{CONFIG_MAPS, DEPLOYMENTS, Door, PODS, config_map, deployment, pod};

#[tokio::test]
async fn a_new_object_gets_what_the_server_gives() {
    let door = Door::open().await;
    let made = door.make(DEPLOYMENTS, &deployment("web")).await;
    assert_eq!(made["kind"], "Deployment");
    assert_eq!(made["apiVersion"], "apps/v1");
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(made["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(made["spec"]["strategy"]["type"], "RollingUpdate");
    let (status, read) = door.get(&format!("{DEPLOYMENTS}/web")).await;
    assert_eq!((status, &read), (StatusCode::OK, &made));
}

#[tokio::test]
async fn names_are_generated() {
    let door = Door::open().await;
    let mut pod = pod("");
    pod["metadata"] = json!({ "generateName": "web-" });
    let (a, b) = (door.make(PODS, &pod).await, door.make(PODS, &pod).await);
    let name = a["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    assert_ne!(a["metadata"]["name"], b["metadata"]["name"]);
}

#[tokio::test]
async fn optimistic_concurrency_is_real() {
    let door = Door::open().await;
    let first = door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let mut second = first.clone();
    second["data"]["a"] = "2".into();
    let path = format!("{CONFIG_MAPS}/a");
    let (status, stored) = door.put(&path, &second).await;
    assert_eq!(status, StatusCode::OK);
    assert_ne!(
        stored["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let (status, refused) = door.put(&path, &second).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(
        refused["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    assert_eq!(refused["details"], json!({ "name": "a", "kind": "configmaps" }));
    // Without a version the last writer wins; another object's uid is a conflict all the same.
    second["metadata"] = json!({ "name": "a" });
    assert_eq!(door.put(&path, &second).await.0, StatusCode::OK);
    second["metadata"]["uid"] = "other".into();
    assert_eq!(door.put(&path, &second).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn concurrent_patches_all_count() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let path = format!("{CONFIG_MAPS}/a");
    let patches = (0..20).map(|number| {
        let (door, path) = (&door, &path);
        async move {
            door.patch(path, "merge", &json!({ "data": { format!("k{number}"): "v" } }))
                .await
                .0
        }
    });
    let answers: Vec<StatusCode> = futures::future::join_all(patches).await;
    assert!(
        answers.iter().all(|status| *status == StatusCode::OK),
        "{answers:?}"
    );
    assert_eq!(door.get(&path).await.1["data"].as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn what_changes_nothing_makes_no_revision() {
    let door = Door::open().await;
    let made = door.make(DEPLOYMENTS, &deployment("web")).await;
    let (_, again) = door.put(&format!("{DEPLOYMENTS}/web"), &made).await;
    assert_eq!(again, made);
}

#[tokio::test]
async fn generation_counts_the_spec_and_status_is_apart() {
    let door = Door::open().await;
    let mut web = door.make(DEPLOYMENTS, &deployment("web")).await;
    web["status"] = json!({ "replicas": 7, "observedGeneration": 1 });
    web["spec"]["replicas"] = 5.into();
    let (_, stored) = door.put(&format!("{DEPLOYMENTS}/web/status"), &web).await;
    assert_eq!(
        (&stored["spec"]["replicas"], &stored["status"]["replicas"]),
        (&json!(2), &json!(7))
    );
    assert_eq!(stored["metadata"]["generation"], 1);
    let mut web = stored;
    web["spec"]["replicas"] = 5.into();
    web["status"] = json!({});
    let (_, stored) = door.put(&format!("{DEPLOYMENTS}/web"), &web).await;
    assert_eq!(
        (&stored["spec"]["replicas"], &stored["status"]["replicas"]),
        (&json!(5), &json!(7))
    );
    assert_eq!(stored["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let door = Door::open().await;
    let before = store::Store::revision(&*door.store);
    let (status, shown) = door
        .post(&format!("{DEPLOYMENTS}?dryRun=All"), &deployment("web"))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(shown["metadata"].get("resourceVersion").is_none());
    assert_eq!(
        door.get(&format!("{DEPLOYMENTS}/web")).await.0,
        StatusCode::NOT_FOUND
    );
    let web = door.make(DEPLOYMENTS, &deployment("web")).await;
    let patch = json!({ "spec": { "replicas": 9 } });
    let (_, shown) = door
        .patch(&format!("{DEPLOYMENTS}/web?dryRun=All"), "merge", &patch)
        .await;
    assert_eq!(shown["spec"]["replicas"], 9);
    door.ask(
        Method::DELETE,
        &format!("{DEPLOYMENTS}/web?dryRun=All"),
        &json!({}),
    )
    .await;
    assert_eq!(door.get(&format!("{DEPLOYMENTS}/web")).await.1, web);
    assert_eq!(store::Store::revision(&*door.store), before + 1);
}

#[tokio::test]
async fn yaml_and_bodies_without_a_type_are_read() {
    let door = Door::open().await;
    let yaml = "metadata:\n  name: a\ndata:\n  key: value\n";
    let (status, made) = door
        .ask_as(Method::POST, CONFIG_MAPS, "application/yaml", yaml)
        .await;
    assert_eq!(
        (status, &made["data"]["key"]),
        (StatusCode::CREATED, &json!("value"))
    );
    let body = config_map("b", json!({})).to_string();
    let request = Request::post(CONFIG_MAPS)
        .body(coracle_apiserver::full(body))
        .unwrap();
    assert_eq!(door.send(request).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn unknown_and_duplicate_fields() {
    let door = Door::open().await;
    let body = r#"{"metadata":{"name":"a"},"data":{"a":"1","a":"2"},"foo":1}"#;
    let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let (status, refused) = door.ask_as(Method::POST, &strict, "application/json", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        refused["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\", duplicate field \"data.a\""
    );
    let request = Request::post(CONFIG_MAPS)
        .body(coracle_apiserver::full(body))
        .unwrap();
    let response = door.send(request).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let warnings: Vec<&str> = response
        .headers()
        .get_all("warning")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(
        warnings,
        [
            r#"299 - "unknown field \"foo\"""#,
            r#"299 - "duplicate field \"data.a\"""#
        ]
    );
    let ignored = Request::put(format!("{CONFIG_MAPS}/a?fieldValidation=Ignore"));
    let response = door
        .send(ignored.body(coracle_apiserver::full(body)).unwrap())
        .await;
    assert!(response.headers().get("warning").is_none());
}

#[tokio::test]
async fn keys_given_twice_in_yaml() {
    let door = Door::open().await;
    let yaml = "metadata:\n  name: a\nfoo: 1\ndata:\n  a: x\n  b: y\n  a: z\n";
    let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let (status, refused) = door.ask_as(Method::POST, &strict, "application/yaml", yaml).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        refused["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  line 7: key \"a\" already set in map, unknown field \"foo\""
    );
    let ask = async |method: Method, path: &str, media: &str, body: String| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", media);
        let response = door
            .send(request.body(coracle_apiserver::full(body)).unwrap())
            .await;
        let warnings = response.headers().get_all("warning").iter();
        let warnings: Vec<String> = warnings.map(|value| value.to_str().unwrap().to_owned()).collect();
        (response.status(), warnings)
    };
    let again = r#"299 - "line 7: key \"a\" already set in map""#.to_owned();
    let unknown = r#"299 - "unknown field \"foo\"""#.to_owned();
    assert_eq!(
        ask(Method::POST, CONFIG_MAPS, "application/yaml", yaml.to_owned()).await,
        (StatusCode::CREATED, vec![again, unknown])
    );
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(door.get(&path).await.1["data"], json!({ "a": "z", "b": "y" }));
    assert_eq!(
        ask(
            Method::PUT,
            &format!("{path}?fieldValidation=Ignore"),
            "application/yaml",
            yaml.to_owned()
        )
        .await,
        (StatusCode::OK, vec![])
    );
    let applied = "apiVersion: v1\nkind: ConfigMap\ndata:\n  c: x\n  c: z\n".to_owned();
    let (status, refused) = door
        .ask_as(
            Method::PATCH,
            &format!("{path}?fieldManager=me&fieldValidation=Strict"),
            "application/apply-patch+yaml",
            &applied,
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        refused["message"],
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key \"c\" already set in map"
    );
    assert_eq!(
        ask(
            Method::PATCH,
            &format!("{path}?fieldManager=me"),
            "application/apply-patch+yaml",
            applied
        )
        .await,
        (
            StatusCode::OK,
            vec![r#"299 - "line 5: key \"c\" already set in map""#.to_owned()]
        )
    );
}

/// Sends a request with a JSON body, and returns its warnings.
async fn warnings(door: &Door, method: Method, path: &str, body: &Value) -> Vec<String> {
    let request = Request::builder().method(method).uri(path);
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let response = door
        .send(request.body(coracle_apiserver::full(body)).unwrap())
        .await;
    let warnings = response.headers().get_all("warning").iter();
    warnings.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_hardly_meant_is_told_once() {
    let door = Door::open().await;
    let env = json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }]);
    let mut twice = pod("p");
    twice["spec"]["containers"][0]["env"] = env.clone();
    let hidden = |path: &str| {
        format!(
            r#"299 - "{path}: hides previous definition of \"A\", which may be dropped when using apply""#
        )
    };
    assert_eq!(
        warnings(&door, Method::POST, PODS, &twice).await,
        [hidden("spec.containers[0].env[1]")]
    );
    let mut web = deployment("web");
    web["spec"]["template"]["spec"]["containers"][0]["env"] = env;
    let in_template = hidden("spec.template.spec.containers[0].env[1]");
    assert_eq!(
        warnings(&door, Method::POST, DEPLOYMENTS, &web).await,
        [in_template.as_str()]
    );
    let path = format!("{DEPLOYMENTS}/web");
    web["metadata"]["labels"] = json!({ "a": "b" });
    assert_eq!(
        warnings(&door, Method::PUT, &path, &web).await,
        Vec::<String>::new()
    );
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:1.8".into();
    assert_eq!(warnings(&door, Method::PUT, &path, &web).await, [in_template]);
}

#[tokio::test]
async fn who_uses_what_is_deprecated_is_told() {
    let door = Door::open().await;
    let all = "/api/v1/namespaces/default/endpoints";
    let deprecated = r#"299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice""#;
    let one = json!({ "metadata": { "name": "e" } });
    for (method, path, body) in [
        (Method::GET, all, &Value::Null),
        (Method::GET, &format!("{all}/kubernetes"), &Value::Null),
        (Method::GET, &format!("{all}/none"), &Value::Null),
        (Method::GET, &format!("{all}?watch=true"), &Value::Null),
        (Method::POST, all, &one),
    ] {
        assert_eq!(warnings(&door, method, path, body).await, [deprecated]);
    }
    let services = "/api/v1/namespaces/default/services";
    assert_eq!(
        warnings(&door, Method::GET, services, &Value::Null).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn both_kinds_of_events_are_views_of_one_object() {
    let door = Door::open().await;
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({
        "metadata": { "name": "e" }, "regarding": { "kind": "Pod", "name": "p", "namespace": "default" },
        "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "R", "action": "A", "note": "text", "type": "Normal",
        "reportingController": "c", "reportingInstance": "i",
    });
    let made = door.make(new, &event).await;
    assert_eq!(
        (&made["apiVersion"], &made["note"]),
        (&json!("events.k8s.io/v1"), &json!("text"))
    );
    let (_, old) = door.get("/api/v1/namespaces/default/events/e").await;
    assert_eq!(
        (&old["apiVersion"], &old["message"]),
        (&json!("v1"), &json!("text"))
    );
    for path in [
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=p",
        "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name=p",
    ] {
        let (_, list) = door.get(path).await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{path}");
    }
}

#[tokio::test]
async fn a_cluster_begins_with_its_first_objects() {
    let door = Door::open().await;
    let (_, namespaces) = door.get("/api/v1/namespaces").await;
    let names: Vec<&Value> = namespaces["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"]["name"])
        .collect();
    assert_eq!(
        names,
        ["default", "kube-node-lease", "kube-public", "kube-system"]
    );
    let (_, service) = door.get("/api/v1/namespaces/default/services/kubernetes").await;
    assert_eq!(service["spec"]["clusterIP"], "127.96.0.1");
    door.make("/api/v1/namespaces", &json!({ "metadata": { "name": "mine" } }))
        .await;
    let (_, authority) = door
        .get("/api/v1/namespaces/mine/configmaps/kube-root-ca.crt")
        .await;
    assert_eq!(authority["data"]["ca.crt"], "the authority");
    assert_eq!(
        door.get("/api/v1/namespaces/mine/serviceaccounts/default")
            .await
            .0,
        StatusCode::OK
    );
}
