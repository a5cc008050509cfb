//! Who wrote what: `metadata.managedFields` of every object that is written.
//!
//! Flows in: the writer's name, the object before and after. Flows out: the object with its managedFields. The server's
//! own writes leave no trace. Which fields changed is `api::ownership`'s to find out.

use std::borrow::Cow;

use api::kind::{Subresource, Write};
use api::ownership::{self, Entry, Manager, Part, Writing};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::Value;

use crate::call::Call;
use crate::metadata;
use crate::resource::Resource;
use crate::status::Failure;

/// The longest name of a manager, in bytes; upstream's.
const MAX_NAME: usize = 128;

/// How a write is recorded.
#[derive(Clone, Debug)]
pub(crate) enum Tracking {
    /// Not at all: it is the server's own.
    Nobody,
    /// The manager owns what it changed.
    Update(Manager),
    /// The entries come with the object: an apply has worked them out.
    Applied,
}

impl Tracking {
    /// The tracking of a request that writes an object, or the part of it that has a path of its own.
    pub fn of(call: &Call, subresource: &str) -> Result<Self, Failure> {
        let name = match asked_name(call)? {
            Some(name) => name.to_owned(),
            None => agent(&call.headers).unwrap_or_else(|| default_name(&call.user).to_owned()),
        };
        Ok(Self::Update(manager(&call.resource, name, subresource)))
    }

    /// The managedFields of `new`, as text. `sent` are those that the client sent, `kept` those that are stored.
    pub fn record<'a>(
        &self,
        resource: &Resource,
        write: Write,
        (old, kept): (&Value, Option<&'a [u8]>),
        (new, sent): (&Value, Option<Value>),
    ) -> Option<Cow<'a, [u8]>> {
        let kept = kept.map(Cow::Borrowed);
        let manager = match self {
            Self::Nobody => return kept,
            Self::Applied => return sent.map(|list| list.to_string().into_bytes().into()),
            Self::Update(manager) => manager,
        };
        let writing = Writing {
            root: &resource.type_name,
            manager,
            part: part(resource, write),
            now: &metadata::now(),
        };
        let base = match sent.filter(|_| manager.subresource.is_empty()) {
            Some(sent) => replaced(&sent, kept),
            None => kept,
        };
        let list = || base.as_deref().map(entries).unwrap_or_default();
        match ownership::updated(&writing, old, new, list) {
            Some(list) if list.is_empty() => None,
            Some(list) => serde_json::to_vec(&list).ok().map(Cow::Owned),
            None => base,
        }
    }
}

/// A client may replace the entries, and empty them with `[{}]` or `[]`.
fn replaced<'a>(sent: &Value, kept: Option<Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
    let is_blank = |entry: &Value| entry.as_object().is_some_and(serde_json::Map::is_empty);
    match sent.as_array().map(Vec::as_slice) {
        Some([]) => None,
        Some([entry]) if is_blank(entry) => None,
        _ if Vec::<Entry>::deserialize(sent).is_ok() => Some(sent.to_string().into_bytes().into()),
        _ => kept,
    }
}

/// Reads managedFields. What cannot be read owns nothing.
pub(crate) fn entries(text: &[u8]) -> Vec<Entry> {
    serde_json::from_slice(text).unwrap_or_default()
}

/// What a write may touch.
pub(crate) fn part(resource: &Resource, write: Write) -> Part {
    match write {
        Write::Status => Part::Status,
        _ if resource.has(Subresource::Status) => Part::Main,
        _ => Part::Whole,
    }
}

/// A manager of fields of this kind.
pub(crate) fn manager(resource: &Resource, name: String, subresource: &str) -> Manager {
    Manager {
        name,
        subresource: subresource.to_owned(),
        api_version: resource.api_version.clone(),
    }
}

/// The `fieldManager` that a request asks for.
pub(crate) fn asked_name(call: &Call) -> Result<Option<&str>, Failure> {
    let Some(name) = call.query.get("fieldManager") else {
        return Ok(None);
    };
    if name.len() > MAX_NAME {
        let why = format!("Too long: may not be more than {MAX_NAME} bytes");
        return Err(Failure::invalid_option(
            call.options,
            "FieldValueTooLong",
            "fieldManager",
            why,
        ));
    }
    if name.chars().any(char::is_control) {
        let why = format!("Invalid value: {name:?}: should only contain printable characters");
        return Err(Failure::invalid_option(
            call.options,
            "FieldValueInvalid",
            "fieldManager",
            why,
        ));
    }
    Ok(Some(name))
}

/// What the client calls itself, up to the slash: `kubectl/v1.36.2 (linux/amd64)` is `kubectl`.
fn agent(headers: &HeaderMap) -> Option<String> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
    let name = agent.split('/').next().unwrap_or_default();
    let name: String = name
        .chars()
        .filter(|letter| !letter.is_control())
        .take(MAX_NAME)
        .collect();
    (!name.is_empty()).then_some(name)
}

/// The name of a writer that gives none, which the components of this process do not.
fn default_name(user: &str) -> &str {
    match user.strip_prefix("system:") {
        Some(node) if node.starts_with("node:") => "kubelet",
        Some(component) => component,
        None if user.is_empty() => "unknown",
        None => user,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writers_have_names() {
        let mut headers = HeaderMap::new();
        assert_eq!(agent(&headers), None);
        let value = "kubectl/v1.36.2 (linux/amd64) kubernetes/abc";
        headers.insert(header::USER_AGENT, value.parse().unwrap());
        assert_eq!(agent(&headers).as_deref(), Some("kubectl"));
        assert_eq!(default_name("system:node:node-1"), "kubelet");
        assert_eq!(default_name("system:kube-scheduler"), "kube-scheduler");
        assert_eq!(default_name(""), "unknown");
    }

    #[test]
    fn clients_may_reset_the_entries() {
        let kept = br#"[{"manager":"a","operation":"Update","fieldsV1":{}}]"#;
        let sent = json!([{"manager": "b", "operation": "Apply", "fieldsV1": {}}]);
        let of = |sent: &Value| replaced(sent, Some(Cow::Borrowed(kept)));
        assert_eq!(of(&json!([{}])), None);
        assert_eq!(of(&json!([])), None);
        assert_eq!(of(&sent), Some(sent.to_string().into_bytes().into()));
        assert_eq!(of(&json!([{"manager": "b"}])), Some(Cow::Borrowed(&kept[..])));
    }
}
