//! Defaults, rules and cells of the kinds that nothing but users and their tools writes.

use serde_json::{Value, json};

use super::*;
use crate::kind::Write;

/// An object as it is stored when it is made, and what is wrong with it.
fn created(api_version: &str, kind: &str, mut object: Value) -> (Value, Vec<String>) {
    let row = by_kind(api_version, kind).unwrap();
    if object["metadata"]["name"].is_null() {
        object["metadata"]["name"] = "a".into();
    }
    if row.namespaced {
        object["metadata"]["namespace"] = "default".into();
    }
    object["metadata"]["uid"] = "u".into();
    let mut object = (row.decode)(object).unwrap().object;
    (row.default)(&mut object);
    (row.prepare)(&mut object, None, Write::Main);
    let causes = (row.validate)(&object, None, Write::Main);
    (object, causes.iter().map(said).collect())
}

fn said(cause: &crate::kind::Cause) -> String {
    format!("{}: {}", cause.field, cause.message)
}

/// What is wrong with a change.
fn changed(old: &Value, change: impl Fn(&mut Value)) -> Vec<String> {
    let text = |field: &str| old[field].as_str().unwrap();
    let row = by_kind(text("apiVersion"), text("kind")).unwrap();
    let mut new = old.clone();
    change(&mut new);
    (row.default)(&mut new);
    (row.prepare)(&mut new, Some(old), Write::Main);
    (row.validate)(&new, Some(old), Write::Main)
        .iter()
        .map(said)
        .collect()
}

/// A row of the table, without the age.
fn row(object: &Value) -> Vec<Value> {
    let text = |field: &str| object[field].as_str().unwrap();
    let row = by_kind(text("apiVersion"), text("kind")).unwrap();
    let cells = (row.cells)(object, 0).into_iter().zip(row.columns);
    let cells = cells.filter(|(_, column)| !matches!(column.name, "Age" | "Created At"));
    cells.map(|(cell, _)| cell).collect()
}

fn template(restart_policy: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "a" } },
        "spec": { "containers": [{ "name": "c", "image": "nginx" }], "restartPolicy": restart_policy },
    })
}

fn workload(kind: &str, spec: Value) -> (Value, Vec<String>) {
    let mut object = json!({ "spec": {
        "selector": { "matchLabels": { "app": "a" } }, "template": template("Always") } });
    if let (Some(fields), Value::Object(spec)) = (object["spec"].as_object_mut(), spec) {
        fields.extend(spec);
    }
    created("apps/v1", kind, object)
}

fn good((object, causes): (Value, Vec<String>)) -> Value {
    assert_eq!(causes, [""; 0]);
    object
}

#[test]
fn replication_controllers() {
    let spec = json!({ "spec": { "template": template("Always") } });
    let object = good(created("v1", "ReplicationController", spec));
    assert_eq!(object["spec"]["replicas"], 1);
    assert_eq!(object["spec"]["selector"], json!({ "app": "a" }));
    assert_eq!(object["metadata"]["labels"], json!({ "app": "a" }));
    assert_eq!(
        row(&object),
        [
            json!("a"),
            json!(1),
            json!(0),
            json!(0),
            json!("c"),
            json!("nginx"),
            json!("app=a")
        ]
    );
    let wrong = json!({ "spec": { "selector": { "app": "b" }, "template": template("Never") } });
    assert_eq!(
        created("v1", "ReplicationController", wrong).1,
        [
            "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`",
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ]
    );
}

