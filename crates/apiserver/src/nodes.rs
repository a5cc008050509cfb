//! Logs, commands, ports: the parts of a pod that its node's agent answers.
//!
//! Flows in: `pods/NAME/log`, `exec`, `attach` and `portforward`, and `nodes/NAME/proxy`. Flows out: whatever the agent says. The client's own request is handed
//! on, its upgrade included, so that the agent speaks with the client: nothing is proxied here.

use api::validation::{Errors, Path};
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use tower::Service;

use crate::body::{self, Body, BoxError, Request, Response};
use crate::call::Call;
use crate::object::{Object, meta_str};
use crate::status::{Failure, Subject};

/// An agent's answers to the kubelet's paths: `/containerLogs/{ns}/{pod}/{container}`, the same with `exec` and `attach`,
/// and `/portForward/{ns}/{pod}`, with the client's query.
pub type NodeService = tower::util::BoxCloneSyncService<http::Request<Body>, http::Response<Body>, BoxError>;

/// Where the agents are.
pub trait NodeDirectory: Send + Sync + 'static {
    /// The agent of a node, if it is there.
    fn node(&self, name: &str) -> Option<NodeService>;
}

/// What must not stand in a path segment as it is.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?');

/// The streams that a log can be had of.
const STREAMS: [&str; 3] = ["All", "Stderr", "Stdout"];

/// What upstream calls a field that has no name.
const NAMELESS: &str = "[]";

/// Serves what is about a container of a pod, such as `/exec`: `path` is the kubelet's word for it.
pub(crate) async fn container(call: &Call, request: Request, path: &str) -> Result<Response, Failure> {
    let pod = pod(call).await?;
    let container = chosen(&pod, call.query.get("container"))?;
    to_container(call, &pod, &container, request, path).await
}

async fn to_container(
    call: &Call,
    pod: &Value,
    container: &str,
    request: Request,
    path: &str,
) -> Result<Response, Failure> {
    let container = utf8_percent_encode(container, SEGMENT);
    let (namespace, name) = (call.namespace().unwrap_or_default(), call.name()?);
    let path = format!("/{path}/{namespace}/{name}/{container}");
    forward(call, pod, request, &path).await
}

/// Serves `/portforward`.
pub(crate) async fn ports(call: &Call, request: Request) -> Result<Response, Failure> {
    let pod = pod(call).await?;
    let (namespace, name) = (call.namespace().unwrap_or_default(), call.name()?);
    forward(call, &pod, request, &format!("/portForward/{namespace}/{name}")).await
}

/// Serves `pods/NAME/log`. A pod that has no node yet has no log either, which is no mistake.
pub(crate) async fn log(call: &Call, request: Request) -> Result<Response, Failure> {
    check_log_options(call)?;
    let pod = pod(call).await?;
    let container = chosen(&pod, call.query.get("container"))?;
    if node(&pod).is_empty() {
        let mut nothing = Response::new(body::full(""));
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    }
    to_container(call, &pod, &container, request, "containerLogs").await
}

/// Upstream's `ValidatePodLogOptions`.
fn check_log_options(call: &Call) -> Result<(), Failure> {
    let query = &call.query;
    let mut errors = Errors::default();
    let too_few = "must be greater than 0";
    let tail = query.number("tailLines")?;
    errors.non_negative(&Path::ROOT.field("tailLines"), tail);
    if let Some(limit) = query.number("limitBytes")?.filter(|limit| *limit < 1) {
        errors.invalid(&Path::ROOT.field("limitBytes"), &limit, too_few);
    }
    let time = query.get("sinceTime").map(check_time).transpose()?;
    match (query.number("sinceSeconds")?, time) {
        (Some(_), Some(_)) => {
            let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.forbidden(&Path::ROOT.field(NAMELESS), why);
        }
        (Some(seconds), None) if seconds < 1 => {
            errors.invalid(&Path::ROOT.field("sinceSeconds"), &seconds, too_few);
        }
        _ => {}
    }
    let stream = query.get("stream").unwrap_or("All");
    if !STREAMS.contains(&stream) {
        errors.not_supported(&Path::ROOT.field("stream"), stream, &STREAMS);
    }
    if stream != "All" && tail.is_some() {
        let why = "`tailLines` and specific `stream` are mutually exclusive for now";
        errors.forbidden(&Path::ROOT.field(NAMELESS), why);
    }
    let causes = errors.into_verdict().causes;
    if causes.is_empty() {
        return Ok(());
    }
    let subject = Subject {
        group: String::new(),
        kind: "PodLogOptions".to_owned(),
        name: call.name()?.to_owned(),
    };
    Err(Failure::Invalid { subject, causes })
}

