//! PATCH: changing a part of an object.
//!
//! Flows in: a JSON patch, a merge patch or a strategic merge patch. Flows out: 200 and the stored object. A patch that
//! names no resourceVersion is applied again to the newer object when another writer was faster.

use api::kind::{Cause, Write};
use http::{HeaderMap, StatusCode};
use json_patch::PatchOperation;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::body::{self, Body, MAX_REQUEST, Response};
use crate::call::Call;
use crate::decode;
use crate::object::meta_str;
use crate::query::FieldValidation;
use crate::status::{Failure, Subject};
use crate::typed::{self, Decode, Typed, Unfit};
use crate::write::{Change, Live};
use crate::{apply, strategic, update};

/// The most operations that a JSON patch may have; upstream's limit.
const MAX_OPERATIONS: usize = 10_000;

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

/// A patch, parsed.
#[derive(Debug)]
pub(crate) struct Patch {
    form: Form,
    /// Keys that it has twice, and keys that operations do not have.
    problems: Vec<String>,
}

#[derive(Debug)]
enum Form {
    /// RFC 6902
    Json(Vec<PatchOperation>),
    /// RFC 7386
    Merge(Value),
    /// Kubernetes' own.
    Strategic(Map<String, Value>),
}

/// Serves a PATCH of an object or of a part of it.
pub(crate) async fn patch(call: &Call, body: Body, write: Write) -> Result<Response, Failure> {
    if decode::media_type(&call.headers) == apply::MEDIA_TYPE {
        return apply::apply(call, body, write).await;
    }
    check_options(call)?;
    let bytes = body::collect(body).await?;
    let change = update::change(call, write)?;
    let patch = Patch::parse(&call.headers, &bytes, change.options.fields)?;
    let written = change.apply(|live| patch.patched(&change, live)).await?;
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
    pub fn parse(headers: &HeaderMap, bytes: &[u8], validation: FieldValidation) -> Result<Self, Failure> {
        let media = decode::media_type(headers);
        // Upstream does not say of a strategic merge patch what it was doing.
        let doing = match media.as_str() {
            "application/json-patch+json" | "application/merge-patch+json" => "error decoding patch: ",
            "application/strategic-merge-patch+json" => "",
            _ => return Err(Failure::UnsupportedMediaType(ACCEPTED.to_owned())),
        };
        let parsed = decode::json(bytes);
        let parsed = parsed.map_err(|why| Failure::BadRequest(format!("{doing}{why}")))?;
        let form = match (media.as_str(), parsed.value) {
            ("application/json-patch+json", list) => {
                return Self::operations(list, parsed.duplicates, validation);
            }
            ("application/merge-patch+json", Value::Object(map)) => Form::Merge(map.into()),
            (_, Value::Object(map)) => Form::Strategic(map),
            (_, other) => return Err(not_of_type(doing, &other, "map[string]interface {}")),
        };
        let problems = parsed.duplicates.iter().map(|path| typed::duplicate(path));
        Ok(Self {
            form,
            problems: problems.collect(),
        })
    }

    fn operations(list: Value, twice: Vec<String>, validation: FieldValidation) -> Result<Self, Failure> {
        // Upstream looks for unknown keys with a decoder of its own, and before any other.
        let (doing, whole, one) = match validation {
            FieldValidation::Ignore => ("", "jsonpatch.Patch", "jsonpatch.Operation"),
            _ => (
                "error decoding patch: ",
                "[]handlers.jsonPatchOp",
                "handlers.jsonPatchOp",
            ),
        };
        let Some(items) = list.as_array() else {
            return Err(not_of_type(doing, &list, whole));
        };
        if let Some(other) = items.iter().find(|item| !item.is_object()) {
            return Err(not_of_type(doing, other, one));
        }
        if items.len() > MAX_OPERATIONS {
            return Err(Failure::TooManyOperations(MAX_OPERATIONS, items.len()));
        }
        let twice = twice.iter().map(|path| typed::duplicate(path));
        let problems = unknown_keys(items).chain(twice);
        let problems = problems.map(|problem| format!("json patch {problem}")).collect();
        // An operation that there is not, or that lacks a part, is found out only when it is to be applied.
        let operations = Vec::<PatchOperation>::deserialize(list).map_err(|_| Failure::Unprocessable)?;
        Ok(Self {
            form: Form::Json(operations),
            problems,
        })
    }

    /// The patched object; its managedFields are left out unless the patch is about them.
    fn patched(&self, change: &Change<'_>, live: Live<'_>) -> Result<Typed, Failure> {
        let root = &change.resource.type_name;
        let about_managers = match &self.form {
            Form::Json(_) => true,
            Form::Merge(patch) => patch.pointer("/metadata/managedFields").is_some(),
            Form::Strategic(patch) => patch
                .get("metadata")
                .is_some_and(|metadata| metadata.get("managedFields").is_some()),
        };
        let value = if about_managers {
            self.apply(root, &live.whole())?
        } else {
            self.apply(root, live.object)?
        };
        typed::check_type(change.resource, &value)?;
        let kind = (root.as_str(), change.resource.kind.decode);
        let typed = self.fit(kind, value, change.options.fields, live)?;
        let uid = meta_str(&typed.object, "uid");
        if !uid.is_empty() && uid != meta_str(live.object, "uid") {
            let cause = invalid("metadata.uid", uid, "field is immutable");
            return Err(Failure::invalid(change.resource, change.name, vec![cause]));
        }
        Ok(typed)
    }

    /// The patched object. `root` is the name of the object's type.
    pub fn apply(&self, root: &str, object: &Value) -> Result<Value, Failure> {
        let mut value = object.clone();
        match &self.form {
            Form::Json(operations) => {
                check_growth(operations, object)?;
                json_patch::patch(&mut value, operations).map_err(|_| Failure::Unprocessable)?;
            }
            Form::Merge(patch) => json_patch::merge(&mut value, patch),
            Form::Strategic(patch) => value = merge_strategically(root, object, &mut patch.clone())?,
        }
        Ok(value)
    }

    /// Decodes what it has made of `live` as the type of this name.
    pub fn fit(
        &self,
        (root, decode): (&str, Decode),
        value: Value,
        validation: FieldValidation,
        live: Live<'_>,
    ) -> Result<Typed, Failure> {
        let problems = |unknown| [self.problems.clone(), unknown].concat();
        typed::fit(decode, value, validation, problems).map_err(|unfit| self.refuse(root, live, &unfit))
    }

    /// Says what a patch has made that is no object of its kind. Of a strategic merge upstream shows the patch, of others
    /// the whole object.
    fn refuse(&self, root: &str, live: Live<'_>, unfit: &Unfit) -> Failure {
        let whole = live.whole();
        let shown = match &self.form {
            Form::Strategic(patch) => {
                let mut patch = patch.clone();
                merge_strategically(root, &whole, &mut patch).map(|patched| {
                    let why = match unfit {
                        Unfit::Type(error) => strategic::in_words_of_converter(root, &patched, error),
                        Unfit::Fields(_) => unfit.to_string(),
                    };
                    (strategic::Printed(&patch.into()).to_string(), why)
                })
            }
            Form::Json(_) | Form::Merge(_) => self
                .apply(root, &whole)
                .map(|patched| (patched.to_string(), unfit.to_string())),
        };
        match shown {
            Ok((value, why)) => Failure::Invalid {
                subject: Subject::default(),
                causes: vec![invalid("patch", &value, &why)],
            },
            Err(failure) => failure,
        }
    }
}

fn merge_strategically(root: &str, object: &Value, patch: &mut Map<String, Value>) -> Result<Value, Failure> {
    strategic::apply(root, object, patch).map_err(|error| {
        let why = error.to_string();
        if error.is_the_clients() {
            Failure::BadRequest(why)
        } else {
            Failure::Untyped(why)
        }
    })
}

/// The keys that operations of a JSON patch do not have.
fn unknown_keys(operations: &[Value]) -> impl Iterator<Item = String> {
    let operations = operations.iter().enumerate();
    operations.flat_map(|(at, operation)| {
        let keys = operation.as_object().into_iter().flatten().map(|(key, _)| key);
        keys.filter(|key| !["op", "path", "from", "value"].contains(&key.as_str()))
            .map(move |key| typed::unknown(&format!("[{at}].{key}")))
    })
}

fn invalid(field: &str, value: &str, why: &str) -> Cause {
    Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {value:?}: {why}"),
        field: field.to_owned(),
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
