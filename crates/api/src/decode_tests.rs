//! What is refused, in which words, and what passes.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn deployment(object: Value) -> Result<Decoded, String> {
    decode("io.k8s.api.apps.v1.Deployment", object).map_err(|error| error.message)
}

fn with_container(container: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [container]}}}})
}

#[test]
fn says_what_go_would_say() {
    let table = [
        (
            json!({"spec": {"replicas": "3"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"paused": "yes"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
        (
            json!({"spec": "x"}),
            "json: cannot unmarshal string into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": {}}}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            with_container(json!({"ports": [{"containerPort": "80"}]})),
            "json: cannot unmarshal string into Go struct field ContainerPort.spec.template.spec.containers.ports.containerPort of type int32",
        ),
        (
            with_container(json!({"env": [{"name": "A", "value": 1}]})),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            with_container(json!({"resources": {"limits": {"cpu": "much"}}})),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            json!([]),
            "json: cannot unmarshal array into Go value of type v1.Deployment",
        ),
    ];
    for (object, wanted) in table {
        assert_eq!(deployment(object).err().as_deref(), Some(wanted));
    }
}

#[test]
fn removes_and_names_unknown_fields() {
    let mut object = with_container(json!({"name": "a", "foo": 1}));
    object["bar"] = json!({});
    let decoded = deployment(object).map(|decoded| (decoded.unknown, decoded.object));
    let unknown = vec![
        "bar".to_owned(),
        "spec.template.spec.containers[0].foo".to_owned(),
    ];
    assert_eq!(decoded, Ok((unknown, with_container(json!({"name": "a"})))));
}

#[test]
fn is_as_lenient_as_upstream() {
    let object = json!({
        "metadata": {"annotations": {"a": null}, "labels": null},
        "spec": {
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
            "template": {"spec": {
                "containers": [{"name": "a", "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}}}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            }},
        },
    });
    let object = deployment(object)
        .map(|decoded| decoded.object)
        .unwrap_or_default();
    assert_eq!(object["metadata"], json!({"annotations": {"a": ""}}));
    let spec = &object["spec"]["template"]["spec"];
    assert_eq!(
        spec["containers"][0]["resources"]["limits"],
        json!({"cpu": "1", "memory": "1Gi"})
    );
    assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 4, |inner| {
        let key = prop_oneof![
            Just("metadata"),
            Just("spec"),
            Just("template"),
            Just("containers"),
            Just("labels"),
            Just("name"),
            Just("resources"),
            Just("limits"),
            Just("x"),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..4).prop_map(|pairs| {
                Value::Object(
                    pairs
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    /// Whatever passes is a Deployment for the typed code behind, too.
    #[test]
    fn what_passes_is_typed(object in any_json()) {
        if let Ok(decoded) = deployment(object) {
            let typed = k8s_openapi::api::apps::v1::Deployment::deserialize(&decoded.object);
            prop_assert!(typed.is_ok(), "{:?}", typed.err());
        }
    }
}
