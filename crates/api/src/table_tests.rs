//! Rows of kinds whose cells are simple; pods, nodes, events and Services have tests of their own.

use serde_json::{Value, json};

use crate::kinds::by_kind;

#[test]
fn rows() {
    let row = |api_version: &str, kind: &str, mut object: Value| {
        object["metadata"] = json!({"name": "x", "creationTimestamp": "2024-01-01T00:00:00Z"});
        // Five minutes later.
        json!(by_kind(api_version, kind).map(|row| (row.cells)(&object, 1_704_067_500)))
    };
    let template =
        json!({"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}});
    let spec =
        json!({"replicas": 3, "selector": {"matchLabels": {"a": "1", "b": "2"}}, "template": template});
    let set_spec = spec.clone();
    let set = row(
        "apps/v1",
        "ReplicaSet",
        json!({"spec": set_spec, "status": {"replicas": 2, "readyReplicas": 1}}),
    );
    assert_eq!(set, json!(["x", 3, 2, 1, "5m", "a,b", "i,j", "a=1,b=2"]));
    let status = json!({"replicas": 4, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2});
    let deployment = row("apps/v1", "Deployment", json!({"spec": spec, "status": status}));
    assert_eq!(
        deployment,
        json!(["x", "2/3", 1, 2, "5m", "a,b", "i,j", "a=1,b=2"])
    );
    let data = json!({"data": {"a": "", "b": ""}, "binaryData": {"c": ""}});
    assert_eq!(row("v1", "ConfigMap", data), json!(["x", 3, "5m"]));
    let secret = json!({"type": "Opaque", "data": {"a": ""}});
    assert_eq!(row("v1", "Secret", secret), json!(["x", "Opaque", 1, "5m"]));
    let lease = json!({"spec": {"holderIdentity": "node-1"}});
    assert_eq!(
        row("coordination.k8s.io/v1", "Lease", lease),
        json!(["x", "node-1", "5m"])
    );
    assert_eq!(
        row("v1", "Namespace", json!({"status": {"phase": "Active"}})),
        json!(["x", "Active", "5m"])
    );
    let slice = json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [
        {"addresses": ["127.10.1.2"]}, {"addresses": ["127.10.1.3"]}]});
    let wanted = json!(["x", "IPv4", "80", "127.10.1.2,127.10.1.3", "5m"]);
    assert_eq!(row("discovery.k8s.io/v1", "EndpointSlice", slice), wanted);
    let empty = json!(["x", "IPv4", "<unset>", "<unset>", "5m"]);
    assert_eq!(
        row(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4"})
        ),
        empty
    );
}
