//! Scale, binding, logs, discovery, reviews: what is not simply an object.

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::door::{DEPLOYMENTS, Door, PODS, bind, deployment, pod};

#[tokio::test]
async fn options_of_logs_are_checked() {
    let door = Door::open().await;
    door.make(PODS, &pod("a")).await;
    bind(&door, "a").await;
    let log = |query: &str| format!("{PODS}/a/log?{query}");
    for (query, why) in [
        (
            "sinceSeconds=0",
            "sinceSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "limitBytes=0",
            "limitBytes: Invalid value: 0: must be greater than 0",
        ),
        (
            "sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z",
            "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        (
            "tailLines=-1",
            "tailLines: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "stream=stdout",
            "stream: Unsupported value: \"stdout\": supported values: \"All\", \"Stderr\", \"Stdout\"",
        ),
        (
            "stream=Stdout&tailLines=1",
            "[]: Forbidden: `tailLines` and specific `stream` are mutually exclusive for now",
        ),
    ] {
        let (status, refused) = door.get(&log(query)).await;
        assert_eq!(
            (status, &refused["message"]),
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!(format!("PodLogOptions \"a\" is invalid: {why}"))
            )
        );
    }
    for (query, why) in [
        ("tailLines=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        (
            "sinceTime=x",
            "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"",
        ),
    ] {
        let (status, refused) = door.get(&log(query)).await;
        assert_eq!(
            (status, &refused["message"]),
            (StatusCode::BAD_REQUEST, &json!(why))
        );
    }
    assert_eq!(door.get(&log("sinceSeconds=1")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn scale_is_an_object_of_its_own() {
    let door = Door::open().await;
    let web = door.make(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web/scale");
    let (_, scale) = door.get(&path).await;
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"]),
        (&json!("Scale"), &json!("autoscaling/v1"))
    );
    assert_eq!(scale["spec"]["replicas"], 2);
    assert_eq!(scale["status"]["selector"], "app=web");
    assert_eq!(scale["metadata"]["uid"], web["metadata"]["uid"]);
    let (_, scaled) = door
        .patch(&path, "merge", &json!({ "spec": { "replicas": 5 } }))
        .await;
    assert_eq!(scaled["spec"]["replicas"], 5);
    assert_eq!(
        door.get(&format!("{DEPLOYMENTS}/web")).await.1["metadata"]["generation"],
        2
    );
    assert_eq!(door.put(&path, &scale).await.0, StatusCode::CONFLICT);
    let (status, refused) = door
        .patch(&path, "merge", &json!({ "spec": { "replicas": -1 } }))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused["message"],
        "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
}

#[tokio::test]
async fn what_is_no_scale_is_refused_as_upstream_does() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web/scale?fieldValidation=Strict");
    let (_, scale) = door.get(&path).await;
    let unknown = json!({ "spec": { "foo": 1 } });
    let (status, refused) = door.patch(&path, "strategic-merge", &unknown).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused["message"],
        " \"\" is invalid: patch: Invalid value: \"map[spec:map[foo:1]]\": strict decoding error: unknown field \"spec.foo\""
    );
    let wrong = json!({ "spec": { "replicas": "x" } });
    let (status, refused) = door.patch(&path, "merge", &wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let why = "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32";
    assert!(refused["message"].as_str().unwrap().ends_with(why), "{refused}");
    let mut sent = scale.clone();
    sent["spec"]["replicas"] = json!("x");
    let (status, refused) = door.put(&path, &sent).await;
    assert_eq!(
        (status, &refused["message"]),
        (
            StatusCode::BAD_REQUEST,
            &json!(format!(
                "Scale in version \"v1\" cannot be handled as a Scale: {why}"
            ))
        )
    );
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let door = Door::open().await;
    door.make(PODS, &pod("a")).await;
    let binding = json!({ "metadata": { "name": "a" }, "target": { "name": "node-1" } });
    let (status, answer) = door.post("/api/v1/namespaces/default/bindings", &binding).await;
    assert_eq!(
        (status, &answer["status"]),
        (StatusCode::CREATED, &json!("Success"))
    );
    let (_, pod) = door.get(&format!("{PODS}/a")).await;
    assert_eq!(pod["spec"]["nodeName"], "node-1");
    let scheduled = &pod["status"]["conditions"][0];
    assert_eq!(
        (&scheduled["type"], &scheduled["status"]),
        (&json!("PodScheduled"), &json!("True"))
    );
    let (status, refused) = bind(&door, "a").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .ends_with("pod a is already assigned to node \"node-1\"")
    );
}

