//! What kinds do with objects, through the table, as the API server sees it.

use serde_json::{Value, json};

use super::*;
use crate::kind::Write;

fn created(api_version: &str, kind: &str, object: Value) -> (Value, Vec<String>) {
    let row = by_kind(api_version, kind).unwrap_or(&KINDS[0]);
    let mut object = (row.decode)(object)
        .map(|decoded| decoded.object)
        .unwrap_or_default();
    (row.default)(&mut object);
    (row.prepare)(&mut object, None, Write::Main);
    let causes = (row.validate)(&object, None, Write::Main).causes;
    (
        object,
        causes
            .into_iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect(),
    )
}

fn deployment(change: impl Fn(&mut Value)) -> (Value, Vec<String>) {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1.7.9", "ports": [{"containerPort": 80}]}]},
            },
        },
    });
    change(&mut object);
    created("apps/v1", "Deployment", object)
}

#[test]
fn rows_are_found_by_resource_and_by_kind() {
    for kind in kinds() {
        let found = by_resource(kind.group, kind.version, kind.plural).map(|found| found.kind);
        assert_eq!(found, Some(kind.kind));
        assert_eq!(
            by_kind(&kind.api_version(), kind.kind).map(|found| found.plural),
            Some(kind.plural)
        );
        assert_eq!(
            (kind.cells)(&json!({"metadata": {}}), 0).len(),
            kind.columns.len(),
            "{kind:?}"
        );
        assert_eq!((kind.fields)(&json!({})).len(), kind.field_names.len());
    }
    assert!(by_resource("apps", "v1", "pods").is_none());
}

#[test]
fn a_deployment_gets_upstreams_defaults() {
    let (object, causes) = deployment(|_| {});
    assert_eq!(causes, [""; 0]);
    let container = json!({
        "name": "web", "image": "nginx:1.7.9", "imagePullPolicy": "IfNotPresent", "resources": {},
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    });
    let wanted = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "generation": 1},
        "spec": {
            "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
                    "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
                },
            },
        },
        "status": {},
    });
    assert_eq!(object, wanted);
}

#[test]
fn defaulting_twice_changes_nothing() {
    let (mut object, _) = deployment(|_| {});
    let once = object.clone();
    if let Some(row) = by_kind("apps/v1", "Deployment") {
        (row.default)(&mut object);
    }
    assert_eq!(object, once);
}

#[test]
fn bad_deployments_are_refused_in_upstreams_words() {
    let causes = |pointer: &'static str, value: Value| {
        deployment(move |object| {
            if let Some((parent, field)) = pointer.rsplit_once('/')
                && let Some(parent) = object.pointer_mut(parent)
            {
                parent[field] = value.clone();
            }
        })
        .1
    };
    let table = [
        (
            "/spec/replicas",
            json!(-1),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "/spec/template/metadata/labels",
            json!({"app": "db"}),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"db\"}: `selector` does not match template `labels`",
        ),
        (
            "/spec/template/spec/containers/0/image",
            json!(""),
            "spec.template.spec.containers[0].image: Required value",
        ),
        (
            "/spec/template/spec/containers/0/ports",
            json!([{"containerPort": 70000}]),
            "spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("Never"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        (
            "/spec/strategy",
            json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
        ),
        (
            "/spec/strategy",
            json!({"type": "Recreate", "rollingUpdate": {}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "/spec/progressDeadlineSeconds",
            json!(0),
            "spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds",
        ),
        (
            "/spec/template/spec/containers/0/volumeMounts",
            json!([{"name": "v", "mountPath": "/v"}]),
            "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            "/spec/template/spec/containers/0/readinessProbe",
            json!({"periodSeconds": 1}),
            "spec.template.spec.containers[0].readinessProbe: Required value: must specify a handler type",
        ),
    ];
    for (pointer, value, wanted) in table {
        assert_eq!(causes(pointer, value), [wanted]);
    }
}

#[test]
fn a_selector_is_required_and_immutable() {
    let (_, causes) = deployment(|object| object["spec"]["selector"] = json!(null));
    assert_eq!(causes[0], "spec.selector: Required value");
    let (old, _) = deployment(|_| {});
    let (new, _) = deployment(|object| {
        object["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
        object["spec"]["template"]["metadata"]["labels"] = json!({"a": "b"});
    });
    let causes =
        by_kind("apps/v1", "Deployment").map(|row| (row.validate)(&new, Some(&old), Write::Main).causes);
    let causes = causes.unwrap_or_default();
    assert_eq!(
        causes[0].message,
        "Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable"
    );
    assert_eq!((causes.len(), causes[0].field.as_str()), (1, "spec.selector"));
}

fn pod(spec: Value) -> (Value, Vec<String>) {
    created(
        "v1",
        "Pod",
        json!({"metadata": {"name": "p", "namespace": "default"}, "spec": spec}),
    )
}

#[test]
fn a_pod_gets_what_admission_gives() {
    let limits = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let (object, causes) = pod(json!({"containers": [{"name": "a", "image": "host", "resources": limits}]}));
    assert_eq!(causes, [""; 0]);
    let spec = &object["spec"];
    assert_eq!(
        spec["containers"][0]["resources"]["requests"],
        json!({"cpu": "1", "memory": "1Gi"})
    );
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["enableServiceLinks"], true);
    assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2));
    assert_eq!(spec["tolerations"][0]["tolerationSeconds"], 300);
    assert_eq!(
        object["status"],
        json!({"phase": "Pending", "qosClass": "Guaranteed"})
    );
}

