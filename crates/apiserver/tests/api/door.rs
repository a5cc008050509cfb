//! A server on a temporary store, and short words for asking it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use coracle_apiserver::{
    ApiServer, Body, Config, Identity, Network, NodeDirectory, NodeService, TokenKey, Version, full,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::{Service, ServiceExt, service_fn};

/// A server that lives as long as the test.
pub struct Door {
    pub api: ApiServer,
    pub store: Arc<store::Sqlite>,
    _folder: TempDir,
}

/// Agents that answer every request with its path: what they were asked is what the test wants to know.
struct Echo;

impl NodeDirectory for Echo {
    fn node(&self, name: &str) -> Option<NodeService> {
        let echo =
            service_fn(
                |request: Request<Body>| async move { Ok(Response::new(full(request.uri().to_string()))) },
            );
        (name == "node-1").then(|| NodeService::new(echo))
    }
}

pub fn config() -> Config {
    Config {
        service_network: Network {
            address: Ipv4Addr::new(127, 96, 0, 0),
            prefix: 24,
        },
        node_ports: 30000..=30005,
        address: ([127, 0, 0, 1], 7443).into(),
        authority: "the authority".to_owned(),
        token_key: TokenKey::random(),
        version: Version::default(),
    }
}

impl Door {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(store::Sqlite::open(&folder.path().join("test.db")).unwrap());
        let api = ApiServer::start(store.clone(), config(), Arc::new(Echo))
            .await
            .unwrap();
        Self {
            api,
            store,
            _folder: folder,
        }
    }

    /// Sends a request as the admin.
    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        let mut service = self.api.service(Identity::new("admin", &["system:masters"]));
        service.ready().await.unwrap().call(request).await.unwrap()
    }

    /// Sends a request with a body of a media type, and reads the whole answer.
    pub async fn ask_as(&self, method: Method, path: &str, media: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media);
        self.answer(request.body(full(body.to_owned())).unwrap()).await
    }

    /// Sends a request as the admin, and reads the whole answer.
    pub async fn answer(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.send(request).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into()),
        )
    }

    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        self.ask_as(method, path, "application/json", &body.to_string())
            .await
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask_as(Method::GET, path, "application/json", "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.ask(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.ask(Method::PUT, path, body).await
    }

    pub async fn delete(&self, path: &str, options: &Value) -> (StatusCode, Value) {
        self.ask(Method::DELETE, path, options).await
    }

    pub async fn patch(&self, path: &str, kind: &str, patch: &Value) -> (StatusCode, Value) {
        self.ask_as(
            Method::PATCH,
            path,
            &format!("application/{kind}-patch+json"),
            &patch.to_string(),
        )
        .await
    }

    /// Makes an object that must be accepted.
    pub async fn make(&self, path: &str, body: &Value) -> Value {
        let (status, object) = self.post(path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{object}");
        object
    }

    /// Opens a watch that must be accepted.
    pub async fn watch(&self, path: &str) -> Lines {
        let request = Request::get(path).body(full("")).unwrap();
        let response = self.send(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        Lines {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }
}

/// The lines of a watch.
pub struct Lines {
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event as its type and the object's name.
    pub async fn next_name(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const SERVICES: &str = "/api/v1/namespaces/default/services";
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub fn config_map(name: &str, labels: Value) -> Value {
    json!({ "metadata": { "name": name, "labels": labels }, "data": { "a": "1" } })
}

pub fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "main", "image": "nginx" }] } })
}

pub fn deployment(name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": "nginx:1.7.9" }] },
            },
        },
    })
}

/// Gives a pod a node.
pub async fn bind(door: &Door, name: &str) -> (StatusCode, Value) {
    let binding = json!({ "metadata": { "name": name }, "target": { "kind": "Node", "name": "node-1" } });
    door.post(&format!("{PODS}/{name}/binding"), &binding).await
}
