//! What the API server asks a node: a container's log, and commands to be run in a container.
//!
//! Flows in: the client's own request, on the paths of upstream's kubelet (`/containerLogs/...`, `/exec/...`). Flows out:
//! bytes, or an upgraded connection that is served here. Errors are Status objects. Never writes anything.

mod exec;
mod line;
mod log_query;
mod logs;

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, header};
use informer::{Informer, Key};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use std::sync::Arc;

/// Any error, as tower passes them on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of requests and responses.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
/// Answers requests about the node's containers.
pub type NodeService = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A request that cannot be answered as asked: the code and message of a Status.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    code: StatusCode,
    message: String,
}

impl Refusal {
    fn bad_request(message: impl Into<String>) -> Self {
        Self {
            code: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self {
            code: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }

    fn internal(error: impl std::fmt::Display) -> Self {
        Self {
            code: StatusCode::INTERNAL_SERVER_ERROR,
            message: error.to_string(),
        }
    }

    fn response(&self) -> Response<Body> {
        let reason = match self.code {
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::NOT_FOUND => "NotFound",
            _ => "InternalError",
        };
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": reason, "code": self.code.as_u16(),
        });
        let mut response = Response::new(full(status.to_string()));
        *response.status_mut() = self.code;
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A container that a request is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The pod's folder.
    dir: PathBuf,
    pod: Arc<Pod>,
    container: String,
}

impl Subject {
    fn pod_name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    fn status(&self) -> Option<&ContainerStatus> {
        let status = self.pod.status.as_ref()?;
        let all = status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .flatten();
        all.into_iter().find(|status| status.name == self.container)
    }
}

/// The service of a node whose pods have their folders in `pods_dir`.
pub fn service(pods: Informer<Pod>, pods_dir: PathBuf) -> NodeService {
    NodeService::new(tower::service_fn(move |request| {
        let (pods, pods_dir) = (pods.clone(), pods_dir.clone());
        async move {
            let answer = answer(&pods, pods_dir, request).await;
            Ok(answer.unwrap_or_else(|refusal| refusal.response()))
        }
    }))
}

async fn answer(
    pods: &Informer<Pod>,
    pods_dir: PathBuf,
    request: Request<Body>,
) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let &[action, namespace, name, container] = parts.as_slice() else {
        return Err(Refusal::not_found(format!("no such path: {path}")));
    };
    let key = Key {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let missing = || Refusal::not_found(format!("pods \"{name}\" not found"));
    let pod = pods.get(&key).ok_or_else(missing)?;
    let spec = pod.spec.as_ref().ok_or_else(missing)?;
    let mut containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    if !containers.any(|other| other.name == container) {
        return Err(Refusal::bad_request(format!(
            "container {container} is not valid for pod {name}"
        )));
    }
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let subject = Subject {
        dir: pods_dir.join(uid),
        container: container.to_owned(),
        pod,
    };
    match action {
        "containerLogs" => logs::answer(&subject, request.uri().query().unwrap_or_default()),
        "exec" => exec::answer(subject, request).await,
        _ => Err(Refusal::not_found(format!("no such path: {path}"))),
    }
}
