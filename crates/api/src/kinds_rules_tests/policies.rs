//! What is about other objects: classes, volumes, networks, roles.

use serde_json::{Value, json};

use super::*;

#[test]
fn classes() {
    let priority = |value: Value| created("scheduling.k8s.io/v1", "PriorityClass", value);
    let object = good(priority(json!({ "value": 1000 })));
    assert_eq!(
        row(&object),
        [
            json!("a"),
            json!(1000),
            json!(false),
            json!("PreemptLowerPriority")
        ]
    );
    assert_eq!(
        changed(&object, |new| new["value"] = json!(1)),
        ["value: Forbidden: may not be changed in an update."]
    );
    assert_eq!(
        priority(json!({ "value": 1_000_000_001 })).1,
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
    );
    let system = json!({ "metadata": { "name": "system-x" }, "value": 1 });
    let reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class";
    assert_eq!(priority(system).1, [reserved]);

    let storage = json!({ "provisioner": "example.com/nfs", "metadata": { "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } } });
    let object = good(created("storage.k8s.io/v1", "StorageClass", storage));
    assert_eq!(
        row(&object),
        [
            json!("a (default)"),
            json!("example.com/nfs"),
            json!("Delete"),
            json!("Immediate"),
            json!(false)
        ]
    );
    assert_eq!(
        changed(&object, |new| new["parameters"] = json!({ "a": "b" })),
        ["parameters: Forbidden: updates to parameters are forbidden."]
    );
    let runtime = good(created(
        "node.k8s.io/v1",
        "RuntimeClass",
        json!({ "handler": "runc" }),
    ));
    assert_eq!(row(&runtime), ["a", "runc"]);
    assert_eq!(
        changed(&runtime, |new| new["handler"] = json!("kata")),
        ["handler: Invalid value: \"kata\": field is immutable"]
    );
    let ingress = json!({ "spec": { "controller": "example.com/ingress" } });
    assert_eq!(
        row(&good(created("networking.k8s.io/v1", "IngressClass", ingress))),
        ["a", "example.com/ingress", "<none>"]
    );
}

#[test]
fn volumes_and_claims() {
    let volume = json!({ "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/tmp" } } });
    let object = good(created("v1", "PersistentVolume", volume));
    assert_eq!(
        row(&object),
        [
            "a",
            "1Gi",
            "RWO",
            "Retain",
            "Pending",
            "",
            "",
            "<unset>",
            "",
            "Filesystem"
        ]
    );
    assert_eq!(
        changed(&object, |new| new["spec"]["hostPath"]["path"] = json!("/var")),
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]
    );
    assert_eq!(
        created(
            "v1",
            "PersistentVolume",
            json!({ "spec": { "accessModes": ["x"] } })
        )
        .1,
        [
            "spec.accessModes: Unsupported value: \"x\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "spec.capacity: Required value",
            "spec.capacity: Unsupported value: null: supported values: \"storage\"",
            "spec: Required value: must specify a volume type",
        ]
    );
    let both = json!({ "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "-1" }, "hostPath": { "path": "/a" },
        "local": { "path": "" } });
    assert_eq!(
        created("v1", "PersistentVolume", json!({ "spec": both })).1,
        [
            "spec.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
            "spec.capacity[storage]: Invalid value: \"-1\": must be greater than zero",
            "spec.local: Forbidden: may not specify more than 1 volume type",
        ]
    );
    let claim = json!({ "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
    let object = good(created("v1", "PersistentVolumeClaim", claim));
    assert_eq!(
        row(&object),
        ["a", "Pending", "", "", "", "", "<unset>", "Filesystem"]
    );
    assert!(
        changed(&object, |new| new["spec"]["storageClassName"] = json!("x"))[0]
            .starts_with("spec: Forbidden: spec is immutable after creation")
    );
    assert_eq!(
        created("v1", "PersistentVolumeClaim", json!({ "spec": {} })).1,
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ]
    );
    let negative =
        json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "-1" } } });
    assert_eq!(
        created("v1", "PersistentVolumeClaim", json!({ "spec": negative })).1,
        ["spec.resources[storage]: Invalid value: \"-1\": must be greater than zero"]
    );
}

