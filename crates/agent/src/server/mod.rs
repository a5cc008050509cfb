//! What the API server asks a node: a container's log, commands in a container, its main process, a pod's ports.
//!
//! Flows in: the client's own request, on the paths of upstream's kubelet (`/containerLogs/...`, `/exec/...`,
//! `/attach/...`, `/portForward/...`, `/stats/summary`). Flows out: bytes, or an upgraded connection that is served here. Errors are Status
//! objects. Never writes anything.

mod client;
mod codec;
mod exec;
mod forward_channels;
mod line;
mod log_query;
mod logs;
mod port_forward;
mod spdy;
mod terminal;
mod upgrade;

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, header};
use informer::{Informer, Key};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use std::sync::Arc;

use crate::keeper::protocol::Attempt;
use crate::keeper::record;
use crate::usage::Usage;
use port_forward::Destination;

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
    /// The stream protocols that would have been accepted, for SPDY clients to be told.
    accepted: &'static [&'static str],
}

impl Refusal {
    fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            accepted: &[],
        }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    fn response(&self) -> Response<Body> {
        let reason = match self.code {
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::NOT_FOUND => "NotFound",
            _ => "InternalError",
        };
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": reason, "code": self.code.as_u16(),
        });
        let mut response = Response::new(full(status.to_string()));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        let json = header::HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        for name in self.accepted {
            headers.append(upgrade::ACCEPTED, header::HeaderValue::from_static(name));
        }
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
            .chain(&status.ephemeral_container_statuses)
            .flatten();
        all.into_iter().find(|status| status.name == self.container)
    }

    /// As its keeper has written it down: the pod's status comes later, and clients may be faster.
    fn is_running(&self) -> bool {
        self.attempts()
            .last()
            .is_some_and(|attempt| attempt.exit.is_none())
    }

    /// The attempts at running it that are on record, oldest first.
    fn attempts(&self) -> Vec<Attempt> {
        let mut attempts = record::attempts(&self.dir);
        attempts.retain(|attempt| attempt.container == self.container);
        attempts
    }
}

/// What the node's containers use.
const SUMMARY: &str = "/stats/summary";

/// The service of a node whose pods have their folders in `pods_dir`.
pub fn service(pods: Informer<Pod>, usage: Usage, pods_dir: PathBuf) -> NodeService {
    NodeService::new(tower::service_fn(move |request: Request<Body>| {
        let (pods, usage, pods_dir) = (pods.clone(), usage.clone(), pods_dir.clone());
        async move {
            if request.uri().path() == SUMMARY {
                return Ok(Response::new(full(usage.summary(&pods).to_string())));
            }
            let answer = answer(&pods, pods_dir, request);
            Ok(answer.unwrap_or_else(|refusal| refusal.response()))
        }
    }))
}

/// The service of a node that can answer nothing, and why.
pub fn refuse(message: &'static str) -> NodeService {
    NodeService::new(tower::service_fn(move |_: Request<Body>| async move {
        Ok(Refusal::bad_request(message).response())
    }))
}

fn answer(
    pods: &Informer<Pod>,
    pods_dir: PathBuf,
    request: Request<Body>,
) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path().to_owned();
    let no_such_path = || Refusal::not_found(format!("no such path: {path}"));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let &[action, namespace, name, ref rest @ ..] = parts.as_slice() else {
        return Err(no_such_path());
    };
    let key = Key {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let missing = || Refusal::not_found(format!("pods \"{name}\" not found"));
    let pod = pods.get(&key).ok_or_else(missing)?;
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let dir = pods_dir.join(&uid);
    let &[container] = rest else {
        let name = name.to_owned();
        return match (action, rest) {
            ("portForward", []) => port_forward::answer(Destination { dir, name, uid }, request),
            _ => Err(no_such_path()),
        };
    };
    if !has_container(&pod, container) {
        return Err(Refusal::bad_request(format!(
            "container {container} is not valid for pod {name}"
        )));
    }
    let subject = Subject {
        dir,
        container: container.to_owned(),
        pod,
    };
    match action {
        "containerLogs" => logs::answer(&subject, request.uri().query().unwrap_or_default()),
        "exec" => exec::run(subject, request),
        "attach" => exec::attach(subject, request),
        _ => Err(no_such_path()),
    }
}

fn has_container(pod: &Pod, name: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let init = spec.init_containers.iter().flatten();
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let mut names = spec
        .containers
        .iter()
        .chain(init)
        .map(|container| &container.name)
        .chain(ephemeral.map(|container| &container.name));
    names.any(|other| other == name)
}
