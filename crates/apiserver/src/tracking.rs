//! Who wrote what: `metadata.managedFields` of every object that is written.
//!
//! Flows in: the writer's name, the object before and after. Flows out: the object with its managedFields. The server's
//! own writes leave no trace. Which fields changed is `api::ownership`'s to find out.

use api::kind::{Subresource, Write};
use api::ownership::{self, Manager, Part, Writing};
use http::{HeaderMap, header};
use serde_json::Value;

use crate::call::Call;
use crate::metadata;
use crate::object::metadata_mut;
use crate::resource::Resource;
use crate::status::{Failure, Subject};

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

    /// Sets the managedFields of `new`. `sent` are those that the client sent, `kept` those that are stored.
    pub fn record(
        &self,
        resource: &Resource,
        write: Write,
        (old, kept): (&Value, Option<&Value>),
        (new, sent): (&mut Value, Option<Value>),
    ) {
        let list = match self {
            Self::Nobody => kept.cloned(),
            Self::Applied => sent,
            Self::Update(manager) => {
                let writing = Writing {
                    root: &resource.type_name,
                    manager,
                    part: part(resource, write),
                    now: &metadata::now(),
                };
                let base = base(manager, sent, kept);
                ownership::updated(&writing, old, new, base)
            }
        };
        if let Some(list) = list {
            metadata_mut(new).insert("managedFields".to_owned(), list);
        }
    }
}

/// The entries that a write begins with: a client may replace them, and empty them with `[{}]` or `[]`; one that does
/// not know them leaves them out.
fn base(manager: &Manager, sent: Option<Value>, kept: Option<&Value>) -> Option<Value> {
    let own = sent.filter(|_| manager.subresource.is_empty());
    let Some(own) = own.as_ref().and_then(Value::as_array) else {
        return kept.cloned();
    };
    let is_blank = |entry: &Value| entry.as_object().is_some_and(serde_json::Map::is_empty);
    if own.is_empty() || (own.len() == 1 && own.iter().all(is_blank)) {
        return None;
    }
    let own = Value::Array(own.clone());
    match ownership::read(&own) {
        Some(_) => Some(own),
        None => kept.cloned(),
    }
}

/// What a write may touch.
pub(crate) fn part(resource: &Resource, write: Write) -> Part {
    match write {
        Write::Status => Part::Status,
        Write::Main if resource.has(Subresource::Status) => Part::Main,
        Write::Main => Part::Whole,
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
        return Err(invalid_option("FieldValueTooLong", "fieldManager", why));
    }
    if name.chars().any(char::is_control) {
        let why = format!("Invalid value: {name:?}: should only contain printable characters");
        return Err(invalid_option("FieldValueInvalid", "fieldManager", why));
    }
    Ok(Some(name))
}

/// An option of a patch that is not valid.
pub(crate) fn invalid_option(reason: &'static str, field: &str, message: String) -> Failure {
    Failure::Invalid {
        subject: Subject {
            group: "meta.k8s.io".to_owned(),
            kind: "PatchOptions".to_owned(),
            name: String::new(),
        },
        causes: vec![api::kind::Cause {
            reason,
            message,
            field: field.to_owned(),
        }],
    }
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
        let manager = Manager::default();
        let kept = json!([{"manager": "a", "operation": "Update", "fieldsV1": {}}]);
        let sent = json!([{"manager": "b", "operation": "Apply", "fieldsV1": {}}]);
        let of = |sent: Option<Value>| base(&manager, sent, Some(&kept));
        assert_eq!(of(None), Some(kept.clone()));
        assert_eq!(of(Some(json!([{}]))), None);
        assert_eq!(of(Some(json!([]))), None);
        assert_eq!(of(Some(sent.clone())), Some(sent));
        assert_eq!(of(Some(json!([{"manager": "b"}]))), Some(kept.clone()));
    }
}