fn check_time(text: &str) -> Result<(), Failure> {
    let time = text.parse::<jiff::Timestamp>();
    time.map(drop).map_err(|_| {
        let form = "2006-01-02T15:04:05Z07:00";
        Failure::BadRequest(format!(
            "parsing time {text:?} as {form:?}: cannot parse {text:?} as \"2006\""
        ))
    })
}

/// Serves `nodes/NAME/proxy/PATH`: the agent is asked for the path itself.
pub(crate) async fn proxy(call: &Call, request: Request) -> Result<Response, Failure> {
    let name = call.name()?;
    call.core.read(&call.resource, &call.key()?, name).await?;
    let path = if call.path.rest.is_empty() {
        "/"
    } else {
        &call.path.rest
    };
    to_agent(call, name, request, path).await
}

async fn pod(call: &Call) -> Result<Value, Failure> {
    let entry = call.core.read(&call.resource, &call.key()?, call.name()?).await?;
    Ok(Object::from(&*entry).to_value(&call.resource))
}

fn node(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

/// Hands a request on to the agent of a pod's node.
async fn forward(call: &Call, pod: &Value, request: Request, path: &str) -> Result<Response, Failure> {
    let node = node(pod);
    if node.is_empty() {
        let name = call.name()?;
        return Err(Failure::BadRequest(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    to_agent(call, node, request, path).await
}

async fn to_agent(call: &Call, node: &str, mut request: Request, path: &str) -> Result<Response, Failure> {
    let agent = call.core.nodes.node(node);
    let mut agent =
        agent.ok_or_else(|| Failure::Unavailable(format!("the agent of node {node:?} is not there")))?;
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let target = target
        .parse::<PathAndQuery>()
        .map_err(|error| Failure::BadRequest(error.to_string()))?;
    *request.uri_mut() = Uri::from(target);
    let silent = |error| Failure::Unavailable(format!("the agent of node {node:?} did not answer: {error}"));
    std::future::poll_fn(|context| agent.poll_ready(context))
        .await
        .map_err(silent)?;
    agent.call(request).await.map_err(silent)
}

/// The container asked for; without a name, the only one. (Which one an annotation makes the default is kubectl's business.)
fn chosen(pod: &Value, asked: Option<&str>) -> Result<String, Failure> {
    let name = meta_str(pod, "name");
    let names = |field: &str| -> Vec<String> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers
            .filter_map(|container| container["name"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let main = names("containers");
    if let (None, [only]) = (asked, main.as_slice()) {
        return Ok(only.clone());
    }
    let all = [names("initContainers"), main, names("ephemeralContainers")].concat();
    let why = match asked {
        Some(asked) if all.iter().any(|known| known == asked) => return Ok(asked.to_owned()),
        Some(asked) => format!("container {asked} is not valid for pod {name}"),
        None => format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            all.join(" ")
        ),
    };
    Err(Failure::BadRequest(why))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_chosen_as_upstream_does() {
        let pod = json!({
            "metadata": {"name": "p", "annotations": {"kubectl.kubernetes.io/default-container": "b"}},
            "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]},
        });
        let error = chosen(&pod, None).unwrap_err().to_string();
        assert_eq!(
            error,
            "a container name must be specified for pod p, choose one of: [i a b]"
        );
        assert_eq!(chosen(&pod, Some("b")), Ok("b".to_owned()));
        let error = chosen(&pod, Some("c")).unwrap_err().to_string();
        assert_eq!(error, "container c is not valid for pod p");
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(chosen(&one, None), Ok("a".to_owned()));
    }
}
