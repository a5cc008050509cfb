//! What the cells of several kinds' tables share. A kind's own cells are in its own module.
//!
//! Flows in: typed objects and the time. Flows out: JSON strings and integers as `kubectl get` shows them.

pub mod pod;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::Value;

use crate::duration;
use crate::kind::Column;
use crate::labels::Selector;

/// What an empty cell shows.
pub const NONE: &str = "<none>";

/// A column of text.
#[must_use]
pub const fn column(name: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        priority: 0,
    }
}

/// A column of integers.
#[must_use]
pub const fn number(name: &'static str) -> Column {
    Column {
        name,
        kind: "integer",
        priority: 0,
    }
}

/// A column of text that only `-o wide` shows.
#[must_use]
pub const fn wide(name: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        priority: 1,
    }
}

/// When an object was made, for kinds that upstream prints no columns of its own for.
pub const CREATED_AT: Column = Column {
    name: "Created At",
    kind: "date",
    priority: 0,
};

/// A column of `true` and `false`.
#[must_use]
pub const fn boolean(name: &'static str) -> Column {
    Column {
        name,
        kind: "boolean",
        priority: 0,
    }
}

/// NAME
#[must_use]
pub fn name(metadata: &ObjectMeta) -> Value {
    metadata.name.clone().unwrap_or_default().into()
}

/// AGE
#[must_use]
pub fn age(metadata: &ObjectMeta, now: i64) -> Value {
    duration::since(metadata.creation_timestamp.as_ref().map(|time| time.0), now).into()
}

/// CREATED AT
#[must_use]
pub fn created_at(metadata: &ObjectMeta) -> Value {
    let time = metadata.creation_timestamp.as_ref();
    time.map(|time| time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .into()
}

/// Labels as a selector is written, or `<none>`.
#[must_use]
pub fn labels(labels: Option<&BTreeMap<String, String>>) -> Value {
    let labels = labels.into_iter().flatten();
    let labels: Vec<_> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    or_none(Some(&labels.join(","))).into()
}

/// A status, or that the object is on its way out.
#[must_use]
pub fn or_terminating(metadata: &ObjectMeta, status: Option<&str>) -> Value {
    match metadata.deletion_timestamp {
        Some(_) => "Terminating".into(),
        None => status.unwrap_or_default().into(),
    }
}

/// The text, or `<none>`.
#[must_use]
pub fn or_none(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or(NONE).to_owned()
}

/// CONTAINERS and IMAGES
#[must_use]
pub fn containers(template: Option<&PodTemplateSpec>) -> [Value; 2] {
    let containers = template
        .and_then(|template| template.spec.as_ref())
        .map(|spec| spec.containers.as_slice());
    let containers = containers.unwrap_or_default();
    let names: Vec<_> = containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    let images: Vec<_> = containers
        .iter()
        .filter_map(|container| container.image.as_deref())
        .collect();
    [names.join(",").into(), images.join(",").into()]
}

/// SELECTOR of a workload.
#[must_use]
pub fn selector(selector: &LabelSelector) -> Value {
    let text = Selector::from_spec(selector).map(|selector| selector.to_string());
    or_none(text.ok().as_deref()).into()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
