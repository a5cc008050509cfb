//! Defaults, rules and cells of the kinds that nothing but users and their tools writes.

use serde_json::{Value, json};

use super::by_kind;
use crate::kind::{Verdict, Write};

mod paths;
mod pods;
mod policies;
mod quotas;
mod services;
mod workloads;

/// An object as it is stored when it is made, and what is wrong with it.
fn created(api_version: &str, kind: &str, object: Value) -> (Value, Vec<String>) {
    let (object, verdict) = judged(api_version, kind, object);
    (object, verdict.causes.iter().map(said).collect())
}

/// What the maker of an object is warned of.
fn warned(api_version: &str, kind: &str, object: Value) -> Vec<String> {
    let (_, verdict) = judged(api_version, kind, object);
    assert_eq!(verdict.causes, []);
    verdict.warnings
}

fn judged(api_version: &str, kind: &str, mut object: Value) -> (Value, Verdict) {
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
    let verdict = (row.validate)(&object, None, Write::Main);
    (object, verdict)
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
        .causes
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
