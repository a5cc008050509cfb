//! PATCH: changing a part of an object.
//!
//! Flows in: a JSON patch, a merge patch or a strategic merge patch. Flows out: 200 and the stored object. A patch that
//! names no resourceVersion is applied again to the newer object when another writer was faster.

use api::kind::Write;
use http::{HeaderMap, StatusCode};
use json_patch::PatchOperation;
use serde::Deserialize;
use serde_json::Value;

use crate::body::{self, Body, MAX_REQUEST, Response};
use crate::call::Call;
use crate::decode::{self, Parsed};
use crate::status::Failure;
use crate::write::Live;
use crate::{apply, strategic, update};

/// The most operations that a JSON patch may have; upstream's limit.
const MAX_OPERATIONS: usize = 10_000;

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

/// A patch, parsed.
#[derive(Debug)]
pub(crate) enum Patch {
    /// RFC 6902
    Json(Vec<PatchOperation>),
    /// RFC 7386
    Merge(Parsed),
    /// Kubernetes' own.
    Strategic(Parsed),
}

/// Serves a PATCH of an object or of a part of it.
pub(crate) async fn patch(call: &Call, body: Body, write: Write) -> Result<Response, Failure> {
    if decode::media_type(&call.headers) == apply::MEDIA_TYPE {
        return apply::apply(call, body, write).await;
    }
    check_options(call)?;
    let bytes = body::collect(body).await?;
    let patch = Patch::parse(&call.headers, &bytes)?;
    let change = update::change(call, write)?;
    let root = &call.resource.type_name;
    let written = change.apply(|live| patch.apply_to(root, live)).await?;
    call.respond_written(StatusCode::OK, &written)
}

/// `force` is for applies alone.
pub(crate) fn check_options(call: &Call) -> Result<(), Failure> {
    match call.query.get("force") {
        None => Ok(()),
        Some(_) => Err(Failure::invalid_option(
            call.options,
            "FieldValueForbidden",
            "force",
            "Forbidden: may not be specified for non-apply patch".to_owned(),
        )),
    }
}

impl Patch {
    /// Reads a patch by its content type.
    pub fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, Failure> {
        let media = decode::media_type(headers);
        let json = |doing| {
            let parsed = decode::json(bytes);
            parsed.map_err(|why| Failure::BadRequest(format!("{doing}{why}")))
        };
        // Upstream says of a merge patch alone what it was doing.
        let (kind, doing): (fn(Parsed) -> Self, _) = match media.as_str() {
            "application/json-patch+json" => return Self::operations(json("error decoding patch: ")?.value),
            "application/merge-patch+json" => (Self::Merge, "error decoding patch: "),
            "application/strategic-merge-patch+json" => (Self::Strategic, ""),
            _ => return Err(Failure::UnsupportedMediaType(ACCEPTED.to_owned())),
        };
        let parsed = json(doing)?;
        if parsed.value.is_object() {
            Ok(kind(parsed))
        } else {
            Err(not_of_type(doing, &parsed.value, "map[string]interface {}"))
        }
    }

    fn operations(list: Value) -> Result<Self, Failure> {
        if !list.is_array() {
            return Err(not_of_type("", &list, "jsonpatch.Patch"));
        }
        let mut items = list.as_array().into_iter().flatten();
        if let Some(other) = items.find(|item| !item.is_object()) {
            return Err(not_of_type(
                "error decoding patch: ",
                other,
                "handlers.jsonPatchOp",
            ));
        }
        // An operation that there is not, or that lacks a part, is found out only when it is to be applied.
        let operations = Vec::<PatchOperation>::deserialize(list).map_err(|_| Failure::Unprocessable)?;
        if operations.len() > MAX_OPERATIONS {
            return Err(Failure::TooLarge(MAX_OPERATIONS));
        }
        Ok(Self::Json(operations))
    }

    /// The patched object; its managedFields are left out unless the patch is about them.
    fn apply_to(&self, root: &str, live: Live<'_>) -> Result<Parsed, Failure> {
        let about_managers = match self {
            Self::Json(_) => true,
            Self::Merge(patch) | Self::Strategic(patch) => {
                patch.value.pointer("/metadata/managedFields").is_some()
            }
        };
        if about_managers {
            self.apply(root, &live.whole())
        } else {
            self.apply(root, live.object)
        }
    }

    /// The patched object. `root` is the name of the object's type.
    pub fn apply(&self, root: &str, object: &Value) -> Result<Parsed, Failure> {
        match self {
            Self::Json(operations) => {
                let mut value = object.clone();
                check_growth(operations, object)?;
                json_patch::patch(&mut value, operations).map_err(|_| Failure::Unprocessable)?;
                Ok(Parsed::from(value))
            }
            Self::Merge(patch) => {
                let mut value = object.clone();
                json_patch::merge(&mut value, &patch.value);
                Ok(Parsed {
                    duplicates: patch.duplicates.clone(),
                    ..value.into()
                })
            }
            Self::Strategic(patch) => {
                let value = strategic::apply(root, object, &patch.value)
                    .map_err(|error| Failure::BadRequest(error.to_string()))?;
                Ok(Parsed {
                    duplicates: patch.duplicates.clone(),
                    ..value.into()
                })
            }
        }
    }
}

/// A patch that is another JSON type, in the words of Go's decoder.
fn not_of_type(doing: &str, value: &Value, wanted: &str) -> Failure {
    let found = match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) | Value::Null => "object",
    };
    Failure::BadRequest(format!(
        "{doing}json: cannot unmarshal {found} into Go value of type {wanted}"
    ))
}

/// Copies can double a document each time: what they could add up to is bounded before anything is copied.
fn check_growth(operations: &[PatchOperation], object: &Value) -> Result<(), Failure> {
    if !operations
        .iter()
        .any(|operation| matches!(operation, PatchOperation::Copy(_)))
    {
        return Ok(());
    }
    let mut size = object.to_string().len();
    for operation in operations {
        size = match operation {
            PatchOperation::Copy(_) => size.saturating_mul(2),
            PatchOperation::Add(add) => size.saturating_add(add.value.to_string().len()),
            PatchOperation::Replace(replace) => size.saturating_add(replace.value.to_string().len()),
            _ => size,
        };
    }
    if size > 8 * MAX_REQUEST {
        Err(Failure::TooLarge(MAX_REQUEST))
    } else {
        Ok(())
    }
}
