//! One request on its way through the server: what was asked, of which kind, by whom.
//!
//! Flows in: a routed request. Flows out: what every verb needs at hand. Never holds the body: verbs read it themselves.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::body::{self, Response};
use crate::negotiate::{self, Form};
use crate::object::Object;
use crate::path::ObjectPath;
use crate::query::Query;
use crate::resource::Resource;
use crate::server::Core;
use crate::status::Failure;
use crate::table;
use crate::write::Written;

/// A request on an object or a collection.
pub(crate) struct Call {
    /// The server.
    pub core: Arc<Core>,
    /// The kind.
    pub resource: Arc<Resource>,
    /// The path's parts.
    pub path: ObjectPath,
    /// The parameters.
    pub query: Query,
    /// The headers.
    pub headers: HeaderMap,
    /// Who asks.
    pub user: String,
    /// What its parameters are called together: `PatchOptions`.
    pub options: &'static str,
}

impl Call {
    /// The namespace of the path.
    pub fn namespace(&self) -> Option<&str> {
        self.path.namespace.as_deref()
    }

    /// The name of the path; collections have none.
    pub fn name(&self) -> Result<&str, Failure> {
        self.path.name.as_deref().ok_or(Failure::MethodNotAllowed)
    }

    /// The key of the object.
    pub fn key(&self) -> Result<String, Failure> {
        Ok(self.resource.key(self.namespace(), self.name()?))
    }

    /// Answers with one object, in the form that the client asked for.
    pub fn respond(&self, code: StatusCode, object: &Object) -> Result<Response, Failure> {
        let bytes = match negotiate::form(&self.headers)? {
            Form::Object | Form::MetadataList => object.to_bytes(&self.resource),
            Form::Metadata => table::metadata_only(&object.to_value(&self.resource)),
            Form::Table => table::of_one(&self.resource, object, table::Include::parse(&self.query)?),
        };
        Ok(body::json(code, bytes))
    }

    /// Answers with what was written, and with the warnings that came up.
    pub fn respond_written(&self, code: StatusCode, written: &Written) -> Result<Response, Failure> {
        let mut response = self.respond(code, &written.object)?;
        for warning in &written.warnings {
            body::warn(&mut response, warning);
        }
        Ok(response)
    }
}
