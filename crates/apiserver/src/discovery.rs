//! Discovery: which kinds there are and what can be done with them.
//!
//! Flows in: the table of kinds, and the reviews. Flows out: the old documents (one per group and version) and the
//! aggregated one. Made once at start; the table does not change.

mod index;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use api::kind::Subresource;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::body::{self, Response};
use crate::metrics;
use crate::negotiate;
use crate::path::Path;
use crate::resource::{Registry, Resource};
use crate::review::REVIEWS;
use crate::status::Failure;

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The documents, ready to be sent.
#[derive(Debug)]
pub(crate) struct Discovery {
    /// `/`, `/api`, `/apis`, `/apis/<group>`, `/apis/<group>/<version>` ...
    documents: HashMap<String, Bytes>,
    /// For `/api` and `/apis`, in the aggregated form.
    aggregated: HashMap<&'static str, Aggregated>,
}

#[derive(Debug)]
struct Aggregated {
    body: Bytes,
    etag: String,
}

/// One line of discovery: a resource or a subresource.
struct Entry {
    /// `deployments`, `deployments/scale`
    name: String,
    namespaced: bool,
    singular: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    verbs: Vec<&'static str>,
    /// Group, version and kind of what is read and written there.
    response: (&'static str, &'static str, &'static str),
}

/// Entries by group and version.
type Groups = BTreeMap<(&'static str, &'static str), Vec<Entry>>;

impl Discovery {
    /// Makes the documents.
    pub fn new(registry: &Registry, address: &str) -> Self {
        let groups = groups(registry);
        let mut documents = HashMap::new();
        let mut add =
            |path: String, document: &Value| documents.insert(path, Bytes::from(document.to_string()));
        let address = json!([{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }]);
        add(
            "/api".to_owned(),
            &json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": address }),
        );
        let named = versions(&groups);
        let named = named.iter().filter(|(group, _)| !group.is_empty());
        let list: Vec<Value> = named
            .clone()
            .map(|(group, versions)| api_group(group, versions, false))
            .collect();
        add(
            "/apis".to_owned(),
            &json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": list }),
        );
        for (group, versions) in named {
            add(format!("/apis/{group}"), &api_group(group, versions, true));
        }
        for ((group, version), entries) in &groups {
            let (path, group_version) = match *group {
                "" => (format!("/api/{version}"), (*version).to_owned()),
                group => (format!("/apis/{group}/{version}"), format!("{group}/{version}")),
            };
            let resources: Vec<Value> = entries.iter().map(|entry| entry.legacy(group, version)).collect();
            let list = json!({
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": group_version,
                "resources": resources,
            });
            add(path, &list);
        }
        documents.insert("/".to_owned(), index::of(documents.keys()));
        let aggregated =
            [("/api", true), ("/apis", false)].map(|(path, core)| (path, aggregate(&groups, core)));
        Self {
            documents,
            aggregated: HashMap::from(aggregated),
        }
    }