#[test]
fn pods_hardly_change() {
    let (old, _) = pod(
        json!({"containers": [{"name": "a", "image": "host"}], "volumes": [{"name": "v", "emptyDir": {}}]}),
    );
    assert_eq!(old["spec"]["volumes"][0]["emptyDir"], json!({}));
    let causes = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        by_kind("v1", "Pod")
            .map(|row| (row.validate)(&new, Some(&old), Write::Main).causes)
            .unwrap_or_default()
    };
    assert_eq!(
        causes(|pod| pod["spec"]["containers"][0]["image"] = json!("nginx")),
        []
    );
    assert_eq!(causes(|pod| pod["spec"]["activeDeadlineSeconds"] = json!(5)), []);
    let refused = causes(|pod| pod["spec"]["hostNetwork"] = json!(true));
    assert!(
        refused[0]
            .message
            .starts_with("Forbidden: pod updates may not change fields other than")
    );
}

#[test]
fn a_service_gets_upstreams_defaults() {
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    let (object, causes) = created(
        "v1",
        "Service",
        json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}),
    );
    assert_eq!(causes, [""; 0]);
    let wanted = json!({
        "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "selector": {"app": "web"},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    });
    assert_eq!(object["spec"], wanted);
    assert_eq!(object["status"], json!({"loadBalancer": {}}));
}

#[test]
fn bad_services_are_refused_in_upstreams_words() {
    let causes = |spec: Value| {
        created(
            "v1",
            "Service",
            json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}),
        )
        .1
    };
    let port = "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive";
    assert_eq!(causes(json!({"ports": [{"port": 70000}]})), [port]);
    assert_eq!(causes(json!({})), ["spec.ports: Required value"]);
    let two = causes(json!({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}));
    assert_eq!(two, ["spec.ports[0].name: Required value"]);
    let kind = "spec.type: Unsupported value: \"x\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"";
    assert_eq!(causes(json!({"type": "x", "ports": [{"port": 80}]}))[0], kind);
}

