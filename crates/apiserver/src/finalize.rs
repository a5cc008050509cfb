//! `/finalize` of a namespace: its controller says that it is empty.
//!
//! Flows in: a Namespace with the finalizers that remain. Flows out: the Namespace, gone if none remains.

use api::kind::Write;
use http::StatusCode;
use serde_json::Value;

use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::decode;
use crate::object::meta_str;
use crate::status::Failure;
use crate::update;

/// Serves a PUT of a namespace's `/finalize`.
pub(crate) async fn finalize(call: &Call, body: Body) -> Result<Response, Failure> {
    let bytes = body::collect(body).await?;
    let sent = decode::body(&call.headers, &bytes, call.resource.kind.kind)?.value;
    let change = update::change(call, Write::Main)?;
    let object = change
        .apply_unchecked(|namespace| {
            let version = meta_str(&sent, "resourceVersion");
            if !version.is_empty() && version != meta_str(namespace, "resourceVersion") {
                return Err(Failure::modified(&call.resource, meta_str(namespace, "name")));
            }
            let mut namespace = namespace.clone();
            let finalizers = sent["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
            match (finalizers.is_empty(), namespace["spec"].as_object_mut()) {
                (true, Some(spec)) => drop(spec.remove("finalizers")),
                _ => namespace["spec"]["finalizers"] = Value::Array(finalizers),
            }
            Ok(namespace)
        })
        .await?;
    call.respond(StatusCode::OK, &object)
}
