//! The served kinds by path, with what is worked out once for each.
//!
//! Flows in: the table of kinds. Flows out: look-ups. Adding a kind needs no change here.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use api::Kind;
use api::kind::Subresource;

use crate::path::ObjectPath;
use crate::status::Failure;

/// A kind as it is served.
pub(crate) struct Resource {
    /// Its row in the table.
    pub kind: &'static Kind,
    /// `apps/v1`
    pub api_version: String,
    /// What the type is called in OpenAPI: `io.k8s.api.apps.v1.Deployment`
    pub type_name: String,
    /// How every object begins when sent, and when stored unless this is a view:
    /// `{"kind":"Pod","apiVersion":"v1","metadata":{`
    pub head: String,
    /// How every object begins in the store.
    pub stored_head: String,
    /// How every key begins: `/core/pods/`
    pub prefix: String,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Resource {
    fn new(kind: &'static Kind) -> Self {
        let api_version = kind.api_version();
        let head = head(kind.kind, &api_version);
        let (group, plural, stored_head) = match &kind.stored_as {
            None => (kind.group, kind.plural, head.clone()),
            Some(stored) if stored.group.is_empty() => {
                ("", stored.plural, self::head(kind.kind, stored.version))
            }
            Some(stored) => {
                let stored_version = format!("{}/{}", stored.group, stored.version);
                (
                    stored.group,
                    stored.plural,
                    self::head(kind.kind, &stored_version),
                )
            }
        };
        let group = if group.is_empty() { "core" } else { group };
        Self {
            kind,
            type_name: (kind.type_name)().into_owned(),
            api_version,
            head,
            stored_head,
            prefix: format!("/{group}/{plural}/"),
        }
    }

    /// The key of an object; `namespace` is ignored for kinds without.
    pub fn key(&self, namespace: Option<&str>, name: &str) -> String {
        self.collection(namespace) + name
    }

    /// The prefix of a collection's keys.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) if self.kind.namespaced => format!("{}{namespace}/", self.prefix),
            _ => self.prefix.clone(),
        }
    }

    /// Namespace and name from a key; the namespace is empty for kinds without.
    pub fn split_key<'a>(&self, key: &'a str) -> (&'a str, &'a str) {
        let rest = key.get(self.prefix.len()..).unwrap_or_default();
        if self.kind.namespaced {
            rest.split_once('/').unwrap_or(("", rest))
        } else {
            ("", rest)
        }
    }

    /// Whether objects have a part of their own path.
    pub fn has(&self, part: Subresource) -> bool {
        self.kind.subresources.contains(&part)
    }

    /// Whether this is a certain kind: for the few that have rules of their own.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.kind.group == group && self.kind.plural == plural
    }
}

fn head(kind: &str, api_version: &str) -> String {
    format!("{{\"kind\":{kind:?},\"apiVersion\":{api_version:?},\"metadata\":{{")
}

/// All served kinds.
#[derive(Debug)]
pub(crate) struct Registry {
    all: Vec<Arc<Resource>>,
    by_path: HashMap<(&'static str, &'static str, &'static str), Arc<Resource>>,
}

impl Registry {
    /// The table of kinds, indexed.
    pub fn new(kinds: &'static [Kind]) -> Self {
        let all: Vec<Arc<Resource>> = kinds.iter().map(|kind| Arc::new(Resource::new(kind))).collect();
        let by_path = all.iter().map(|resource| {
            let kind = resource.kind;
            ((kind.group, kind.version, kind.plural), resource.clone())
        });
        Self {
            by_path: by_path.collect(),
            all,
        }
    }

    /// Every kind, in the table's order.
    pub fn all(&self) -> &[Arc<Resource>] {
        &self.all
    }

    /// The kind that a path names; its use of namespaces must fit the kind.
    pub fn at(&self, path: &ObjectPath) -> Result<Arc<Resource>, Failure> {
        let key = (path.group.as_str(), path.version.as_str(), path.plural.as_str());
        let resource = self.by_path.get(&key).ok_or(Failure::NoSuchPath)?;
        let fits = match (&path.namespace, resource.kind.namespaced) {
            (Some(_), namespaced) => namespaced,
            (None, true) => path.name.is_none(),
            (None, false) => true,
        };
        if fits {
            Ok(resource.clone())
        } else {
            Err(Failure::NoSuchPath)
        }
    }

    /// A kind that the server itself needs.
    pub fn get(&self, group: &'static str, plural: &'static str) -> Result<Arc<Resource>, Failure> {
        let key = (group, "v1", plural);
        let missing = || Failure::Internal(format!("the table of kinds has no {plural}"));
        self.by_path.get(&key).cloned().ok_or_else(missing)
    }
}
