//! Objects as stored bytes, and as the bytes that are sent.
//!
//! Flows in: JSON objects to store, store entries to send. Flows out: bytes. An object is serialised once, when it is
//! written, with its kind's fixed head and without a resourceVersion; sending splices the revision in right after
//! `"metadata":{`. Never parses on the way out, except for readers that ask for another form.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};
use store::Entry;

use crate::resource::Resource;

/// One version of an object: stored bytes and their revision.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// As stored: without a resourceVersion.
    pub bytes: Bytes,
    /// The revision to show; 0 for an object that was never stored (a dry run).
    pub revision: u64,
}

impl From<&Entry> for Object {
    fn from(entry: &Entry) -> Self {
        Self {
            bytes: entry.value.clone(),
            revision: entry.modified,
        }
    }
}

/// What selectors ask of an entry, worked out once for all readers. The store keeps it beside the entry.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// The kind's selectable fields.
    pub fields: Vec<(&'static str, String)>,
}

impl Memo {
    /// The memo of an object.
    pub fn new(resource: &Resource, object: &Value) -> Self {
        let labels = object["metadata"]["labels"].as_object();
        let labels = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        Self {
            labels: labels.collect(),
            fields: (resource.kind.fields)(object),
        }
    }

    /// The value of a selectable field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value.as_str())
    }

    /// The memo of a stored entry: parsed at the first question, shared afterwards.
    pub fn of<'a>(resource: &Resource, entry: &'a Entry) -> &'a Self {
        entry.memo(|entry| Self::new(resource, &Object::from(entry).split(resource).0))
    }

    /// The memo of an entry as a view shows it: the store keeps only that of the stored kind.
    pub fn of_view(resource: &Resource, entry: &Entry) -> Self {
        Self::new(resource, &Object::from(entry).to_value(resource))
    }
}

/// Serialises an object for the store: fixed head, managedFields, metadata without resourceVersion, then the other
/// fields.
pub(crate) fn encode(resource: &Resource, object: &Value) -> Bytes {
    encode_with(resource, object, None)
}

/// Serialises an object whose managedFields are at hand as text; `None`: they are in the object, if it has any.
pub(crate) fn encode_with(resource: &Resource, object: &Value, managers: Option<&[u8]>) -> Bytes {
    match &resource.kind.stored_as {
        None => write_object(&resource.stored_head, object, managers).into(),
        Some(view) => {
            let mut object = object.clone();
            (view.to_stored)(&mut object);
            write_object(&resource.stored_head, &object, managers).into()
        }
    }
}

/// What managedFields begin with: they come first in the metadata, so that readers who do not need them can skip them
/// without parsing.
const MANAGERS: &[u8] = b"\"managedFields\":";

fn write_object(head: &str, object: &Value, managers: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    out.extend_from_slice(head.as_bytes());
    let empty = Map::new();
    let metadata = object["metadata"].as_object().unwrap_or(&empty);
    let first = out.len();
    match (managers, metadata.get("managedFields")) {
        (Some(managers), _) => {
            out.extend_from_slice(MANAGERS);
            out.extend_from_slice(managers);
        }
        (None, Some(managers)) => {
            out.extend_from_slice(MANAGERS);
            push_json(&mut out, managers);
        }
        (None, None) => {}
    }
    let first = out.len() == first;
    write_members(&mut out, metadata, first, &["resourceVersion", "managedFields"]);
    out.push(b'}');
    let fields = object.as_object().unwrap_or(&empty);
    write_members(&mut out, fields, false, &["kind", "apiVersion", "metadata"]);
    out.push(b'}');
    out
}

/// Appends `"key":value` pairs, comma-separated; the first one without a comma if `first`.
fn write_members(out: &mut Vec<u8>, members: &Map<String, Value>, mut first: bool, except: &[&str]) {
    for (key, value) in members {
        if except.contains(&key.as_str()) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        push_json(out, key);
        out.push(b':');
        push_json(out, value);
    }
}

/// Appends a value as JSON.
pub(crate) fn push_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Writing JSON values to memory cannot fail: keys are strings and there is no I/O.
    let _ = serde_json::to_writer(out, value);
}

