//! Tables: lists made for a terminal, and lists of nothing but metadata.
//!
//! Flows in: stored objects. Flows out: `Table` and `PartialObjectMetadata(List)` as JSON. Columns and cells are the
//! kind's.

use api::kind::Column;
use serde_json::{Value, json};

use crate::list::Listed;
use crate::object::{Object, push_json};
use crate::query::{self, LIST_OPTIONS, Query};
use crate::resource::Resource;
use crate::status::Failure;

/// How much of the object comes with each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// Kind and metadata.
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// Reads `includeObject`.
    pub fn parse(query: &Query) -> Result<Self, Failure> {
        match query.get("includeObject") {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => {
                let allowed = ["Metadata", "None", "Object"];
                let cause = query::unsupported("includeObject", other, &allowed);
                Err(Failure::invalid_options(LIST_OPTIONS, vec![cause]))
            }
        }
    }
}

/// Kind and metadata of an object.
pub(crate) fn metadata_only(object: &Value) -> Vec<u8> {
    let mut out =
        b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":".to_vec();
    push_json(&mut out, &object["metadata"]);
    out.push(b'}');
    out
}

/// Appends a `PartialObjectMetadataList`.
pub(crate) fn write_metadata_list(resource: &Resource, page: &Listed, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":",
    );
    page.write_metadata(out);
    out.extend_from_slice(b",\"items\":[");
    for (at, entry) in page.entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&metadata_only(&Object::from(&**entry).to_value(resource)));
    }
    out.extend_from_slice(b"]}");
}

/// Appends a list as a `Table`.
pub(crate) fn write_list(resource: &Resource, page: &Listed, include: Include, out: &mut Vec<u8>) {
    out.extend_from_slice(OPEN);
    page.write_metadata(out);
    write_columns(resource.kind.columns, out);
    for (at, entry) in page.entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_row(resource, &Object::from(&**entry), include, out);
    }
    out.extend_from_slice(CLOSE);
}

/// One object as a `Table`.
pub(crate) fn of_one(resource: &Resource, object: &Object, include: Include) -> Vec<u8> {
    let mut out = OPEN.to_vec();
    out.extend_from_slice(format!("{{\"resourceVersion\":\"{}\"}}", object.revision).as_bytes());
    write_columns(resource.kind.columns, &mut out);
    write_row(resource, object, include, &mut out);
    out.extend_from_slice(CLOSE);
    out
}

const OPEN: &[u8] = b"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":";
const CLOSE: &[u8] = b"]}";

/// Appends a `Table` of objects that are not stored, each with its cells.
pub(crate) fn write_answer(
    columns: &[Column],
    rows: &[(Vec<Value>, &Value)],
    include: Include,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(OPEN);
    out.extend_from_slice(b"{}");
    write_columns(columns, out);
    for (at, (cells, object)) in rows.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let mut row = json!({ "cells": cells });
        match include {
            Include::None => {}
            Include::Metadata => {
                row["object"] = json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] });
            }
            Include::Object => row["object"] = (*object).clone(),
        }
        push_json(out, &row);
    }
    out.extend_from_slice(CLOSE);
}

fn write_columns(columns: &[Column], out: &mut Vec<u8>) {
    let columns = columns.iter().enumerate().map(|(at, column)| {
        let format = if at == 0 { "name" } else { "" };
        json!({
            "name": column.name,
            "type": column.kind,
            "format": format,
            "description": column.name,
            "priority": column.priority,
        })
    });
    out.extend_from_slice(b",\"columnDefinitions\":");
    push_json(out, &columns.collect::<Vec<_>>());
    out.extend_from_slice(b",\"rows\":[");
}

fn write_row(resource: &Resource, object: &Object, include: Include, out: &mut Vec<u8>) {
    // The managedFields of thousands of rows are of no use to a terminal.
    let (value, _) = object.split(resource);
    out.extend_from_slice(b"{\"cells\":");
    push_json(
        out,
        &(resource.kind.cells)(&value, jiff::Timestamp::now().as_second()),
    );
    match include {
        Include::None => {}
        Include::Metadata => {
            out.extend_from_slice(b",\"object\":");
            out.extend_from_slice(&metadata_only(&value));
        }
        Include::Object => {
            out.extend_from_slice(b",\"object\":");
            object.write_to(resource, out);
        }
    }
    out.push(b'}');
}

/// The tables of a watch: one a change, with the columns only in the first.
pub(crate) struct TableWatch {
    include: Include,
    columns_sent: bool,
}

impl TableWatch {
    /// A watch that has sent nothing yet.
    pub fn new(include: Include) -> Self {
        Self {
            include,
            columns_sent: false,
        }
    }

    /// Appends a table with one row.
    pub fn write(&mut self, resource: &Resource, object: &Object, out: &mut Vec<u8>) {
        out.extend_from_slice(OPEN);
        out.extend_from_slice(format!("{{\"resourceVersion\":\"{}\"}}", object.revision).as_bytes());
        self.write_columns(resource, out);
        write_row(resource, object, self.include, out);
        out.extend_from_slice(CLOSE);
    }

    /// Appends a table that carries a bookmark's metadata in the place of a row's object.
    pub fn write_bookmark(&mut self, resource: &Resource, metadata: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(OPEN);
        out.extend_from_slice(metadata.as_bytes());
        self.write_columns(resource, out);
        let row = format!(
            "{{\"cells\":[],\"object\":{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{metadata}}}}}"
        );
        out.extend_from_slice(row.as_bytes());
        out.extend_from_slice(CLOSE);
    }

    fn write_columns(&mut self, resource: &Resource, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.columns_sent, true) {
            out.extend_from_slice(b",\"columnDefinitions\":null,\"rows\":[");
        } else {
            write_columns(resource.kind.columns, out);
        }
    }
}
