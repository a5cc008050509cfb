//! Requests to the API server with untyped objects: what kube's typed client has no word for.
//!
//! Flows in: a [`Resource`], names, JSON. Flows out: JSON and [`Table`]s. Decides nothing.

use futures::Stream;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use kube::Client;
use kube::core::WatchEvent;
use kube::core::params::{GetParams, ListParams, WatchParams};
use kube::core::request::Request as Paths;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::catalogue::Resource;
use super::failure;
use super::table::Table;

/// Asks for a table, and for plain JSON from a server that has none.
const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// How the server is to read a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 7386.
    Merge,
    /// Kubernetes' own: lists are merged by key.
    Strategic,
}

impl PatchType {
    fn content_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// Objects of one kind in one namespace, or in all (`namespace: None`) for reading.
#[derive(Clone)]
pub struct Objects<'a> {
    client: &'a Client,
    path: String,
}

impl<'a> Objects<'a> {
    /// The objects of `resource`; `namespace` is ignored for kinds that are cluster-scoped.
    pub fn new(client: &'a Client, resource: &Resource, namespace: Option<&str>) -> Self {
        Self {
            client,
            path: resource.path(namespace),
        }
    }

    /// One object.
    ///
    /// # Errors
    /// When the server does not answer or there is no such object.
    pub async fn get(&self, name: &str) -> kube::Result<Value> {
        self.request(Paths::new(&self.path).get(name, &GetParams::default()))
            .await
    }

    /// One object, or `None` if the server has none of that name.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn find(&self, name: &str) -> kube::Result<Option<Value>> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if failure::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects that `params` select, as a List object.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn list(&self, params: &ListParams) -> kube::Result<Value> {
        self.request(Paths::new(&self.path).list(params)).await
    }

    /// One object as a table of one row.
    ///
    /// # Errors
    /// When the server does not answer or there is no such object.
    pub async fn get_table(&self, name: &str) -> kube::Result<Table> {
        self.request(as_table(Paths::new(&self.path).get(name, &GetParams::default())))
            .await
    }

    /// The objects that `params` select as a table.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn list_table(&self, params: &ListParams) -> kube::Result<Table> {
        self.request(as_table(Paths::new(&self.path).list(params))).await
    }

    /// Changes after `version`, each as a table of one row.
    ///
    /// # Errors
    /// When the server refuses the watch.
    pub async fn watch_table(
        &self,
        params: &WatchParams,
        version: &str,
    ) -> kube::Result<impl Stream<Item = kube::Result<WatchEvent<Table>>> + use<>> {
        let request = as_table(Paths::new(&self.path).watch(params, version));
        self.client
            .request_events(request.map_err(kube::Error::BuildRequest)?)
            .await
    }

    /// Creates `object`; the server refuses unknown fields.
    ///
    /// # Errors
    /// When the server does not answer or refuses the object.
    pub async fn create(&self, object: &Value, manager: &str) -> kube::Result<Value> {
        let request = Request::post(format!(
            "{}?fieldManager={manager}&fieldValidation=Strict",
            self.path
        ))
        .header(CONTENT_TYPE, "application/json");
        self.send(request, object).await
    }

    /// Changes the object `name`, or a part of it with a path of its own (`web/scale`).
    ///
    /// # Errors
    /// When the server does not answer or refuses the change.
    pub async fn patch(
        &self,
        name: &str,
        kind: PatchType,
        patch: &Value,
        manager: &str,
    ) -> kube::Result<Value> {
        let uri = format!(
            "{}/{name}?fieldManager={manager}&fieldValidation=Strict",
            self.path
        );
        self.send(
            Request::patch(uri).header(CONTENT_TYPE, kind.content_type()),
            patch,
        )
        .await
    }

    /// Deletes the object `name` with the given DeleteOptions.
    ///
    /// # Errors
    /// When the server does not answer or there is no such object.
    pub async fn delete(&self, name: &str, options: &Value) -> kube::Result<Value> {
        let request =
            Request::delete(format!("{}/{name}", self.path)).header(CONTENT_TYPE, "application/json");
        self.send(request, options).await
    }

    async fn send(&self, request: http::request::Builder, body: &Value) -> kube::Result<Value> {
        let body = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
        self.client
            .request(request.body(body).map_err(kube::Error::HttpError)?)
            .await
    }

    async fn request<T: DeserializeOwned>(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> kube::Result<T> {
        self.client
            .request(request.map_err(kube::Error::BuildRequest)?)
            .await
    }
}

fn as_table(
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Request<Vec<u8>>, kube::core::request::Error> {
    request.map(|mut request| {
        request
            .headers_mut()
            .insert(ACCEPT, http::HeaderValue::from_static(AS_TABLE));
        request
    })
}