impl Object {
    /// Appends the object as it is sent on its own.
    pub fn write_to(&self, resource: &Resource, out: &mut Vec<u8>) {
        out.extend_from_slice(resource.head.as_bytes());
        self.write_rest(resource, out);
    }

    /// Appends the object as it is sent in a list, where kind and apiVersion are the list's to say.
    pub fn write_item(&self, resource: &Resource, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"metadata\":{");
        self.write_rest(resource, out);
    }

    fn write_rest(&self, resource: &Resource, out: &mut Vec<u8>) {
        if self.revision > 0 {
            out.extend_from_slice(b"\"resourceVersion\":\"");
            out.extend_from_slice(self.revision.to_string().as_bytes());
            out.extend_from_slice(b"\",");
        }
        if resource.kind.stored_as.is_some() {
            let shown = write_object(&resource.head, &self.to_value(resource), None);
            out.extend_from_slice(shown.get(resource.head.len()..).unwrap_or_default());
        } else {
            // Everything in the store was written by `encode`, so the head is there.
            out.extend_from_slice(self.bytes.get(resource.stored_head.len()..).unwrap_or_default());
        }
    }

    /// The object as sent, as bytes of its own.
    pub fn to_bytes(&self, resource: &Resource) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 40);
        self.write_to(resource, &mut out);
        out
    }

    /// The object as a value, with its resourceVersion.
    pub fn to_value(&self, resource: &Resource) -> Value {
        self.complete(resource, serde_json::from_slice(&self.bytes).unwrap_or_default())
    }

    /// The object as a value without its managedFields, and those as text. They are half of many an object, and most
    /// readers have no use for them.
    pub fn split(&self, resource: &Resource) -> (Value, Option<&[u8]>) {
        let rest = self.bytes.get(resource.stored_head.len()..).unwrap_or_default();
        let Some(list) = rest.strip_prefix(MANAGERS).and_then(list_at_start) else {
            return (self.to_value(resource), None);
        };
        let after = &rest[MANAGERS.len() + list.len()..];
        let mut text = Vec::with_capacity(self.bytes.len());
        text.extend_from_slice(resource.stored_head.as_bytes());
        text.extend_from_slice(after.strip_prefix(b",").unwrap_or(after));
        let value = serde_json::from_slice(&text).unwrap_or_default();
        (self.complete(resource, value), Some(list))
    }

    /// What is not stored: the revision, and the kind of a view.
    fn complete(&self, resource: &Resource, mut value: Value) -> Value {
        if let Some(view) = &resource.kind.stored_as {
            (view.from_stored)(&mut value);
            value["kind"] = resource.kind.kind.into();
            value["apiVersion"] = resource.api_version.as_str().into();
        }
        if self.revision > 0 {
            value["metadata"]["resourceVersion"] = self.revision.to_string().into();
        }
        value
    }
}

/// The JSON list that the text begins with.
fn list_at_start(text: &[u8]) -> Option<&[u8]> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' if !in_string => depth += 1,
            b']' if !in_string => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return text.get(..=at);
                }
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Takes the managedFields out of an object.
pub(crate) fn take_managers(object: &mut Value) -> Option<Value> {
    object
        .get_mut("metadata")?
        .as_object_mut()?
        .remove("managedFields")
}

/// The object's `metadata`, made where it is missing or no object.
pub(crate) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("made an object above")
}

/// A string of the object's metadata; empty where absent.
pub(crate) fn meta_str<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Whether deletion has begun.
pub(crate) fn is_terminating(object: &Value) -> bool {
    !meta_str(object, "deletionTimestamp").is_empty()
}

/// Whether anything still holds the object back from going.
pub(crate) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_list_is_found_without_parsing() {
        for (text, list) in [
            (r#"[{"a":"]\"["}],"b":1"#, Some(r#"[{"a":"]\"["}]"#)),
            ("[[],[]]}", Some("[[],[]]")),
            ("[", None),
            ("x[]", None),
            ("", None),
        ] {
            assert_eq!(list_at_start(text.as_bytes()), list.map(str::as_bytes), "{text}");
        }
    }
}