#[tokio::test]
async fn logs_and_exec_go_to_the_agent() {
    let door = Door::open().await;
    door.make(PODS, &pod("a")).await;
    let (status, nothing) = door.get(&format!("{PODS}/a/log")).await;
    assert_eq!((status, nothing), (StatusCode::NO_CONTENT, json!("")));
    let (status, refused) = door.get(&format!("{PODS}/a/exec?command=ls")).await;
    assert_eq!(
        (status, &refused["message"]),
        (
            StatusCode::BAD_REQUEST,
            &json!("pod a does not have a host assigned")
        )
    );
    bind(&door, "a").await;
    let (_, asked) = door.get(&format!("{PODS}/a/log?follow=true&tailLines=3")).await;
    assert_eq!(asked, "/containerLogs/default/a/main?follow=true&tailLines=3");
    let (_, asked) = door
        .get(&format!("{PODS}/a/exec?container=main&command=ls"))
        .await;
    assert_eq!(asked, "/exec/default/a/main?container=main&command=ls");
    door.make("/api/v1/nodes", &json!({ "metadata": { "name": "node-1" } }))
        .await;
    let (_, asked) = door.get("/api/v1/nodes/node-1/proxy/stats/summary?a=b").await;
    assert_eq!(asked, "/stats/summary?a=b");
    let (status, _) = door.get("/api/v1/nodes/nobody/proxy/stats/summary").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, refused) = door.get(&format!("{PODS}/a/log?container=x")).await;
    assert_eq!(refused["message"], "container x is not valid for pod a");
}