#[test]
fn ingresses_and_policies() {
    let rule = |path: Value| json!({ "spec": { "rules": [{ "host": "a.example.com", "http": { "paths": [path] } }] } });
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    let object = good(created(
        "networking.k8s.io/v1",
        "Ingress",
        rule(json!({ "path": "/", "pathType": "Prefix", "backend": backend })),
    ));
    assert_eq!(row(&object), ["a", "<none>", "a.example.com", "", "80"]);
    assert_eq!(object["status"], json!({ "loadBalancer": {} }));
    let paths = "spec.rules[0].http.paths[0]";
    assert_eq!(
        created(
            "networking.k8s.io/v1",
            "Ingress",
            rule(json!({ "path": "x", "pathType": "Exact", "backend": { "service": { "name": "web" } } }))
        )
        .1,
        [
            format!("{paths}.path: Invalid value: \"x\": must be an absolute path"),
            format!("{paths}.backend: Required value: port name or number is required"),
        ]
    );
    assert_eq!(
        created("networking.k8s.io/v1", "Ingress", json!({ "spec": {} })).1,
        ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"]
    );
    let policy = json!({ "spec": { "podSelector": {}, "egress": [{ "to": [{ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } }], "ports": [{ "port": 53 }] }] } });
    let object = good(created("networking.k8s.io/v1", "NetworkPolicy", policy));
    assert_eq!(object["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(object["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(row(&object), ["a", "<none>"]);
    let outside = json!({ "spec": { "ingress": [{ "from": [{}, { "ipBlock": { "cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"] } }] }] } });
    assert_eq!(
        created("networking.k8s.io/v1", "NetworkPolicy", outside).1,
        [
            "spec.ingress[0].from[0]: Required value: must specify a peer",
            "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
        ]
    );
}

