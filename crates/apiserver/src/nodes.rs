//! Logs, commands, ports: the parts of a pod that its node's agent answers.
//!
//! Flows in: `pods/NAME/log`, `exec`, `attach` and `portforward`, and `nodes/NAME/proxy`. Flows out: whatever the agent says. The client's own request is handed
//! on, its upgrade included, so that the agent speaks with the client: nothing is proxied here.

use api::validation::{Errors, Path};
use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use tower::Service;

use crate::body::{Body, BoxError, Request, Response};
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

/// Serves what is about a container of a pod, such as `/log`: `path` is the kubelet's word for it.
pub(crate) async fn container(call: &Call, request: Request, path: &str) -> Result<Response, Failure> {
    let pod = pod(call).await?;
    let container = chosen(&pod, call.query.get("container"))?;
    let container = utf8_percent_encode(&container, SEGMENT);
    let (namespace, name) = (call.namespace().unwrap_or_default(), call.name()?);
    forward(
        call,
        &pod,
        request,
        &format!("/{path}/{namespace}/{name}/{container}"),
    )
    .await
}

/// Serves `/portforward`.
pub(crate) async fn ports(call: &Call, request: Request) -> Result<Response, Failure> {
    let pod = pod(call).await?;
    let (namespace, name) = (call.namespace().unwrap_or_default(), call.name()?);
    forward(call, &pod, request, &format!("/portForward/{namespace}/{name}")).await
}

/// Serves `pods/NAME/log`.
pub(crate) async fn log(call: &Call, request: Request) -> Result<Response, Failure> {
    check_log_options(call)?;
    container(call, request, "containerLogs").await
}

fn check_log_options(call: &Call) -> Result<(), Failure> {
    let mut errors = Errors::default();
    let too_few = "must be greater than 0";
    let limit = call.query.number("limitBytes")?;
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        errors.invalid(&Path::ROOT.field("limitBytes"), &limit, too_few);
    }
    match (call.query.number("sinceSeconds")?, call.query.get("sinceTime")) {
        (Some(_), Some(_)) => {
            let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.forbidden(&Path::ROOT, why);
        }
        (Some(seconds), None) if seconds < 1 => {
            errors.invalid(&Path::ROOT.field("sinceSeconds"), &seconds, too_few);
        }
        _ => {}
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

/// Hands a request on to the agent of a pod's node.
async fn forward(call: &Call, pod: &Value, request: Request, path: &str) -> Result<Response, Failure> {
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
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

/// The container asked for; without a name, the annotated default or the only one.
fn chosen(pod: &Value, asked: Option<&str>) -> Result<String, Failure> {
    let name = meta_str(pod, "name");
    let names = |field: &str| -> Vec<String> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers
            .filter_map(|container| container["name"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let asked =
        asked.or_else(|| pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str());
    match (asked, main.as_slice()) {
        (Some(asked), _) => {
            let known = main
                .iter()
                .chain(&init)
                .chain(&names("ephemeralContainers"))
                .any(|known| known == asked);
            let unknown = || Failure::BadRequest(format!("container {asked} is not valid for pod {name}"));
            known.then(|| asked.to_owned()).ok_or_else(unknown)
        }
        (None, [only]) => Ok(only.clone()),
        (None, several) => {
            let choice = format!("choose one of: [{}]", several.join(" "));
            let init = match init.as_slice() {
                [] => String::new(),
                init => format!(" or one of the init containers: [{}]", init.join(" ")),
            };
            Err(Failure::BadRequest(format!(
                "a container name must be specified for pod {name}, {choice}{init}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_chosen_as_upstream_does() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let error = chosen(&pod, None).unwrap_err().to_string();
        assert_eq!(
            error,
            "a container name must be specified for pod p, choose one of: [a b]"
        );
        assert_eq!(chosen(&pod, Some("b")), Ok("b".to_owned()));
        let error = chosen(&pod, Some("c")).unwrap_err().to_string();
        assert_eq!(error, "container c is not valid for pod p");
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(chosen(&one, None), Ok("a".to_owned()));
    }
}
