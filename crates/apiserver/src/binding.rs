//! Binding: a pod gets its node.
//!
//! Flows in: `pods/NAME/binding`, or the collection `bindings`. Flows out: 201. Never moves a pod that has a node.

use api::kind::Write;
use http::StatusCode;
use serde_json::{Value, json};

use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::decode;
use crate::metadata;
use crate::object::{is_terminating, meta_str};
use crate::query::WriteOptions;
use crate::resource::Resource;
use crate::status::{self, Failure, Subject};
use crate::tracking::Tracking;
use crate::write::{self, Change};

/// Serves a POST of a Binding, for the pod in the path or else the one that the Binding is named after.
pub(crate) async fn bind(call: &Call, body: Body) -> Result<Response, Failure> {
    let options = WriteOptions::of(call)?;
    let bytes = body::collect(body).await?;
    let binding = decode::body(&call.headers, &bytes, "Binding")?.value;
    write::check_namespace(call.namespace(), &binding)?;
    let named = meta_str(&binding, "name");
    let name = call.path.name.as_deref().unwrap_or(named);
    if !named.is_empty() && named != name {
        return Err(Failure::BadRequest(
            "name in URL does not match name in Binding object".to_owned(),
        ));
    }
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(Failure::BadRequest("target.name: Required value".to_owned()));
    }
    let change = Change {
        tracking: Tracking::Nobody,
        core: &call.core,
        resource: &call.resource,
        namespace: call.namespace(),
        name,
        write: Write::Main,
        options,
    };
    let bound = change
        .apply_unchecked(|pod| assign(&call.resource, pod, &binding, node))
        .await;
    bound.map(|_| body::json(StatusCode::CREATED, status::created()))
}

/// The pod with its node, the binding's annotations and the condition that says so.
fn assign(resource: &Resource, pod: &Value, binding: &Value, node: &str) -> Result<Value, Failure> {
    let refuse = |why: String| {
        Err(Failure::Conflict {
            subject: Subject {
                kind: "pods/binding".to_owned(),
                ..Subject::new(resource, meta_str(pod, "name"))
            },
            why,
        })
    };
    let (asked, uid) = (meta_str(binding, "uid"), meta_str(pod, "uid"));
    if !asked.is_empty() && asked != uid {
        return refuse(format!(
            "Precondition failed: UID in precondition: {asked}, UID in object meta: {uid}"
        ));
    }
    let name = meta_str(pod, "name");
    if is_terminating(pod) {
        return refuse(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    match pod["spec"]["nodeName"].as_str().unwrap_or_default() {
        "" => {}
        current => return refuse(format!("pod {name} is already assigned to node {current:?}")),
    }
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = node.into();
    for (key, value) in binding["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
    {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    let mut scheduled = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": metadata::now(),
    });
    if let Some(generation) = pod["metadata"]["generation"].as_i64() {
        scheduled["observedGeneration"] = generation.into();
    }
    let conditions = pod["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let others = conditions
        .into_iter()
        .filter(|condition| condition["type"] != "PodScheduled");
    pod["status"]["conditions"] = others.chain([scheduled]).collect();
    Ok(pod)
}
