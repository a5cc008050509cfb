//! `Status` objects as JSON, in upstream's order of fields.
//!
//! Flows in: what there is to say. Flows out: bytes. Knows nothing of why.

use api::kind::Cause;
use http::StatusCode;
use serde::Serialize;

use super::Subject;

/// The answer to a deletion that is done: a `Status` that names what is gone.
pub(crate) fn success(subject: &Subject, uid: &str) -> Vec<u8> {
    Status {
        kind: "Status",
        api_version: "v1",
        metadata: StatusMeta::default(),
        status: "Success",
        message: None,
        reason: None,
        details: Some(Details {
            uid: uid.to_owned(),
            ..Details::about(subject)
        }),
        code: None,
    }
    .to_json()
}

/// The answer to a binding: a bare success with a code.
pub(crate) fn created() -> Vec<u8> {
    Status {
        kind: "Status",
        api_version: "v1",
        metadata: StatusMeta::default(),
        status: "Success",
        message: None,
        reason: None,
        details: None,
        code: Some(StatusCode::CREATED.as_u16()),
    }
    .to_json()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) metadata: StatusMeta,
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u16>,
}

impl Status {
    pub(super) fn to_json(&self) -> Vec<u8> {
        // Strings and numbers only: cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[derive(Default, Serialize)]
pub(super) struct StatusMeta {
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub(super) continue_token: Option<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) causes: Vec<StatusCause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_seconds: Option<u32>,
}

impl Details {
    pub(super) fn about(subject: &Subject) -> Self {
        Self {
            name: subject.name.clone(),
            group: subject.group.clone(),
            kind: subject.kind.clone(),
            ..Self::default()
        }
    }
}

#[derive(Serialize)]
pub(super) struct StatusCause {
    pub(super) reason: &'static str,
    pub(super) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) field: String,
}

impl StatusCause {
    pub(super) fn new(reason: &'static str, message: &str) -> Self {
        Self {
            reason,
            message: message.to_owned(),
            field: String::new(),
        }
    }
}

impl From<&Cause> for StatusCause {
    fn from(cause: &Cause) -> Self {
        Self {
            reason: cause.reason,
            message: cause.message.clone(),
            field: cause.field.clone(),
        }
    }
}