#[test]
fn stateful_sets() {
    let claim = json!({ "metadata": { "name": "data" }, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
    let object = good(workload(
        "StatefulSet",
        json!({ "serviceName": "s", "volumeClaimTemplates": [claim] }),
    ));
    let spec = &object["spec"];
    assert_eq!(
        (&spec["replicas"], &spec["revisionHistoryLimit"]),
        (&json!(1), &json!(10))
    );
    assert_eq!(spec["podManagementPolicy"], "OrderedReady");
    assert_eq!(
        spec["updateStrategy"],
        json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } })
    );
    let retention = json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
    assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], retention);
    assert_eq!(
        spec["volumeClaimTemplates"][0]["spec"]["volumeMode"],
        "Filesystem"
    );
    assert_eq!(row(&object), ["a", "0/1", "c", "nginx"]);
    assert_eq!(
        changed(&object, |new| new["spec"]["replicas"] = json!(3)),
        [""; 0]
    );
    let fixed = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    assert_eq!(
        changed(&object, |new| new["spec"]["serviceName"] = json!("t")),
        [fixed]
    );
    assert_eq!(
        workload(
            "StatefulSet",
            json!({ "podManagementPolicy": "x", "updateStrategy": { "type": "y" } })
        )
        .1,
        [
            "spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'",
            "spec.updateStrategy.type: Invalid value: \"y\": must be 'RollingUpdate' or 'OnDelete'",
        ]
    );
}

#[test]
fn daemon_sets() {
    let object = good(workload("DaemonSet", json!({})));
    assert_eq!(
        object["spec"]["updateStrategy"],
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } })
    );
    assert_eq!(
        row(&object)[..7],
        [
            json!("a"),
            json!(0),
            json!(0),
            json!(0),
            json!(0),
            json!(0),
            json!("<none>")
        ]
    );
    let both = json!({ "updateStrategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 1 } } });
    assert_eq!(
        workload("DaemonSet", both).1,
        [
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
        ]
    );
    let none = json!({ "updateStrategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": "0%" } } });
    assert_eq!(
        workload("DaemonSet", none).1,
        ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]
    );
}

