//! Paths and names that would lead out of a folder, and upstream's words for them.

use serde_json::{Value, json};

use super::*;

/// What is wrong with a pod that has one volume and mounts it.
fn pod(volume: Value, mount: Value) -> Vec<String> {
    let mut volume = volume;
    volume["name"] = "v".into();
    let mut mount = mount;
    mount["name"] = "v".into();
    mount["mountPath"] = "/v".into();
    let container = json!({ "name": "c", "image": "nginx", "volumeMounts": [mount] });
    created(
        "v1",
        "Pod",
        json!({ "spec": { "containers": [container], "volumes": [volume] } }),
    )
    .1
}

fn volume(volume: Value) -> Vec<String> {
    pod(volume, json!({}))
}

fn mount(mount: Value) -> Vec<String> {
    pod(json!({ "emptyDir": {} }), mount)
}

fn invalid(field: &str, value: &str, details: &[&str]) -> Vec<String> {
    let said = |detail: &&str| format!("{field}: Invalid value: \"{value}\": {detail}");
    details.iter().map(said).collect()
}

const BACKSTEPS: &str = "must not contain '..'";
const ABSOLUTE: &str = "must be a relative path";
const RESERVED: &str = "must not start with '..'";

/// Paths of files in volumes, and what upstream says of each.
const FILES: [(&str, &[&str]); 8] = [
    ("a/b..c/d", &[]),
    ("../../x", &[BACKSTEPS]),
    ("a/../../x", &[BACKSTEPS]),
    ("a/..", &[BACKSTEPS]),
    ("..", &[BACKSTEPS, RESERVED]),
    ("..data", &[RESERVED]),
    ("/etc/passwd", &[ABSOLUTE]),
    ("/../x", &[ABSOLUTE, BACKSTEPS]),
];

#[test]
fn files_stay_in_their_volume() {
    let reference = json!({ "fieldPath": "metadata.name" });
    for (path, details) in FILES {
        let items = json!([{ "key": "k", "path": path }]);
        let file = json!([{ "path": path, "fieldRef": reference }]);
        let projected = |source: Value| json!({ "projected": { "sources": [source] } });
        let cases = [
            (
                json!({ "configMap": { "name": "m", "items": items } }),
                "configMap.items[0].path",
            ),
            (
                json!({ "secret": { "secretName": "s", "items": items } }),
                "secret.items[0].path",
            ),
            (json!({ "downwardAPI": { "items": file } }), "downwardAPI.path"),
            (
                projected(json!({ "configMap": { "name": "m", "items": items } })),
                "projected.sources[0].configMap.items[0].path",
            ),
            (
                projected(json!({ "secret": { "name": "s", "items": items } })),
                "projected.sources[0].secret.items[0].path",
            ),
            (
                projected(json!({ "downwardAPI": { "items": file } })),
                "projected.sources[0].downwardAPI.path",
            ),
            (
                projected(json!({ "serviceAccountToken": { "path": path } })),
                "projected.path",
            ),
        ];
        for (source, field) in cases {
            let field = format!("spec.volumes[0].{field}");
            assert_eq!(volume(source), invalid(&field, path, details));
        }
    }
}

#[test]
fn what_is_projected_is_whole_and_there_once() {
    let items = json!([{ "key": "k", "path": "a" }]);
    let sources = json!([
        { "configMap": { "name": "m", "items": items } },
        { "secret": { "name": "s", "items": items }, "downwardAPI": { "items": [{ "path": "" }] } },
    ]);
    assert_eq!(
        volume(json!({ "projected": { "sources": sources, "defaultMode": 0o1000 } })),
        [
            "spec.volumes[0].projected.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
            "spec.volumes[0].projected.sources[1].downwardAPI.path: Required value",
            "spec.volumes[0].projected.sources[1].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
            "spec.volumes[0].projected.sources[1]: Forbidden: may not specify more than 1 volume type per source",
            "spec.volumes[0].projected: Invalid value: \"s\": conflicting duplicate paths",
        ]
    );
}