    /// Answers a discovery path.
    pub fn respond(&self, path: &Path, headers: &HeaderMap) -> Result<Response, Failure> {
        let path = match path {
            Path::Index => "/".to_owned(),
            Path::CoreVersions => "/api".to_owned(),
            Path::Groups => "/apis".to_owned(),
            Path::Group(group) => format!("/apis/{group}"),
            Path::Resources { group, version } if group.is_empty() => format!("/api/{version}"),
            Path::Resources { group, version } => format!("/apis/{group}/{version}"),
            _ => return Err(Failure::NoSuchPath),
        };
        let mut response = match self.aggregated.get(path.as_str()) {
            Some(aggregated) if negotiate::wants_aggregated(headers) => aggregated.respond(headers),
            _ => {
                let document = self.documents.get(&path).ok_or(Failure::NoSuchPath)?;
                body::json(StatusCode::OK, document.clone())
            }
        };
        response
            .headers_mut()
            .insert(header::VARY, HeaderValue::from_static("Accept"));
        Ok(response)
    }
}

impl Aggregated {
    fn respond(&self, headers: &HeaderMap) -> Response {
        let known = headers
            .get(header::IF_NONE_MATCH)
            .is_some_and(|tag| tag.as_bytes() == self.etag.as_bytes());
        let mut response = if known {
            body::typed(StatusCode::NOT_MODIFIED, AGGREGATED, Bytes::new())
        } else {
            body::typed(StatusCode::OK, AGGREGATED, self.body.clone())
        };
        if let Ok(etag) = self.etag.parse() {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

fn groups(registry: &Registry) -> Groups {
    let mut groups = Groups::new();
    for resource in registry.all() {
        let kind = resource.kind;
        groups
            .entry((kind.group, kind.version))
            .or_default()
            .extend(entries(resource));
    }
    for review in &REVIEWS {
        groups.entry((review.group, "v1")).or_default().push(Entry {
            name: review.plural.to_owned(),
            namespaced: review.namespaced,
            singular: "",
            short_names: &[],
            categories: &[],
            verbs: vec!["create"],
            response: (review.group, "v1", review.kind),
        });
    }
    for usage in &metrics::ALL {
        groups
            .entry((metrics::GROUP, metrics::VERSION))
            .or_default()
            .push(Entry {
                name: usage.plural.to_owned(),
                namespaced: usage.namespaced,
                singular: "",
                short_names: &[],
                categories: &[],
                verbs: vec!["get", "list"],
                response: (metrics::GROUP, metrics::VERSION, usage.kind),
            });
    }
    for entries in groups.values_mut() {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    groups
}

/// A kind, its subresources, and the collection `bindings` where it can be bound.
fn entries(resource: &Resource) -> Vec<Entry> {
    let kind = resource.kind;
    let own = (kind.group, kind.version, kind.kind);
    let kind_has = |verb: &str| verb != "deletecollection" || !kind.one_by_one;
    let mut entries = vec![Entry {
        name: kind.plural.to_owned(),
        namespaced: kind.namespaced,
        singular: kind.singular,
        short_names: kind.short_names,
        categories: kind.categories,
        verbs: VERBS.into_iter().filter(|verb| kind_has(verb)).collect(),
        response: own,
    }];
    let part = |name: String, response, verbs| Entry {
        name,
        namespaced: kind.namespaced,
        singular: "",
        short_names: &[],
        categories: &[],
        verbs,
        response,
    };
    for subresource in kind.subresources {
        let (name, response, verbs) = match subresource {
            Subresource::Status => ("status", own, vec!["get", "patch", "update"]),
            Subresource::EphemeralContainers => ("ephemeralcontainers", own, vec!["get", "patch", "update"]),
            Subresource::Scale => (
                "scale",
                ("autoscaling", "v1", "Scale"),
                vec!["get", "patch", "update"],
            ),
            Subresource::Binding => ("binding", ("", "v1", "Binding"), vec!["create"]),
            Subresource::Eviction => ("eviction", ("policy", "v1", "Eviction"), vec!["create"]),
            Subresource::Log => ("log", own, vec!["get"]),
            Subresource::Exec => ("exec", ("", "v1", "PodExecOptions"), vec!["create", "get"]),
            Subresource::Attach => ("attach", ("", "v1", "PodAttachOptions"), vec!["create", "get"]),
            Subresource::PortForward => (
                "portforward",
                ("", "v1", "PodPortForwardOptions"),
                vec!["create", "get"],
            ),
            Subresource::Proxy => {
                let options = match kind.plural {
                    "pods" => "PodProxyOptions",
                    "nodes" => "NodeProxyOptions",
                    _ => "ServiceProxyOptions",
                };
                let verbs = vec!["create", "delete", "get", "patch", "update"];
                ("proxy", ("", "v1", options), verbs)
            }
            Subresource::Finalize => ("finalize", own, vec!["update"]),
            Subresource::Token => {
                let request = ("authentication.k8s.io", "v1", "TokenRequest");
                ("token", request, vec!["create"])
            }
        };
        entries.push(part(format!("{}/{name}", kind.plural), response, verbs));
        if *subresource == Subresource::Binding {
            entries.push(part("bindings".to_owned(), response, vec!["create"]));
        }
    }
    entries
}

impl Entry {
    fn legacy(&self, group: &str, version: &str) -> Value {
        let (response_group, response_version, kind) = self.response;
        let mut entry = json!({
            "name": self.name,
            "singularName": self.singular,
            "namespaced": self.namespaced,
            "kind": kind,
            "verbs": self.verbs,
        });
        if (response_group, response_version) != (group, version) {
            entry["group"] = response_group.into();
            entry["version"] = response_version.into();
        }
        self.add_names(&mut entry);
        entry
    }

    fn add_names(&self, entry: &mut Value) {
        if !self.short_names.is_empty() {
            entry["shortNames"] = json!(self.short_names);
        }
        if !self.categories.is_empty() {
            entry["categories"] = json!(self.categories);
        }
    }

    fn response_kind(&self) -> Value {
        let (group, version, kind) = self.response;
        json!({ "group": group, "version": version, "kind": kind })
    }

    fn aggregated(&self, parts: &[&Self]) -> Value {
        let mut entry = json!({
            "resource": self.name,
            "responseKind": self.response_kind(),
            "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": self.singular,
            "verbs": self.verbs,
        });
        self.add_names(&mut entry);
        let parts: Vec<Value> = parts.iter().map(|part| part.aggregated_part()).collect();
        if !parts.is_empty() {
            entry["subresources"] = parts.into();
        }
        entry
    }

    fn aggregated_part(&self) -> Value {
        json!({
            "subresource": self.name.split_once('/').map_or("", |(_, part)| part),
            "responseKind": self.response_kind(),
            "verbs": self.verbs,
        })
    }
}

/// The versions of each group, the preferred one, which is the latest, first.
fn versions(groups: &Groups) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for (group, version) in groups.keys().rev() {
        versions.entry(*group).or_default().push(*version);
    }
    versions
}

fn api_group(group: &str, versions: &[&str], alone: bool) -> Value {
    let version =
        |version: &&str| json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    let versions: Vec<Value> = versions.iter().map(version).collect();
    let preferred = versions.first();
    let mut document = json!({ "name": group, "versions": versions, "preferredVersion": preferred });
    if alone {
        document["kind"] = "APIGroup".into();
        document["apiVersion"] = "v1".into();
    }
    document
}

/// All groups in one document: the core group at `/api`, the others at `/apis`.
fn aggregate(groups: &Groups, core: bool) -> Aggregated {
    let versions = versions(groups);
    let wanted = versions.iter().filter(|(group, _)| group.is_empty() == core);
    let items = wanted.map(|(group, versions)| {
        let version = |version: &&'static str| {
            let resources = groups.get(&(*group, *version)).map(|entries| aggregated(entries));
            json!({ "version": version, "resources": resources, "freshness": "Current" })
        };
        let versions: Vec<Value> = versions.iter().map(version).collect();
        let mut metadata = json!({ "creationTimestamp": null });
        if !group.is_empty() {
            metadata["name"] = (*group).into();
        }
        json!({
            "metadata": metadata,
            "versions": versions,
        })
    });
    let items: Vec<Value> = items.collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    let body = Bytes::from(document.to_string());
    let etag = format!("\"{}\"", digest(&body));
    Aggregated { body, etag }
}

/// The resources of one group and version, each with its subresources.
fn aggregated(entries: &[Entry]) -> Vec<Value> {
    let resources = entries.iter().filter(|entry| !entry.name.contains('/'));
    let resources = resources.map(|entry| {
        let prefix = format!("{}/", entry.name);
        let parts: Vec<&Entry> = entries
            .iter()
            .filter(|part| part.name.starts_with(&prefix))
            .collect();
        entry.aggregated(&parts)
    });
    resources.collect()
}

/// A short name for the content of a document.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016X}", hasher.finish())
}
