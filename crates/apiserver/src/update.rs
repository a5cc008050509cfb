//! PUT: replacing an object or its status.
//!
//! Flows in: a body. Flows out: 200 and the stored object. Never creates.

use api::kind::Write;
use http::StatusCode;

use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::decode::{self, Parsed};
use crate::query::WriteOptions;
use crate::status::Failure;
use crate::write::Change;

/// Serves a PUT on an object (`write` main) or its `/status`.
pub(crate) async fn update(call: &Call, body: Body, write: Write) -> Result<Response, Failure> {
    let bytes = body::collect(body).await?;
    let parsed = decode::body(&call.headers, &bytes)?;
    let change = change(call, write)?;
    let take = |_: &_| {
        Ok(Parsed {
            value: parsed.value.clone(),
            duplicates: parsed.duplicates.clone(),
        })
    };
    call.respond_written(StatusCode::OK, &change.apply(take).await?)
}

/// The change that a PUT or PATCH makes.
pub(crate) fn change(call: &Call, write: Write) -> Result<Change<'_>, Failure> {
    Ok(Change {
        core: &call.core,
        resource: &call.resource,
        namespace: call.namespace(),
        name: call.name()?,
        write,
        options: WriteOptions::parse(&call.query)?,
    })
}
