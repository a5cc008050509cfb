//! GET of one object.
//!
//! Flows in: a name. Flows out: the object in the form asked for. Never parses the object, unless for a table.

use http::StatusCode;

use crate::body::Response;
use crate::call::Call;
use crate::object::Object;
use crate::query;
use crate::status::Failure;

/// Serves a GET on an object. Reads are always of the latest revision, so any `resourceVersion` already reached is met.
pub(crate) async fn get(call: &Call) -> Result<Response, Failure> {
    if let Some(asked) = query::revision(&call.query)? {
        let current = call.core.store.revision();
        if asked > current {
            return Err(store::Error::Future { asked, current }.into());
        }
    }
    let entry = call.core.read(&call.resource, &call.key()?, call.name()?).await?;
    call.respond(StatusCode::OK, &Object::from(&*entry))
}