#[test]
fn roles_and_bindings() {
    let rbac = "rbac.authorization.k8s.io/v1";
    let rules = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }]);
    good(created(rbac, "Role", json!({ "rules": rules })));
    assert_eq!(
        created(
            rbac,
            "Role",
            json!({ "rules": [{ "verbs": [], "nonResourceURLs": ["/x"] }, { "verbs": ["get"] }] })
        )
        .1,
        [
            "rules[0].verbs: Required value: verbs must contain at least one value",
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
            "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[1].resources: Required value: resource rules must supply at least one resource",
        ]
    );
    let subjects =
        json!([{ "kind": "User", "name": "u" }, { "kind": "ServiceAccount", "name": "s", "namespace": "n" }]);
    let role = json!({ "kind": "Role", "name": "r" });
    let object = good(created(
        rbac,
        "RoleBinding",
        json!({ "roleRef": role, "subjects": subjects }),
    ));
    assert_eq!(object["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(row(&object), ["a", "Role/r", "u", "", "n/s"]);
    let other = changed(&object, |new| new["roleRef"]["name"] = json!("other"));
    assert!(
        other[0].starts_with("roleRef: Invalid value: ") && other[0].ends_with(": cannot change roleRef")
    );
    let cluster = created(rbac, "ClusterRoleBinding", json!({ "roleRef": role })).1;
    assert_eq!(
        cluster,
        ["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""]
    );
    let wrong =
        json!({ "roleRef": { "kind": "R", "name": "r" }, "subjects": [{ "kind": "S", "name": "s" }] });
    assert_eq!(
        created(rbac, "RoleBinding", wrong).1,
        [
            "roleRef.kind: Unsupported value: \"R\": supported values: \"Role\", \"ClusterRole\"",
            "subjects[0].kind: Unsupported value: \"S\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
        ]
    );
}

#[test]
fn subjects() {
    let refused = |kind: &str| {
        let subjects = json!([{ "kind": "ServiceAccount", "name": "A" }, { "kind": "User", "name": "" },
            { "kind": "Group", "name": "g", "apiGroup": "x" }]);
        let role = json!({ "kind": "ClusterRole", "name": "a/b" });
        let object = json!({ "roleRef": role, "subjects": subjects });
        created("rbac.authorization.k8s.io/v1", kind, object).1
    };
    let role = "roleRef.name: Invalid value: \"a/b\": may not contain '/'";
    let account = "subjects[0].name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let others = [
        "subjects[1].name: Required value",
        "subjects[1].name: Invalid value: \"\": user name cannot be empty",
        "subjects[2].apiGroup: Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\"",
    ];
    assert_eq!(refused("RoleBinding"), [&[role, account], &others[..]].concat());
    let namespace = "subjects[0].namespace: Required value";
    assert_eq!(
        refused("ClusterRoleBinding"),
        [&[role, account, namespace], &others[..]].concat()
    );
}

#[test]
fn what_classes_and_nodes_allow() {
    let runtime = json!({ "handler": "runc", "overhead": { "podFixed": { "apples": "1" } },
        "scheduling": { "tolerations": [{ "operator": "Exists" }, { "operator": "Exists" }] } });
    assert_eq!(
        created("node.k8s.io/v1", "RuntimeClass", runtime).1,
        [
            "overhead.limits[apples]: Invalid value: \"apples\": must be a standard resource type or fully qualified",
            "overhead.limits[apples]: Invalid value: \"apples\": must be a standard resource for containers",
            "scheduling.tolerations[1]: Duplicate value: {\"operator\":\"Exists\"}",
        ]
    );
    let zone = json!({ "key": "zone", "values": ["a", "a"] });
    let term = json!({ "matchLabelExpressions": [zone, { "key": "zone", "values": [] }] });
    let list = "allowedTopologies[0].matchLabelExpressions";
    assert_eq!(
        created(
            "storage.k8s.io/v1",
            "StorageClass",
            json!({ "provisioner": "a.io/b", "allowedTopologies": [term] })
        )
        .1,
        [
            format!("{list}[0].values[1]: Duplicate value: \"a\""),
            format!("{list}[1].values: Required value"),
            format!("{list}[1].key: Duplicate value: \"zone\""),
        ]
    );
    let taint = json!({ "key": "a", "effect": "NoSchedule" });
    let node = json!({ "spec": { "podCIDRs": ["10.0.0.0/8", "x"], "taints": [taint, taint] } });
    assert_eq!(
        created("v1", "Node", node).1,
        [
            "metadata.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: taints must be unique by key and effect pair",
            "spec.podCIDRs[1]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            "spec.podCIDRs: Invalid value: [\"10.0.0.0/8\",\"x\"]: may specify no more than one CIDR for each IP family",
        ]
    );
    let ingress = json!({ "metadata": { "annotations": { "kubernetes.io/ingress.class": "a" } },
        "spec": { "ingressClassName": "b", "defaultBackend": { "service": { "name": "s", "port": { "number": 80 } } } } });
    assert_eq!(
        created("networking.k8s.io/v1", "Ingress", ingress).1,
        [
            "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified"
        ]
    );
}

#[test]
fn what_is_old() {
    let annotated = json!({ "metadata": { "annotations": { "kubernetes.io/ingress.class": "a" } },
        "spec": { "defaultBackend": { "service": { "name": "s", "port": { "number": 80 } } } } });
    assert_eq!(
        warned("networking.k8s.io/v1", "Ingress", annotated),
        [
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
        ]
    );
    let volume = json!({ "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"],
        "hostPath": { "path": "/tmp" }, "persistentVolumeReclaimPolicy": "Recycle" } });
    assert_eq!(
        warned("v1", "PersistentVolume", volume),
        [
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."
        ]
    );
}

#[test]
fn plain_data() {
    let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "x", "controller": true });
    let revision =
        json!({ "metadata": { "ownerReferences": [owner] }, "data": { "spec": 1 }, "revision": 2 });
    let object = good(created("apps/v1", "ControllerRevision", revision));
    assert_eq!(row(&object), ["a", "statefulset.apps/db", "2"]);
    assert_eq!(
        changed(&object, |new| new["data"] = json!({ "spec": 2 })),
        ["data: Invalid value: {\"spec\":2}: field is immutable"]
    );
    let object = good(created(
        "v1",
        "PodTemplate",
        json!({ "template": template("Always") }),
    ));
    assert_eq!(row(&object), ["a", "c", "nginx", "app=a"]);
}
