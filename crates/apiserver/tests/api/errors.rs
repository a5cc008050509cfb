//! Refusals: their codes, and the sentences that kubectl prints.

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::door::{CONFIG_MAPS, DEPLOYMENTS, Door, PODS, config_map, deployment};

#[tokio::test]
async fn the_exact_body_of_a_missing_object() {
    let door = Door::open().await;
    let (status, body) = door.get(&format!("{DEPLOYMENTS}/web")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "deployments.apps \"web\" not found", "reason": "NotFound",
        "details": { "name": "web", "group": "apps", "kind": "deployments" }, "code": 404,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn invalid_objects_name_their_fields() {
    let door = Door::open().await;
    let mut web = deployment("web");
    web["spec"]["replicas"] = json!(-1);
    let (status, body) = door.post(DEPLOYMENTS, &web).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        body["message"],
        "Deployment.apps \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    assert_eq!(body["details"]["kind"], "Deployment");
    assert_eq!(
        body["details"]["causes"][0],
        json!({ "reason": "FieldValueInvalid", "message": "Invalid value: -1: must be greater than or equal to 0", "field": "spec.replicas" })
    );
}

#[tokio::test]
async fn wrong_types_and_wrong_kinds() {
    let door = Door::open().await;
    let mut web = deployment("web");
    web["spec"]["replicas"] = json!("x");
    let message = door.post(DEPLOYMENTS, &web).await.1["message"].clone();
    assert_eq!(
        message,
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    let other = json!({ "apiVersion": "apps/v2", "kind": "Deployment" });
    let message = door.post(DEPLOYMENTS, &other).await.1["message"].clone();
    assert_eq!(
        message,
        "the API version in the data (apps/v2) does not match the expected API version (apps/v1)"
    );
    let elsewhere = json!({ "metadata": { "name": "a", "namespace": "other" } });
    let message = door.post(CONFIG_MAPS, &elsewhere).await.1["message"].clone();
    assert_eq!(
        message,
        "the namespace of the provided object does not match the namespace sent on the request"
    );
}

#[tokio::test]
async fn invalid_options_are_called_by_the_verb() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let (all, one) = (format!("{CONFIG_MAPS}?"), format!("{CONFIG_MAPS}/a?"));
    let (fields, modes) = (
        "fieldValidation: Unsupported value: \"Foo\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
        "dryRun: Unsupported value: [\"Foo\"]: supported values: \"All\"",
    );
    let policies = "propagationPolicy: Unsupported value: \"Foo\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
    for (method, path, query, options, why) in [
        (Method::POST, &all, "fieldValidation=Foo", "CreateOptions", fields),
        (Method::PUT, &one, "dryRun=Foo", "UpdateOptions", modes),
        (Method::PATCH, &one, "fieldValidation=Foo", "PatchOptions", fields),
        (Method::DELETE, &one, "dryRun=Foo", "DeleteOptions", modes),
        (
            Method::DELETE,
            &one,
            "propagationPolicy=Foo",
            "DeleteOptions",
            policies,
        ),
    ] {
        let media = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = match method {
            Method::DELETE => String::new(),
            _ => config_map("a", json!({})).to_string(),
        };
        let (status, refused) = door.ask_as(method, &format!("{path}{query}"), media, &body).await;
        assert_eq!(
            (status, &refused["message"]),
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!(format!("{options}.meta.k8s.io \"\" is invalid: {why}"))
            )
        );
    }
}

#[tokio::test]
async fn taken_names_and_missing_namespaces() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let (status, body) = door.post(DEPLOYMENTS, &deployment("web")).await;
    assert_eq!(
        (status, &body["reason"]),
        (StatusCode::CONFLICT, &json!("AlreadyExists"))
    );
    assert_eq!(body["message"], "deployments.apps \"web\" already exists");
    let (status, body) = door
        .post("/api/v1/namespaces/no/configmaps", &config_map("a", json!({})))
        .await;
    assert_eq!(
        (status, &body["message"]),
        (StatusCode::NOT_FOUND, &json!("namespaces \"no\" not found"))
    );
}

