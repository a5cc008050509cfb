//! Patches of all kinds, through the door.

use coracle_apiserver::full;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::door::{CONFIG_MAPS, DEPLOYMENTS, Door, PODS, config_map, deployment, pod};

#[tokio::test]
async fn each_kind_of_patch() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let containers = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": "nginx:1.8" }] } } } });
    let (_, web) = door.patch(&path, "strategic-merge", &containers).await;
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["imagePullPolicy"]),
        (&json!("nginx:1.8"), &json!("IfNotPresent"))
    );
    assert_eq!(web["metadata"]["generation"], 2);
    let (_, web) = door
        .patch(&path, "merge", &json!({ "metadata": { "labels": { "a": "b" } } }))
        .await;
    assert_eq!(web["metadata"]["labels"]["a"], "b");
    let operations = json!([
        { "op": "test", "path": "/spec/replicas", "value": 2 },
        { "op": "replace", "path": "/spec/replicas", "value": 3 },
        { "op": "remove", "path": "/metadata/labels/a" },
    ]);
    let (_, web) = door.patch(&path, "json", &operations).await;
    assert_eq!(web["spec"]["replicas"], 3);
    assert!(
        web["metadata"]
            .get("labels")
            .is_none_or(|labels| labels == &json!({}))
    );
}

#[tokio::test]
async fn patches_that_cannot_be_applied() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let (status, body) = door
        .patch(
            &path,
            "json",
            &json!([{ "op": "test", "path": "/spec/replicas", "value": 9 }]),
        )
        .await;
    assert_eq!(
        (status, &body["reason"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("Invalid"))
    );
    assert_eq!(
        body["message"],
        "the server rejected our request due to an error in our request"
    );
    assert_eq!(
        door.patch(&path, "json", &json!([{ "op": "fly" }])).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let map = "Go value of type map[string]interface {}";
    let refused = [
        (
            "merge",
            json!([]),
            format!("error decoding patch: json: cannot unmarshal array into {map}"),
        ),
        (
            "strategic-merge",
            json!("not json"),
            format!("json: cannot unmarshal string into {map}"),
        ),
        (
            "json",
            json!({}),
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
                .to_owned(),
        ),
    ];
    for (kind, patch, why) in refused {
        let (status, body) = door.patch(&path, kind, &patch).await;
        assert_eq!((status, &body["message"]), (StatusCode::BAD_REQUEST, &json!(why)));
    }
    let (status, _) = door
        .ask_as(Method::PATCH, &path, "application/some-patch+json", "{}")
        .await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let stale = json!({ "metadata": { "resourceVersion": "1" } });
    assert_eq!(door.patch(&path, "merge", &stale).await.0, StatusCode::CONFLICT);
}

/// What a patch has made that is no Deployment: 422, about no object in particular.
#[tokio::test]
async fn what_a_patch_makes_must_be_of_the_kind() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web?fieldValidation=Strict");
    let container =
        |container: Value| json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    let refused = [
        (
            json!({ "spec": { "foo": 3 } }),
            r#""map[spec:map[foo:3]]": strict decoding error: unknown field "spec.foo""#,
        ),
        (
            json!({ "spec": { "replicas": "three" } }),
            r#""map[spec:map[replicas:three]]": unrecognized type: int32"#,
        ),
        (
            json!({ "spec": { "replicas": 1.5 } }),
            r#""map[spec:map[replicas:1.5]]": cannot convert float64 to int32"#,
        ),
        (
            container(json!({ "name": "main", "image": 5 })),
            r#""map[spec:map[template:map[spec:map[containers:[map[image:5 name:main]]]]]]": cannot convert int64 to string"#,
        ),
        (
            container(json!({ "name": "main", "args": "x" })),
            r#""map[spec:map[template:map[spec:map[containers:[map[args:x name:main]]]]]]": cannot restore slice from string"#,
        ),
        (
            json!({ "spec": { "strategy": 1 } }),
            r#""map[spec:map[strategy:1]]": cannot restore struct from: int64"#,
        ),
    ];
    for (patch, why) in refused {
        let (status, body) = door.patch(&path, "strategic-merge", &patch).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let expected = format!(" \"\" is invalid: patch: Invalid value: {why}");
        assert_eq!(body["message"], expected);
        let cause = json!({ "reason": "FieldValueInvalid", "message": format!("Invalid value: {why}"), "field": "patch" });
        assert_eq!(body["details"], json!({ "causes": [cause] }));
    }
    let (_, web) = door.get(&format!("{DEPLOYMENTS}/web")).await;
    let mut patched = web.clone();
    patched["spec"]["foo"] = json!(3);
    let unknown = format!(
        "{:?}: strict decoding error: unknown field \"spec.foo\"",
        patched.to_string()
    );
    patched["spec"].as_object_mut().unwrap().remove("foo");
    patched["spec"]["replicas"] = json!("x");
    let wrong = format!(
        "{:?}: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        patched.to_string()
    );
    for (kind, patch, why) in [
        ("merge", json!({ "spec": { "foo": 3 } }), &unknown),
        (
            "json",
            json!([{ "op": "add", "path": "/spec/foo", "value": 3 }]),
            &unknown,
        ),
        ("merge", json!({ "spec": { "replicas": "x" } }), &wrong),
        (
            "json",
            json!([{ "op": "replace", "path": "/spec/replicas", "value": "x" }]),
            &wrong,
        ),
    ] {
        let (status, body) = door.patch(&path, kind, &patch).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(
            body["message"],
            format!(" \"\" is invalid: patch: Invalid value: {why}")
        );
    }
}