#[test]
fn loopback_addresses_are_endpoints() {
    let (object, causes) = created(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        json!({
            "metadata": {"name": "web-1", "namespace": "default"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.10.1.2"]}], "ports": [{"port": 20000}],
        }),
    );
    assert_eq!(causes, [""; 0]);
    assert_eq!(
        object["ports"],
        json!([{"name": "", "port": 20000, "protocol": "TCP"}])
    );
}

#[test]
fn small_kinds_get_their_defaults() {
    let (namespace, causes) = created("v1", "Namespace", json!({"metadata": {"name": "a"}}));
    assert_eq!(causes, [""; 0]);
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "a"})
    );
    assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(namespace["status"], json!({"phase": "Active"}));
    let metadata = json!({"name": "s", "namespace": "default"});
    let (secret, _) = created(
        "v1",
        "Secret",
        json!({"metadata": metadata, "stringData": {"a": "b"}}),
    );
    assert_eq!(
        (&secret["type"], &secret["data"]),
        (&json!("Opaque"), &json!({"a": "Yg=="}))
    );
    let (node, _) = created(
        "v1",
        "Node",
        json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "127.10.1.0/24"}}),
    );
    assert_eq!(node["spec"]["podCIDRs"], json!(["127.10.1.0/24"]));
    let mut moved = node.clone();
    moved["spec"]["podCIDR"] = "1.2.3.0/24".into();
    let row = by_kind("v1", "Node").unwrap();
    (row.default)(&mut moved);
    let causes = (row.validate)(&moved, Some(&node), Write::Main).causes;
    let said: Vec<_> = causes
        .iter()
        .map(|cause| (cause.field.as_str(), cause.message.as_str()))
        .collect();
    assert_eq!(
        said,
        [(
            "spec.podCIDRs",
            "Forbidden: node updates may not change podCIDR except from \"\" to valid"
        )]
    );
    let status = json!({"capacity": {"cpu": "2", "memory": "1Gi"}});
    let (node, causes) = created("v1", "Node", json!({"metadata": {"name": "n"}, "status": status}));
    assert_eq!(
        (causes, &node["status"]["allocatable"]["cpu"]),
        (vec![], &json!("2"))
    );
}

#[test]
fn variables_tell_what_pods_can_be_told() {
    let told = |field: &str| {
        let env = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": field}}}]);
        let (_, causes) = pod(json!({"containers": [{"name": "a", "image": "host", "env": env}]}));
        causes
    };
    for good in ["status.podIP", "metadata.labels['app']"] {
        assert_eq!(told(good), [""; 0], "{good}");
    }
    let path = "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath";
    for (bad, why) in [
        (
            "foo",
            "Invalid value: \"foo\": error converting fieldPath: field label not supported: foo",
        ),
        (
            "spec['a']",
            "Invalid value: \"spec['a']\": error converting fieldPath: field label does not support subscript: spec['a']",
        ),
        (
            "status.phase",
            "Unsupported value: \"status.phase\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
        ),
        ("", "Required value"),
    ] {
        assert_eq!(told(bad), [format!("{path}: {why}")]);
    }
}

#[test]
fn selectable_fields_have_values() {
    let (object, _) = pod(json!({"containers": [{"name": "a", "image": "host"}], "nodeName": "node-1"}));
    let fields = by_kind("v1", "Pod")
        .map(|row| (row.fields)(&object))
        .unwrap_or_default();
    let value = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(value("spec.nodeName"), Some("node-1"));
    assert_eq!(value("spec.hostNetwork"), Some("false"));
    assert_eq!(value("status.phase"), Some("Pending"));
    assert_eq!(value("status.podIP"), Some(""));
}

#[test]
fn a_services_address_stays() {
    let metadata = json!({"name": "web", "namespace": "default"});
    let spec = |ip: &str| json!({"clusterIP": ip, "ports": [{"port": 80}]});
    let (old, causes) = created(
        "v1",
        "Service",
        json!({"metadata": metadata, "spec": spec("127.96.0.2")}),
    );
    assert_eq!(
        (causes, &old["spec"]["clusterIPs"]),
        (vec![], &json!(["127.96.0.2"]))
    );
    let mut new = old.clone();
    new["spec"]["clusterIP"] = json!("127.96.0.3");
    let Some(row) = by_kind("v1", "Service") else {
        return;
    };
    (row.prepare)(&mut new, Some(&old), Write::Main);
    let causes = (row.validate)(&new, Some(&old), Write::Main).causes;
    assert_eq!(causes[0].field, "spec.clusterIPs[0]");
    assert_eq!(
        causes[0].message,
        "Invalid value: [\"127.96.0.3\"]: may not change once set"
    );
}