#[test]
fn jobs() {
    let object = good(created(
        "batch/v1",
        "Job",
        json!({ "spec": { "template": template("Never") } }),
    ));
    let spec = &object["spec"];
    assert_eq!(
        (&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
        (&json!(1), &json!(1), &json!(6))
    );
    assert_eq!(
        spec["selector"],
        json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": "u" } })
    );
    assert_eq!(spec["template"]["metadata"]["labels"]["job-name"], "a");
    assert_eq!(row(&object)[..4], ["a", "Running", "0/1", ""]);
    let policy = "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"";
    assert_eq!(
        created(
            "batch/v1",
            "Job",
            json!({ "spec": { "template": template("Always") } })
        )
        .1,
        [policy]
    );
    let image = changed(&object, |new| {
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x");
    });
    assert!(
        image[0].starts_with("spec.template: Invalid value: ") && image[0].ends_with(": field is immutable")
    );
    assert_eq!(
        changed(&object, |new| new["spec"]["parallelism"] = json!(2)),
        [""; 0]
    );
    let own =
        json!({ "spec": { "selector": { "matchLabels": { "app": "a" } }, "template": template("Never") } });
    assert!(created("batch/v1", "Job", own).1[0].ends_with("`selector` not auto-generated"));
    let mut done = object;
    done["status"] = json!({ "succeeded": 1, "startTime": "2024-01-01T00:00:00Z", "completionTime": "2024-01-01T00:01:05Z",
        "conditions": [{ "type": "Complete", "status": "True" }] });
    assert_eq!(row(&done)[1..4], ["Complete", "1/1", "65s"]);
}

#[test]
fn cron_jobs() {
    let job = json!({ "spec": { "template": template("OnFailure") } });
    let cron = |schedule: &str, zone: &str| {
        let spec = json!({ "schedule": schedule, "timeZone": zone, "jobTemplate": job });
        created("batch/v1", "CronJob", json!({ "spec": spec }))
    };
    let object = good(cron("*/5 * * * *", "Etc/UTC"));
    let spec = &object["spec"];
    assert_eq!(
        (&spec["concurrencyPolicy"], &spec["successfulJobsHistoryLimit"]),
        (&json!("Allow"), &json!(3))
    );
    let cells = row(&object);
    assert_eq!(cells[..4], ["a", "*/5 * * * *", "Etc/UTC", "False"]);
    assert_eq!(cells[4..6], [json!(0), json!("<none>")]);
    assert_eq!(
        cron("* * * *", "Mars/Olympus").1,
        [
            "spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]",
            "spec.timeZone: Invalid value: \"Mars/Olympus\": unknown time zone Mars/Olympus",
        ]
    );
}

#[test]
fn autoscalers() {
    let target = json!({ "kind": "Deployment", "name": "web", "apiVersion": "apps/v1" });
    let make = |spec: Value| {
        let mut spec = spec;
        spec["scaleTargetRef"] = target.clone();
        created(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({ "spec": spec }),
        )
    };
    let object = good(make(
        json!({ "maxReplicas": 5, "behavior": { "scaleUp": { "stabilizationWindowSeconds": 7 } } }),
    ));
    assert_eq!(
        object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        80
    );
    let behavior = &object["spec"]["behavior"];
    assert_eq!(behavior["scaleUp"]["stabilizationWindowSeconds"], 7);
    assert_eq!(
        behavior["scaleUp"]["policies"][0],
        json!({ "type": "Pods", "value": 4, "periodSeconds": 15 })
    );
    assert_eq!(
        behavior["scaleDown"]["policies"],
        json!([{ "type": "Percent", "value": 100, "periodSeconds": 15 }])
    );
    assert_eq!(
        row(&object)[..4],
        ["a", "Deployment/web", "cpu: <unknown>/80%", "1"]
    );
    assert_eq!(
        make(json!({ "maxReplicas": 1, "minReplicas": 2 })).1,
        ["spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"]
    );
    let old = json!({ "maxReplicas": 4, "targetCPUUtilizationPercentage": 50, "scaleTargetRef": target });
    let old = good(created(
        "autoscaling/v1",
        "HorizontalPodAutoscaler",
        json!({ "spec": old }),
    ));
    assert_eq!(row(&old)[..4], ["a", "Deployment/web", "cpu: <unknown>/50%", "1"]);
}

#[test]
fn disruption_budgets() {
    let make = |spec: Value| created("policy/v1", "PodDisruptionBudget", json!({ "spec": spec }));
    let object = good(make(
        json!({ "minAvailable": "50%", "selector": { "matchLabels": { "app": "a" } } }),
    ));
    assert_eq!(row(&object), [json!("a"), json!("50%"), json!("N/A"), json!(0)]);
    assert_eq!(object["metadata"]["generation"], 1);
    let both = make(json!({ "minAvailable": 1, "maxUnavailable": 1 })).1;
    assert!(
        both[0].starts_with("spec: Invalid value: ")
            && both[0].ends_with(": minAvailable and maxUnavailable cannot be both set")
    );
    assert_eq!(
        make(json!({ "maxUnavailable": "101%" })).1,
        ["spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"]
    );
}

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
    let reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only";
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
fn quotas_and_limits() {
    let quota = |hard: Value| created("v1", "ResourceQuota", json!({ "spec": { "hard": hard } }));
    let object = good(quota(json!({ "pods": "10", "limits.cpu": "2" })));
    assert_eq!(row(&object), ["a", "pods: 0/0", "limits.cpu: 0/0"]);
    assert_eq!(
        quota(json!({ "pods": "1.5", "apples": "1" })).1,
        [
            "spec.hard[apples]: Invalid value: \"apples\": must be a standard resource for quotas",
            "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
        ]
    );
    let limits = |item: Value| created("v1", "LimitRange", json!({ "spec": { "limits": [item] } }));
    let object = good(limits(
        json!({ "type": "Container", "max": { "cpu": "2" }, "min": { "memory": "1Mi" } }),
    ));
    let item = &object["spec"]["limits"][0];
    assert_eq!(item["default"], json!({ "cpu": "2" }));
    assert_eq!(item["defaultRequest"], json!({ "cpu": "2", "memory": "1Mi" }));
    assert_eq!(
        limits(json!({ "type": "Pod", "max": { "cpu": "1" }, "min": { "cpu": "2" } })).1,
        ["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"]
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
            "spec: Required value: must specify a volume type",
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
            "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`: \"10.0.0.0/8\"",
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
