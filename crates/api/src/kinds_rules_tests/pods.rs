//! What a pod's spec may say.

use serde_json::{Value, json};

use super::*;

/// What is wrong with a pod that has one container, with these fields.
fn pod(mut spec: Value, mut container: Value) -> Vec<String> {
    container["name"] = json!("c");
    container["image"] = json!("nginx");
    spec["containers"] = json!([container]);
    created("v1", "Pod", json!({ "spec": spec })).1
}

fn container(container: Value) -> Vec<String> {
    let volumes = json!([{ "name": "v" }, { "name": "i", "image": { "reference": "a" } },
        { "name": "p", "persistentVolumeClaim": { "claimName": "p" } }]);
    pod(json!({ "volumes": volumes }), container)
}

fn volume(mut volume: Value) -> Vec<String> {
    volume["name"] = json!("v");
    pod(json!({ "volumes": [volume] }), json!({}))
}

#[test]
fn mounts_and_devices() {
    let list = "spec.containers[0].volumeMounts";
    for (mount, wanted) in [
        (
            json!({ "name": "v", "mountPropagation": "Bidirectional" }),
            vec![format!(
                "{list}.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"
            )],
        ),
        (
            json!({ "name": "v", "mountPropagation": "x" }),
            vec![format!(
                "{list}.mountPropagation: Unsupported value: \"x\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\""
            )],
        ),
        (
            json!({ "name": "v", "recursiveReadOnly": "Enabled", "mountPropagation": "HostToContainer" }),
            vec![
                format!("{list}.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
                format!(
                    "{list}.recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified"
                ),
            ],
        ),
        (
            json!({ "name": "i", "subPath": "a" }),
            vec![format!(
                "{list}[0].subPath: Invalid value: \"a\": not allowed in image volume sources"
            )],
        ),
        (
            json!({ "name": "" }),
            vec![
                format!("{list}[0].name: Required value"),
                format!("{list}[0].name: Not found: \"\""),
            ],
        ),
    ] {
        let mut mount = mount;
        mount["mountPath"] = json!("/m");
        assert_eq!(container(json!({ "volumeMounts": [mount] })), wanted, "{mount}");
    }
    let device = |name: &str, path: &str| json!({ "name": name, "devicePath": path });
    let list = "spec.containers[0].volumeDevices";
    assert_eq!(
        container(
            json!({ "volumeDevices": [device("p", "/dev/a"), device("p", "/dev/a"), device("v", "/../b"), device("x", "")] })
        ),
        [
            format!("{list}[1].name: Invalid value: \"p\": must be unique"),
            format!("{list}[1].devicePath: Invalid value: \"/dev/a\": must be unique"),
            format!(
                "{list}[2].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            ),
            format!("{list}[2].devicePath: Invalid value: \"/../b\": can not contain backsteps ('..')"),
            format!("{list}[3].name: Not found: \"x\""),
            format!("{list}[3].devicePath: Required value"),
        ]
    );
}

#[test]
fn volumes() {
    let path = "spec.volumes[0]";
    for (source, wanted) in [
        (
            json!({ "emptyDir": { "sizeLimit": "-1" }, "configMap": {} }),
            vec![
                "emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
                "configMap: Forbidden: may not specify more than 1 volume type",
            ],
        ),
        (
            json!({ "nfs": { "server": "", "path": "a" } }),
            vec![
                "nfs.server: Required value",
                "nfs.path: Invalid value: \"a\": must be an absolute path",
            ],
        ),
        (
            json!({ "csi": { "driver": "a.io", "nodePublishSecretRef": {} } }),
            vec!["csi.nodePublishSecretRef.name: Required value"],
        ),
        (json!({ "image": {} }), vec!["image.reference: Required value"]),
        (
            json!({ "ephemeral": {} }),
            vec!["ephemeral.volumeClaimTemplate: Required value"],
        ),
        (
            json!({ "ephemeral": { "volumeClaimTemplate": { "spec": { "accessModes": ["ReadWriteOnce"] } } } }),
            vec!["ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value"],
        ),
        (
            json!({ "downwardAPI": { "items": [{ "path": "a", "fieldRef": { "fieldPath": "status.podIP" } }] } }),
            vec![
                "downwardAPI.fieldRef.fieldPath: Unsupported value: \"status.podIP\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
            ],
        ),
        (
            json!({ "downwardAPI": { "items": [{ "path": "a", "resourceFieldRef": { "resource": "limits.cpu" } }] } }),
            vec!["downwardAPI.resourceFieldRef.containerName: Required value"],
        ),
    ] {
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|wanted| format!("{path}.{wanted}"))
            .collect();
        assert_eq!(volume(source.clone()), wanted, "{source}");
    }
}

#[test]
fn variables() {
    let variable = |source: Value| {
        let env = json!([{ "name": "A", "valueFrom": source }]);
        container(json!({ "env": env }))
    };
    let path = "spec.containers[0].env[0].valueFrom";
    assert_eq!(
        variable(json!({ "resourceFieldRef": { "resource": "limits.apples" } })),
        [format!(
            "{path}.resourceFieldRef.resource: Unsupported value: \"limits.apples\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\""
        )]
    );
    assert_eq!(
        variable(json!({ "resourceFieldRef": { "resource": "limits.cpu", "divisor": "1Mi" } })),
        [format!(
            "{path}.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"
        )]
    );
    let memory = json!({ "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } });
    assert_eq!(variable(memory), [""; 0]);
    assert_eq!(
        container(json!({ "envFrom": [{}] })),
        [
            "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"
        ]
    );
}

#[test]
fn the_rest_of_a_spec() {
    for (spec, wanted) in [
        (
            json!({ "dnsPolicy": "None" }),
            vec!["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            json!({ "dnsPolicy": "None", "dnsConfig": {} }),
            vec![
                "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
            ],
        ),
        (
            json!({ "dnsConfig": { "nameservers": ["x", "1.1.1.1", "1.1.1.2", "1.1.1.3"], "searches": [".", "_a.b."],
                "options": [{}] } }),
            vec![
                "spec.dnsConfig.nameservers: Invalid value: [\"x\",\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\"]: must not have more than 3 nameservers",
                "spec.dnsConfig.nameservers[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                "spec.dnsConfig.options[0]: Required value: must not be empty",
            ],
        ),
        (
            json!({ "os": { "name": "x" } }),
            vec!["spec.os: Unsupported value: \"x\": supported values: \"linux\", \"windows\""],
        ),
        (json!({ "terminationGracePeriodSeconds": -1 }), vec![]),
        (
            json!({ "overhead": { "pods": "1" } }),
            vec![
                "spec.overhead.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers",
            ],
        ),
        (
            json!({ "topologySpreadConstraints": [
                { "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 1 },
                { "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "nodeTaintsPolicy": "x" },
            ] }),
            vec![
                "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, ScheduleAnyway}\"",
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
                "spec.topologySpreadConstraints[1].nodeTaintsPolicy: Unsupported value: \"x\": supported values: \"Honor\", \"Ignore\"",
            ],
        ),
    ] {
        assert_eq!(pod(spec.clone(), json!({})), wanted, "{spec}");
    }
    let policy = json!({ "resizePolicy": [{ "resourceName": "pods", "restartPolicy": "NotRequired" }] });
    assert_eq!(
        container(policy),
        [
            "spec.containers[0].resizePolicy: Unsupported value: \"pods\": supported values: \"cpu\", \"memory\""
        ]
    );
    let probe = json!({ "exec": { "command": [] }, "httpGet": { "port": 0 } });
    assert_eq!(
        container(json!({ "livenessProbe": probe })),
        [
            "spec.containers[0].livenessProbe.exec.command: Required value",
            "spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
        ]
    );
}
