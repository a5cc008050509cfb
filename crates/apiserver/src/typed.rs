//! From a value to an object of its kind.
//!
//! Flows in: what a client sent, or what came of a patch. Flows out: the object with nothing in it that its kind does not
//! have, and what the client should be told; or why there is none. Never knows what the object is for.

use std::fmt;

use api::kind::{DecodeError, Decoded};
use serde_json::Value;

use crate::decode::Parsed;
use crate::query::FieldValidation;
use crate::resource::Resource;
use crate::status::Failure;

/// An object of its kind.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    /// The object.
    pub object: Value,
    /// Unknown fields, which are left out of it, and duplicate ones.
    pub warnings: Vec<String>,
}

/// Why a value is no object of its kind. `Display` is what upstream says of a body.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// A field is of a wrong type.
    Type(DecodeError),
    /// Under `fieldValidation=Strict`: fields that the kind does not have, or that are there twice.
    Fields(Vec<String>),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(error) => error.fmt(f),
            Self::Fields(problems) => write!(f, "strict decoding error: {}", problems.join(", ")),
        }
    }
}

/// How a type reads a value.
pub(crate) type Decode = fn(Value) -> Result<Decoded, DecodeError>;

/// Decodes a body as its kind and deals with what does not belong there.
pub(crate) fn decode(
    resource: &Resource,
    parsed: Parsed,
    validation: FieldValidation,
) -> Result<Typed, Failure> {
    check_type(resource, &parsed.value)?;
    let kind = resource.kind;
    body(kind.decode, (kind.version, kind.kind), parsed, validation)
}

/// Decodes a body as a type of this version and name.
pub(crate) fn body(
    decode: Decode,
    (version, name): (&str, &str),
    parsed: Parsed,
    validation: FieldValidation,
) -> Result<Typed, Failure> {
    let mut lines = parsed.lines;
    if validation == FieldValidation::Strict && !lines.is_empty() {
        lines = vec![format!("yaml: unmarshal errors:\n  {}", lines.join("\n  "))];
    }
    let twice = parsed.duplicates.iter().map(|path| duplicate(path));
    let problems = |unknown: Vec<String>| lines.into_iter().chain(unknown).chain(twice).collect();
    fit(decode, parsed.value, validation, problems).map_err(|unfit| {
        Failure::BadRequest(format!(
            "{name} in version {version:?} cannot be handled as a {name}: {unfit}"
        ))
    })
}

/// Decodes a value; `problems` puts those of its unknown fields among the others there are.
pub(crate) fn fit(
    decode: Decode,
    value: Value,
    validation: FieldValidation,
    problems: impl FnOnce(Vec<String>) -> Vec<String>,
) -> Result<Typed, Unfit> {
    let decoded = decode(value).map_err(Unfit::Type)?;
    let unknown = decoded.unknown.iter().map(|path| unknown(path));
    let warnings = match validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn | FieldValidation::Strict => problems(unknown.collect()),
    };
    if validation == FieldValidation::Strict && !warnings.is_empty() {
        return Err(Unfit::Fields(warnings));
    }
    Ok(Typed {
        object: decoded.object,
        warnings,
    })
}

/// Says that a field is there twice.
pub(crate) fn duplicate(path: &str) -> String {
    format!("duplicate field {path:?}")
}

/// Says that there is no such field.
pub(crate) fn unknown(path: &str) -> String {
    format!("unknown field {path:?}")
}

/// The object must be of the path's kind; one that does not say is taken to be.
pub(crate) fn check_type(resource: &Resource, value: &Value) -> Result<(), Failure> {
    if !value.is_object() {
        return Err(Failure::BadRequest("the body is not an object".to_owned()));
    }
    let kind = value["kind"].as_str().unwrap_or_default();
    let version = value["apiVersion"].as_str().unwrap_or_default();
    if !version.is_empty() && version != resource.api_version {
        return Err(Failure::BadRequest(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            resource.api_version
        )));
    }
    if !kind.is_empty() && kind != resource.kind.kind {
        let (version, expected) = (resource.kind.version, resource.kind.kind);
        return Err(Failure::BadRequest(format!(
            "{kind} in version {version:?} cannot be handled as a {expected}: the kind in the data ({kind}) does not match the expected kind ({expected})"
        )));
    }
    Ok(())
}