#[tokio::test]
async fn every_path_that_is_listed_is_there() {
    let door = Door::open().await;
    let (status, index) = door.get("/").await;
    assert_eq!(status, StatusCode::OK);
    let paths: Vec<&str> = index["paths"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(paths.is_sorted() && paths.contains(&"/apis/apps/v1") && paths.contains(&"/version"));
    for path in paths {
        assert_eq!(door.get(path).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn discovery_old_and_aggregated() {
    let door = Door::open().await;
    let (_, versions) = door.get("/api").await;
    assert_eq!(
        (&versions["kind"], &versions["versions"]),
        (&json!("APIVersions"), &json!(["v1"]))
    );
    let (_, groups) = door.get("/apis").await;
    let names: Vec<&str> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|group| group["name"].as_str())
        .collect();
    assert!(
        names.contains(&"apps") && names.contains(&"authorization.k8s.io"),
        "{names:?}"
    );
    let (_, apps) = door.get("/apis/apps/v1").await;
    let resources = apps["resources"].as_array().unwrap();
    let find = |name: &str| {
        resources
            .iter()
            .find(|resource| resource["name"] == name)
            .unwrap()
    };
    assert_eq!(find("deployments")["shortNames"], json!(["deploy"]));
    assert_eq!(find("deployments/scale")["group"], "autoscaling");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let request = || Request::get("/apis").header("accept", accept);
    let response = door
        .send(request().body(coracle_apiserver::full("")).unwrap())
        .await;
    let etag = response.headers()["etag"].clone();
    assert_eq!(response.headers()["vary"], "Accept");
    assert_eq!(
        response.headers()["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(document["items"][0]["metadata"]["name"], "apps");
    let request = request()
        .header("if-none-match", etag)
        .body(coracle_apiserver::full(""))
        .unwrap();
    assert_eq!(door.send(request).await.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn openapi_has_what_kubectl_looks_up() {
    let door = Door::open().await;
    let (_, index) = door.get("/openapi/v3").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let (_, document) = door.get(&url).await;
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation"]);
    let containers =
        &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
}

#[tokio::test]
async fn openapi_has_the_measured_kinds() {
    let door = Door::open().await;
    let (_, index) = door.get("/openapi/v3").await;
    let url = index["paths"]["apis/metrics.k8s.io/v1beta1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let (_, document) = door.get(&url).await;
    let base = "/apis/metrics.k8s.io/v1beta1";
    for (path, action, kind) in [
        ("/nodes", "list", "NodeMetrics"),
        ("/nodes/{name}", "get", "NodeMetrics"),
        ("/pods", "list", "PodMetrics"),
        ("/namespaces/{namespace}/pods", "list", "PodMetrics"),
        ("/namespaces/{namespace}/pods/{name}", "get", "PodMetrics"),
    ] {
        let operations = document["paths"][format!("{base}{path}")].as_object().unwrap();
        let names: Vec<&String> = operations.keys().collect();
        assert_eq!(names, ["get", "parameters"]);
        let get = &operations["get"];
        assert_eq!(get["x-kubernetes-action"], action);
        assert_eq!(
            get["x-kubernetes-group-version-kind"],
            json!({ "group": "metrics.k8s.io", "version": "v1beta1", "kind": kind })
        );
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for kind in ["NodeMetrics", "NodeMetricsList", "PodMetrics", "PodMetricsList"] {
        let schema = &schemas[&format!("io.k8s.metrics.pkg.apis.metrics.v1beta1.{kind}")];
        assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], kind);
    }
    let text = document.to_string();
    for (at, start) in text.match_indices("\"#/components/schemas/") {
        let name = text[at + start.len()..].split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn openapi_v2_is_there_in_both_forms() {
    let door = Door::open().await;
    let document = door.get("/openapi/v2").await.1;
    let definitions = document["definitions"].as_object().unwrap();
    let deployment = &definitions["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"][0]["kind"],
        "Deployment"
    );
    assert_eq!(
        deployment["properties"]["spec"]["$ref"],
        "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"
    );
    let containers = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    let text = document.to_string();
    assert!(!text.contains("#/components/") && !text.contains("\"oneOf\"") && !text.contains("\"allOf\""));
    for (at, _) in text.match_indices("\"#/definitions/") {
        let name = text[at + 15..].split('"').next().unwrap();
        assert!(definitions.contains_key(name), "{name}");
    }
    let accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let ask = |tag: &str| {
        let request = Request::get("/openapi/v2")
            .header("accept", accept)
            .header("accept-encoding", "gzip")
            .header("if-none-match", tag);
        door.send(request.body(coracle_apiserver::full("")).unwrap())
    };
    let response = ask("").await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert_eq!(
        headers["content-type"],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    assert_eq!(headers["content-encoding"], "gzip");
    let tag = headers["etag"].to_str().unwrap();
    assert_eq!(ask(tag).await.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn health_and_its_check() {
    let door = Door::open().await;
    assert_eq!(door.get("/livez").await, (StatusCode::OK, json!("ok")));
    assert_eq!(door.get("/readyz/ping").await, (StatusCode::OK, json!("ok")));
    assert_eq!(
        door.get("/readyz?verbose").await.1,
        json!("[+]ping ok\nreadyz check passed\n")
    );
    assert_eq!(door.get("/livez/etcd").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn reviews_answer_in_every_format() {
    let door = Door::open().await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let protobuf = "application/vnd.kubernetes.protobuf";
    let review = "k8s\0\n\x2d\n\x18authentication.k8s.io/v1\x12\x11SelfSubjectReview";
    let (status, me) = door.ask_as(http::Method::POST, path, protobuf, review).await;
    assert_eq!(
        (status, &me["status"]["userInfo"]["username"]),
        (StatusCode::CREATED, &json!("admin"))
    );
    assert_eq!(
        me["status"]["userInfo"]["groups"],
        json!(["system:masters", "system:authenticated"])
    );
    // kubectl 1.27 asks in these versions.
    for version in ["v1alpha1", "v1beta1"] {
        let path = format!("/apis/authentication.k8s.io/{version}/selfsubjectreviews");
        let (_, me) = door.post(&path, &json!({})).await;
        assert_eq!(me["apiVersion"], format!("authentication.k8s.io/{version}"));
        assert_eq!(me["status"]["userInfo"]["username"], "admin");
    }
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (_, may) = door
        .post(
            path,
            &json!({ "spec": { "resourceAttributes": { "verb": "get" } } }),
        )
        .await;
    assert_eq!(may["status"]["allowed"], true);
}

#[tokio::test]
async fn access_of_others_is_reviewed() {
    let door = Door::open().await;
    let group = "/apis/authorization.k8s.io/v1";
    let everywhere = format!("{group}/subjectaccessreviews");
    let local = format!("{group}/namespaces/default/localsubjectaccessreviews");
    let question = json!({ "spec": {
        "user": "jane", "resourceAttributes": { "namespace": "default", "verb": "get", "resource": "pods" },
    } });
    for (path, namespace) in [(&everywhere, json!(null)), (&local, json!("default"))] {
        let (status, answer) = door.post(path, &question).await;
        assert_eq!(
            (status, &answer["status"]["allowed"]),
            (StatusCode::CREATED, &json!(true))
        );
        assert_eq!(answer["metadata"]["namespace"], namespace);
        assert_eq!(answer["spec"], question["spec"]);
    }
    let mut nobody = question.clone();
    nobody["spec"]["user"] = json!("system:anonymous");
    assert_eq!(
        door.post(&everywhere, &nobody).await.1["status"]["allowed"],
        false
    );
    let mut elsewhere = question;
    elsewhere["spec"]["resourceAttributes"]["namespace"] = json!("other");
    for (path, body, why) in [
        (
            &local,
            elsewhere,
            "LocalSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: \
             Invalid value: \"other\": must match metadata.namespace",
        ),
        (
            &everywhere,
            json!({ "spec": { "nonResourceAttributes": { "path": "/logs", "verb": "get" } } }),
            "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": \
             at least one of user or group must be specified",
        ),
    ] {
        let (status, refused) = door.post(path, &body).await;
        assert_eq!(
            (status, refused["message"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(why))
        );
    }
    let (_, list) = door.get(group).await;
    let names: Vec<_> = list["resources"].as_array().into_iter().flatten().collect();
    let local = names
        .iter()
        .find(|entry| entry["name"] == "localsubjectaccessreviews");
    assert_eq!(local.map(|entry| &entry["namespaced"]), Some(&json!(true)));
}