#[test]
fn a_sub_path_stays_in_its_volume() {
    for (path, details) in FILES {
        let details: Vec<&str> = details
            .iter()
            .copied()
            .filter(|detail| *detail != RESERVED)
            .collect();
        for field in ["subPath", "subPathExpr"] {
            let place = format!("spec.containers[0].volumeMounts.{field}");
            assert_eq!(mount(json!({ field: path })), invalid(&place, path, &details));
        }
    }
    assert_eq!(
        mount(json!({ "subPath": "a", "subPathExpr": "b" })),
        invalid(
            "spec.containers[0].volumeMounts[0].subPathExpr",
            "b",
            &["subPathExpr and subPath are mutually exclusive"]
        )
    );
}

#[test]
fn a_path_of_this_machine_has_no_backsteps() {
    for path in ["/var/../etc", "..", "/.."] {
        let source = json!({ "path": path });
        assert_eq!(
            volume(json!({ "hostPath": source })),
            invalid("spec.volumes[0].hostPath.path", path, &[BACKSTEPS])
        );
        for field in ["hostPath", "local"] {
            let mut spec = json!({ "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"] });
            spec["nodeAffinity"] = json!({ "required": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "a", "operator": "Exists" }] }] } });
            spec[field] = source.clone();
            assert_eq!(
                created("v1", "PersistentVolume", json!({ "spec": spec })).1,
                invalid(&format!("spec.{field}.path"), path, &[BACKSTEPS])
            );
        }
    }
    assert_eq!(
        volume(json!({ "hostPath": { "path": "/a..b", "type": "Directory" } })),
        [""; 0]
    );
    assert_eq!(
        volume(json!({ "hostPath": { "path": "/a", "type": "Folder" } })),
        [
            "spec.volumes[0].hostPath.type: Unsupported value: \"Folder\": supported values: \"\", \"BlockDevice\", \
             \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""
        ]
    );
}

#[test]
fn names_are_no_paths() {
    for name in ["../x", "a/b", "..", "/etc"] {
        for field in ["containers", "initContainers"] {
            let mut spec = json!({ "containers": [{ "name": "c", "image": "nginx" }] });
            spec[field] = json!([{ "name": name, "image": "nginx" }]);
            let causes = created("v1", "Pod", json!({ "spec": spec })).1;
            let expected =
                format!("spec.{field}[0].name: Invalid value: \"{name}\": a lowercase RFC 1123 label");
            assert!(causes[0].starts_with(&expected), "{causes:?}");
        }
        let volumes = json!([{ "name": name, "emptyDir": {} }]);
        let spec = json!({ "containers": [{ "name": "c", "image": "nginx" }], "volumes": volumes });
        let causes = created("v1", "Pod", json!({ "spec": spec })).1;
        let expected = format!("spec.volumes[0].name: Invalid value: \"{name}\": a lowercase RFC 1123 label");
        assert!(causes[0].starts_with(&expected), "{causes:?}");
        for kind in ["ConfigMap", "Secret", "Pod", "Namespace", "Node"] {
            let causes = created("v1", kind, json!({ "metadata": { "name": name }, "spec": {} })).1;
            let expected = format!("metadata.name: Invalid value: \"{name}\": ");
            assert!(
                causes.iter().any(|cause| cause.starts_with(&expected)),
                "{kind}: {causes:?}"
            );
        }
    }
}

#[test]
fn keys_are_no_paths() {
    let words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    for kind in ["ConfigMap", "Secret"] {
        let with = |key: &str| created("v1", kind, json!({ "data": { key: "" } })).1;
        assert_eq!(with("a..b"), [""; 0]);
        for (key, details) in [
            ("..", &["must not be '..'"][..]),
            (".", &["must not be '.'"]),
            ("..data", &[RESERVED]),
            ("a/b", &[words]),
            ("../../x", &[words, RESERVED]),
        ] {
            assert_eq!(
                with(key),
                invalid(&format!("data[{key}]"), key, details),
                "{kind}"
            );
        }
    }
}
