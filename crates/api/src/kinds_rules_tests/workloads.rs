//! What runs pods, and what decides how many of them may run.

use serde_json::{Value, json};

use super::*;

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
    assert_eq!(object["status"], json!({ "replicas": 0, "availableReplicas": 0 }));
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
fn selectors() {
    let mismatch = "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`";
    let missing = "spec.selector: Required value";
    let empty = |kind: &str| {
        format!(
            "spec.selector: Invalid value: {{\"matchLabels\":{{}}}}: empty selector is invalid for {kind}"
        )
    };
    let operator =
        "spec.selector.matchExpressions[0].operator: Invalid value: \"x\": not a valid selector operator";
    let shown = r#"spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"x"}]}"#;
    for (kind, called, of_missing, unparsed) in [
        (
            "Deployment",
            "deployment",
            vec![missing, mismatch],
            Some(": invalid label selector"),
        ),
        (
            "ReplicaSet",
            "deployment",
            vec![missing, mismatch],
            Some(": invalid label selector"),
        ),
        ("StatefulSet", "statefulset", vec![missing, mismatch], Some("")),
        ("DaemonSet", "daemonset", vec![mismatch], None),
    ] {
        let refused = |selector: Value| workload(kind, json!({ "selector": selector })).1;
        assert_eq!(refused(json!(null)), of_missing, "{kind}");
        assert_eq!(refused(json!({ "matchLabels": {} })), [empty(called)], "{kind}");
        let unknown = json!({ "matchExpressions": [{ "key": "app", "operator": "x" }] });
        let mut wanted = vec![operator.to_owned()];
        wanted.extend(unparsed.map(|detail| format!("{shown}{detail}")));
        assert_eq!(refused(unknown), wanted, "{kind}");
    }
}

#[test]
fn daemon_sets() {
    let object = good(workload("DaemonSet", json!({})));
    let templates = "deprecated.daemonset.template.generation";
    assert_eq!(object["metadata"]["annotations"], json!({ templates: "1" }));
    let kind = by_kind("apps/v1", "DaemonSet").unwrap();
    let written = |change: fn(&mut Value)| {
        let mut new = object.clone();
        new["metadata"]["annotations"] = json!({});
        change(&mut new);
        (kind.prepare)(&mut new, Some(&object), Write::Main);
        new["metadata"]["annotations"][templates].clone()
    };
    assert_eq!(written(|new| new["spec"]["minReadySeconds"] = json!(3)), "1");
    assert_eq!(
        written(|new| new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other")),
        "2"
    );
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
fn indexed_jobs() {
    let job = |mut spec: Value| {
        spec["template"] = template("Never");
        created(
            "batch/v1",
            "Job",
            json!({ "metadata": { "name": "a.b" }, "spec": spec }),
        )
        .1
    };
    for (spec, wanted) in [
        (
            json!({ "completionMode": "Indexed", "completions": 2 }),
            vec![
                "metadata.name: Invalid value: \"a.b\": will not able to create pod with invalid DNS label: a.b-1",
            ],
        ),
        (
            json!({ "managedBy": "me" }),
            vec![
                "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ],
        ),
        (
            json!({ "maxFailedIndexes": 1 }),
            vec![
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
            ],
        ),
        (
            json!({ "completionMode": "x" }),
            vec![
                "spec.completionMode: Unsupported value: \"x\": supported values: \"NonIndexed\", \"Indexed\"",
            ],
        ),
    ] {
        assert_eq!(job(spec.clone()), wanted, "{spec}");
    }
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
        (&object["status"], &spec["jobTemplate"]["metadata"]),
        (&json!({}), &json!({}))
    );
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
    let metrics = json!([
        { "type": "Object", "object": { "describedObject": { "kind": "Service", "name": "" }, "metric": { "name": "a/b" },
            "target": { "type": "Value" } } },
        { "type": "External", "external": { "metric": { "name": "m" },
            "target": { "type": "Value", "value": "1", "averageValue": "1" } } },
    ]);
    assert_eq!(
        make(json!({ "maxReplicas": 1, "metrics": metrics })).1,
        [
            "spec.metrics[0].object.describedObject.name: Required value",
            "spec.metrics[0].object.metric.name: Invalid value: \"a/b\": may not contain '/'",
            "spec.metrics[0].object.target.averageValue: Required value: must set either a target value or averageValue",
            "spec.metrics[1].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target",
        ]
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
fn names_with_dots() {
    let why = |used_in: &str| {
        format!(
            "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"
        )
    };
    let metadata = json!({ "name": "a.b" });
    let selector = json!({ "matchLabels": { "app": "a" } });
    let always = json!({ "selector": selector, "template": template("Always") });
    let never = json!({ "template": template("Never") });
    let cron = json!({ "schedule": "* * * * *", "jobTemplate": { "spec": never } });
    let pod = template("Always")["spec"].clone();
    let names = "Pod names and hostnames";
    for (version, kind, spec, used_in) in [
        ("v1", "Pod", pod, "the Pod's hostname"),
        (
            "v1",
            "ReplicationController",
            json!({ "template": template("Always") }),
            names,
        ),
        ("apps/v1", "Deployment", always.clone(), names),
        ("apps/v1", "ReplicaSet", always, names),
        ("batch/v1", "Job", never, names),
        ("batch/v1", "CronJob", cron, names),
    ] {
        let object = json!({ "metadata": metadata, "spec": spec });
        assert_eq!(warned(version, kind, object), [why(used_in)], "{kind}");
    }
}
