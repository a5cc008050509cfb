//! OpenAPI, v3 and v2: what kubectl reads before `apply`, `explain` and server-side dry runs.
//!
//! Flows in: the kinds' schemas, those of measured kinds too. Flows out: an index and one document per group and version, built when first asked for.
//! Paths are listed with what kubectl looks up on them: the kind, the action and the query parameters of writes.

mod gnostic;
mod measured;
mod version2;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use api::kind::Subresource;
use bytes::Bytes;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::body::{self, Response};
use crate::discovery::digest;
use crate::resource::{Registry, Resource};
use crate::status::Failure;

/// The documents, once they have been asked for.
#[derive(Debug, Default)]
pub(crate) struct OpenApi {
    index: OnceLock<Bytes>,
    documents: Mutex<BTreeMap<String, Bytes>>,
    /// Version 2, as JSON and as protobuf.
    json: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
}

/// The kinds of each document, by its name: `api/v1`, `apis/apps/v1`.
fn documents(registry: &Registry) -> BTreeMap<String, Vec<Arc<Resource>>> {
    let mut documents: BTreeMap<String, Vec<Arc<Resource>>> = BTreeMap::new();
    for resource in registry.all() {
        documents
            .entry(root(resource))
            .or_default()
            .push(resource.clone());
    }
    documents
}

/// `api/v1`, `apis/apps/v1`
fn root(resource: &Resource) -> String {
    let folder = if resource.kind.group.is_empty() {
        "api"
    } else {
        "apis"
    };
    format!("{folder}/{}", resource.api_version)
}

impl OpenApi {
    /// The index of documents. The hash stands for the build: documents change only with it.
    pub fn index(&self, registry: &Registry) -> Result<Response, Failure> {
        let index = self.index.get_or_init(|| {
            let names: Vec<String> = documents(registry)
                .into_keys()
                .chain([measured::document()])
                .collect();
            let build = digest(format!("{}{names:?}", env!("CARGO_PKG_VERSION")).as_bytes());
            let paths = names.into_iter().map(|name| {
                let url = format!("/openapi/v3/{name}?hash={build}");
                (name, json!({ "serverRelativeURL": url }))
            });
            json!({ "paths": paths.collect::<Map<_, _>>() })
                .to_string()
                .into()
        });
        Ok(body::json(StatusCode::OK, index.clone()))
    }

    /// One document.
    pub fn document(&self, registry: &Registry, version: &str, name: &str) -> Result<Response, Failure> {
        let known = self.documents.lock().get(name).cloned();
        if let Some(document) = known {
            return Ok(body::json(StatusCode::OK, document));
        }
        let mut content = Content::default();
        match documents(registry).remove(name) {
            Some(resources) => content.add(&resources),
            None if name == measured::document() => measured::add(&mut content),
            None => return Err(Failure::NoSuchPath),
        }
        let document = json!({
            "openapi": "3.0.0",
            "info": { "title": "Kubernetes", "version": version },
            "paths": content.paths,
            "components": { "schemas": content.schemas },
        });
        let document = Bytes::from(document.to_string());
        self.documents.lock().insert(name.to_owned(), document.clone());
        Ok(body::json(StatusCode::OK, document))
    }
}

/// The media type of OpenAPI v2 as protobuf, as it is answered.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