#[tokio::test]
async fn strategic_merges_that_make_no_sense_are_the_servers_failure() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let nameless = json!({ "spec": { "template": { "spec": { "containers": [{ "image": "x" }] } } } });
    let (status, body) = door.patch(&path, "strategic-merge", &nameless).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        body["message"],
        "map: map[image:x] does not contain declared merge key: name"
    );
    assert_eq!(body.get("reason"), None);
    let keys = json!({ "spec": { "$retainKeys": 1 } });
    let (status, body) = door.patch(&path, "strategic-merge", &keys).await;
    assert_eq!(
        (status, &body["message"]),
        (
            StatusCode::BAD_REQUEST,
            &json!("invalid patch format of retainKeys")
        )
    );
}

#[tokio::test]
async fn keys_that_operations_do_not_have_are_told() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let path = format!("{CONFIG_MAPS}/a");
    let patch = r#"[{"op":"add","op":"add","path":"/data/b","value":"1","foo":1}]"#;
    let media = "application/json-patch+json";
    let strict = format!("{path}?fieldValidation=Strict");
    let (status, body) = door.ask_as(Method::PATCH, &strict, media, patch).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let why =
        r#"strict decoding error: json patch unknown field "[0].foo", json patch duplicate field "[0].op""#;
    assert!(body["message"].as_str().unwrap().ends_with(why), "{body}");
    let request = Request::patch(&path).header("content-type", media);
    let response = door.send(request.body(full(patch)).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let warnings: Vec<_> = response.headers().get_all("warning").iter().collect();
    assert_eq!(
        warnings,
        [
            r#"299 - "json patch unknown field \"[0].foo\"""#,
            r#"299 - "json patch duplicate field \"[0].op\"""#
        ]
    );
}

#[tokio::test]
async fn a_patch_cannot_change_the_uid() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let path = format!("{CONFIG_MAPS}/a");
    let patch = json!({ "metadata": { "uid": "x" } });
    for kind in ["merge", "strategic-merge"] {
        let (status, body) = door.patch(&path, kind, &patch).await;
        assert_eq!(
            (status, &body["message"]),
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!("ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable")
            )
        );
    }
    let mut other = config_map("a", json!({}));
    other["metadata"]["uid"] = json!("x");
    assert_eq!(door.put(&path, &other).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn copies_cannot_blow_up() {
    let door = Door::open().await;
    door.make(CONFIG_MAPS, &config_map("a", json!({}))).await;
    let copy = json!({ "op": "copy", "from": "/data", "path": "/data/x" });
    let operations = vec![copy; 1000];
    let (status, _) = door
        .patch(&format!("{CONFIG_MAPS}/a"), "json", &json!(operations))
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let tests = vec![json!({ "op": "test", "path": "/data", "value": 1 }); 10_001];
    let (status, refused) = door
        .patch(&format!("{CONFIG_MAPS}/a"), "json", &json!(tests))
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        refused["message"],
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
}

#[tokio::test]
async fn conditions_of_a_status_merge_by_type() {
    let door = Door::open().await;
    door.make(PODS, &pod("a")).await;
    let path = format!("{PODS}/a/status");
    let condition = |kind: &str| json!({ "status": { "conditions": [{ "type": kind, "status": "True" }] } });
    let mut first = condition("Ready");
    first["metadata"] = json!({ "annotations": { "coracle.dev/ports": "{}" } });
    first["spec"] = json!({ "nodeName": "elsewhere" });
    door.patch(&path, "strategic-merge", &first).await;
    let (_, pod) = door
        .patch(&path, "strategic-merge", &condition("coracle.dev/InService"))
        .await;
    let types: Vec<&str> = pod["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|condition| condition["type"].as_str())
        .collect();
    assert!(
        types.contains(&"Ready") && types.contains(&"coracle.dev/InService"),
        "{types:?}"
    );
    assert_eq!(pod["metadata"]["annotations"]["coracle.dev/ports"], "{}");
    assert!(pod["spec"].get("nodeName").is_none());
}
