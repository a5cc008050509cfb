//! PUT: replacing an object or a part of it.
//!
//! Flows in: a body. Flows out: 200 and the stored object. Never creates.

use api::kind::Write;
use http::StatusCode;

use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::decode;
use crate::query::WriteOptions;
use crate::status::Failure;
use crate::tracking::Tracking;
use crate::write::{Change, Live};

/// Serves a PUT on an object (`write` main) or on a part of it.
pub(crate) async fn update(call: &Call, body: Body, write: Write) -> Result<Response, Failure> {
    let bytes = body::collect(body).await?;
    let parsed = decode::body(&call.headers, &bytes, call.resource.kind.kind)?;
    let change = change(call, write)?;
    let take = |_: Live<'_>| change.decode(parsed.clone());
    call.respond_written(StatusCode::OK, &change.apply(take).await?)
}

/// The change that a PUT or PATCH makes.
pub(crate) fn change(call: &Call, write: Write) -> Result<Change<'_>, Failure> {
    change_of(call, write, subresource(write))
}

/// The path below an object that this part of it is written at; empty for the object itself.
pub(crate) fn subresource(write: Write) -> &'static str {
    match write {
        Write::Main => "",
        Write::Status => "status",
        Write::EphemeralContainers => "ephemeralcontainers",
    }
}

/// The change that a PUT or PATCH makes through a subresource.
pub(crate) fn change_of<'a>(call: &'a Call, write: Write, subresource: &str) -> Result<Change<'a>, Failure> {
    Ok(Change {
        tracking: Tracking::of(call, subresource)?,
        core: &call.core,
        resource: &call.resource,
        namespace: call.namespace(),
        name: call.name()?,
        write,
        options: WriteOptions::of(call)?,
    })
}