impl OpenApi {
    /// OpenAPI v2: as protobuf for those who ask for that, else as JSON.
    pub fn version_2(
        &self,
        registry: &Registry,
        version: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Failure> {
        let asked = headers
            .get(ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .unwrap_or_default();
        let json = || version2::build(registry, version);
        let (media, document) = if asked.contains("com.github.proto-openapi.spec.v2") {
            let document = self.protobuf.get_or_init(|| gnostic::document(&json()).into());
            (PROTOBUF, document)
        } else {
            let document = self.json.get_or_init(|| json().to_string().into());
            ("application/json", document)
        };
        let etag = format!("\"{}\"", digest(document));
        let known = headers
            .get(IF_NONE_MATCH)
            .is_some_and(|tag| tag.as_bytes() == etag.as_bytes());
        let mut response = if known {
            body::typed(StatusCode::NOT_MODIFIED, media, Bytes::new())
        } else {
            body::typed(StatusCode::OK, media, document.clone())
        };
        if let Ok(etag) = etag.parse() {
            response.headers_mut().insert(ETAG, etag);
        }
        response
            .headers_mut()
            .insert(VARY, HeaderValue::from_static("Accept"));
        Ok(response)
    }
}

/// What a document says.
#[derive(Default)]
struct Content {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Content {
    /// Adds kinds of one group and version.
    fn add(&mut self, resources: &[Arc<Resource>]) {
        for resource in resources {
            add_paths(&mut self.paths, &Published::of(resource));
        }
        let schemas = resources
            .first()
            .map(|resource| api::openapi::schemas(resource.kind.group, resource.kind.version));
        self.schemas.extend(schemas.into_iter().flatten());
    }
}

/// What the paths of a kind are made of.
struct Published<'a> {
    /// `apis/apps/v1`
    root: String,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    plural: &'a str,
    namespaced: bool,
    /// `io.k8s.api.apps.v1.Deployment`
    type_name: String,
    /// Whether a whole collection cannot be deleted.
    one_by_one: bool,
    /// The parts of an object that can be written by themselves; `None` if nothing at all can be written.
    parts: Option<Vec<&'static str>>,
}

impl<'a> Published<'a> {
    fn of(resource: &'a Resource) -> Self {
        let kind = resource.kind;
        let parts = [
            (Subresource::Status, "status"),
            (Subresource::EphemeralContainers, "ephemeralcontainers"),
        ];
        let parts = parts.into_iter().filter(|(part, _)| resource.has(*part));
        Self {
            root: root(resource),
            group: kind.group,
            version: kind.version,
            kind: kind.kind,
            plural: kind.plural,
            namespaced: kind.namespaced,
            type_name: resource.type_name.clone(),
            one_by_one: kind.one_by_one,
            parts: Some(parts.map(|(_, name)| name).collect()),
        }
    }
}

fn add_paths(paths: &mut Map<String, Value>, kind: &Published<'_>) {
    let Published { root, plural, .. } = kind;
    let folder = if kind.namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    let collection = format!("/{root}/{folder}{plural}");
    let own_path = ["namespace", "name"];
    let own_path = if kind.namespaced {
        &own_path[..]
    } else {
        &own_path[1..]
    };
    let mut item = |path: String, parameters: &[&str], operations: &[(&str, &str)]| {
        let mut entry = Map::new();
        // Reading is always the first.
        let operations = if kind.parts.is_some() {
            operations
        } else {
            &operations[..1]
        };
        for (method, action) in operations {
            entry.insert((*method).to_owned(), operation(kind, action));
        }
        let parameters: Vec<Value> = parameters.iter().map(|name| path_parameter(name)).collect();
        entry.insert("parameters".to_owned(), parameters.into());
        paths.insert(path, Value::Object(entry));
    };
    let in_collection = [("get", "list"), ("post", "post"), ("delete", "deletecollection")];
    let actions = in_collection.len() - usize::from(kind.one_by_one);
    item(
        collection.clone(),
        &own_path[..own_path.len() - 1],
        &in_collection[..actions],
    );
    let of_one = [
        ("get", "get"),
        ("put", "put"),
        ("patch", "patch"),
        ("delete", "delete"),
    ];
    item(format!("{collection}/{{name}}"), own_path, &of_one);
    for part in kind.parts.iter().flatten() {
        item(format!("{collection}/{{name}}/{part}"), own_path, &of_one[..3]);
    }
    if kind.namespaced {
        item(format!("/{root}/{plural}"), &[], &in_collection[..1]);
    }
}

fn operation(kind: &Published<'_>, action: &str) -> Value {
    let reference = json!({ "$ref": format!("#/components/schemas/{}", kind.type_name) });
    let mut operation = json!({
        "operationId": format!("{action}{}", kind.kind),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": { "group": kind.group, "version": kind.version, "kind": kind.kind },
        "responses": { "200": { "description": "OK", "content": { "application/json": { "schema": reference } } } },
    });
    if matches!(action, "post" | "put" | "patch") {
        let parameters = ["dryRun", "fieldManager", "fieldValidation"].map(query_parameter);
        operation["parameters"] = parameters.to_vec().into();
        let (media, schema) = match action {
            "patch" => (
                "application/strategic-merge-patch+json",
                json!({ "type": "object" }),
            ),
            _ => ("*/*", reference),
        };
        operation["requestBody"] = json!({ "content": { media: { "schema": schema } }, "required": true });
    }
    operation
}

fn query_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } })
}

fn path_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "uniqueItems": true } })
}