#[tokio::test]
async fn paths_methods_and_media_types() {
    let door = Door::open().await;
    for path in [
        "/apis/apps/v1/namespaces/default/nothings",
        "/nothing",
        "/api/v1/pods/a",
    ] {
        let (status, body) = door.get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            body["message"],
            "the server could not find the requested resource"
        );
    }
    assert_eq!(
        door.post("/api/v1/pods", &Value::Null).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        door.put(CONFIG_MAPS, &Value::Null).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    let (status, body) = door.ask_as(Method::POST, CONFIG_MAPS, "text/html", "<p>").await;
    assert_eq!(
        (status, &body["reason"]),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!("UnsupportedMediaType"))
    );
    let request = Request::get(CONFIG_MAPS).header("accept", "text/html");
    let response = door
        .send(request.body(coracle_apiserver::full("")).unwrap())
        .await;
    assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn protobuf_that_is_none() {
    let door = Door::open().await;
    let protobuf = "application/vnd.kubernetes.protobuf";
    for (body, why) in [
        ("", "provided data does not appear to be a protobuf message"),
        ("k8s\0", "Object 'Kind' is missing"),
        ("k8s\0\n\x7f", "unexpected end of the message"),
        (
            "k8s\0\n\t\n\x02v1\x12\x03Job",
            "no kind \"Job\" is registered for version \"v1\"",
        ),
    ] {
        let (status, body) = door.ask_as(Method::POST, CONFIG_MAPS, protobuf, body).await;
        assert_eq!(
            (status, &body["reason"]),
            (StatusCode::BAD_REQUEST, &json!("BadRequest"))
        );
        assert!(body["message"].as_str().unwrap().contains(why), "{body}");
    }
    let secret = "k8s\0\n\x0c\n\x02v1\x12\x06Secret";
    let (status, body) = door.ask_as(Method::POST, CONFIG_MAPS, protobuf, secret).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

#[tokio::test]
async fn too_large_and_too_deep() {
    let door = Door::open().await;
    let large = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(4 * 1024 * 1024));
    let (status, body) = door
        .ask_as(Method::POST, CONFIG_MAPS, "application/json", &large)
        .await;
    assert_eq!(
        (status, &body["reason"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("RequestEntityTooLarge"))
    );
    let deep = "[".repeat(100_000);
    let (status, _) = door
        .ask_as(Method::POST, CONFIG_MAPS, "application/json", &deep)
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let one = format!("{CONFIG_MAPS}/a");
    let unrecognized = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error:";
    for (method, path, media, body, message) in [
        (
            Method::POST,
            CONFIG_MAPS,
            "application/json",
            "",
            format!("{unrecognized} unexpected end of JSON input (<empty>)"),
        ),
        (
            Method::PUT,
            &one,
            "application/json",
            "hello",
            format!("{unrecognized} invalid character 'h' looking for beginning of value (hello)"),
        ),
        (
            Method::PATCH,
            &one,
            "application/merge-patch+json",
            "{",
            "error decoding patch: unexpected end of JSON input".to_owned(),
        ),
        (
            Method::PATCH,
            &one,
            "application/json-patch+json",
            "[1]",
            "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"
                .to_owned(),
        ),
    ] {
        let (status, refused) = door.ask_as(method, path, media, body).await;
        assert_eq!(
            (status, &refused["message"]),
            (StatusCode::BAD_REQUEST, &json!(message))
        );
    }
    let zap = json!([{ "op": "zap", "path": "/data" }]);
    let (status, refused) = door.patch(&one, "json", &zap).await;
    assert_eq!(
        (status, &refused["message"]),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!("the server rejected our request due to an error in our request")
        )
    );
}

#[tokio::test]
async fn web_pages_of_other_sites_may_not_ask() {
    let door = Door::open().await;
    let request = Request::get(PODS)
        .header("host", "127.0.0.1")
        .header("origin", "https://evil.example");
    let response = door
        .send(request.body(coracle_apiserver::full("")).unwrap())
        .await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_the_server_tells_of_itself_can_only_be_read() {
    let door = Door::open().await;
    let documents = [
        "/",
        "/api",
        "/apis",
        "/api/v1",
        "/apis/apps",
        "/apis/apps/v1",
        "/version",
        "/readyz",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/api/v1",
    ];
    for path in documents {
        assert_eq!(door.get(path).await.0, StatusCode::OK, "{path}");
        for method in [Method::TRACE, Method::POST, Method::DELETE] {
            let (status, told) = door.ask(method.clone(), path, &json!({})).await;
            let expected = (StatusCode::METHOD_NOT_ALLOWED, json!("MethodNotAllowed"));
            assert_eq!((status, told["reason"].clone()), expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn nobody_acts_for_somebody_else() {
    let door = Door::open().await;
    for (header, name, who) in [
        ("impersonate-user", "bob", "users \"bob\""),
        ("impersonate-group", "staff", "groups \"staff\""),
    ] {
        let request = Request::get(PODS).header(header, name);
        let (status, refused) = door
            .answer(request.body(coracle_apiserver::full("")).unwrap())
            .await;
        assert_eq!(
            (status, &refused["message"]),
            (
                StatusCode::FORBIDDEN,
                &json!(format!("{who} is forbidden: impersonation is not supported"))
            )
        );
    }
}

#[tokio::test]
async fn there_are_no_definitions_of_custom_kinds() {
    let door = Door::open().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (status, list) = door.get(path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(list["items"], json!([]));
    assert_eq!(
        door.post(path, &json!({})).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_request_ends_at_the_time_that_it_names() {
    let door = Door::open().await;
    let get = |timeout: &str| format!("{CONFIG_MAPS}?timeout={timeout}");
    assert_eq!(door.get(&get("30s")).await.0, StatusCode::OK);
    let (status, body) = door.get(&get("soon")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        body["message"],
        "invalid timeout specified in the request URL - time: invalid duration \"soon\""
    );
}
