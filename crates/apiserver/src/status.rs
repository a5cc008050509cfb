//! What can go wrong with a request, and its one conversion to the `Status` object and HTTP code that clients read.
//!
//! Flows in: a [`Failure`]. Flows out: a response. The message texts are upstream's, for kubectl prints them.

mod document;

use std::time::Duration;

use api::kind::Cause;
use api::ownership::Conflicts;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::body::{self, Response};
use crate::object::meta_str;
use crate::resource::Resource;
use document::{Details, Status, StatusCause, StatusMeta};
pub(crate) use document::{created, success};

/// The object that a failure is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// API group, empty for core.
    pub group: String,
    /// `pods`, or the kind where upstream names the kind.
    pub kind: String,
    /// The object's name.
    pub name: String,
}

impl Subject {
    /// An object of a resource.
    pub fn new(resource: &Resource, name: &str) -> Self {
        Self {
            group: resource.kind.group.to_owned(),
            kind: resource.kind.plural.to_owned(),
            name: name.to_owned(),
        }
    }

    /// `deployments.apps "web"`
    fn quoted(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{} {:?}", self.kind, self.group, self.name)
    }
}

/// Why a request was not served. One variant per reason that a client can tell apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// 400: the request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// 401: no credential, or not one of ours.
    #[error("Unauthorized")]
    Unauthorized,
    /// 403: not now, or not this.
    #[error("{} is forbidden: {why}", subject.quoted())]
    Forbidden {
        /// What was to be written.
        subject: Subject,
        /// The reason, after "is forbidden: ".
        why: String,
        /// Further reasons for programs.
        causes: Vec<Cause>,
    },
    /// 403: the request comes from a web page of another site.
    #[error("cross-origin requests are not allowed")]
    CrossOrigin,
    /// 404: no such object.
    #[error("{} not found", .0.quoted())]
    NotFound(Subject),
    /// 404: no such path.
    #[error("the server could not find the requested resource")]
    NoSuchPath,
    /// 405
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// 406
    #[error("only the following media types are accepted: application/json, application/yaml")]
    NotAcceptable,
    /// 408: the body does not come.
    #[error("Timeout: the body of the request did not arrive within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// 409: the name is taken.
    #[error("{} already exists", .0.quoted())]
    AlreadyExists(Subject),
    /// 409: the object is not as the client believes.
    #[error("Operation cannot be fulfilled on {}: {why}", subject.quoted())]
    Conflict {
        /// The object.
        subject: Subject,
        /// The reason, after the colon.
        why: String,
    },
    /// 409: an apply would change fields that others own.
    #[error("{0}")]
    ApplyConflict(Conflicts),
    /// 410: the revision has been compacted away. `continue_token` lets a list go on at the latest revision.
    #[error("{message}")]
    Expired {
        /// What expired.
        message: String,
        /// A fresh token, for lists.
        continue_token: Option<String>,
    },
    /// 413
    #[error("Request entity too large: limit is {0}")]
    TooLarge(usize),
    /// 413: how many operations a JSON patch may have, and how many this one has.
    #[error("Request entity too large: The allowed maximum operations in a JSON patch is {0}, got {1}")]
    TooManyOperations(usize, usize),
    /// 415
    #[error("the body of the request was in an unknown format - accepted media types include: {0}")]
    UnsupportedMediaType(String),
    /// 422: the object is not valid.
    #[error("{}", invalid_message(subject, causes))]
    Invalid {
        /// The object; its kind is the kind's name, not the plural.
        subject: Subject,
        /// Each reason with its field.
        causes: Vec<Cause>,
    },
    /// 422: the patch cannot be applied to what is there.
    #[error("the server rejected our request due to an error in our request")]
    Unprocessable,
    /// 500, without a reason: a configuration that is not of its type, a strategic merge that makes no sense. (Upstream's
    /// server takes these for its own failures.)
    #[error("{0}")]
    Untyped(String),
    /// 500
    #[error("Internal error occurred: {0}")]
    Internal(String),
    /// 429: a pod may not go, for its disruption budget has no room.
    #[error("Cannot evict pod as it would violate the pod's disruption budget.")]
    Disruption {
        /// What the budget needs.
        why: String,
        /// When to ask again.
        retry_seconds: Option<u32>,
    },
    /// 503: the disk refuses writes, the node's agent does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// 504: the answer was not there when the client wanted it.
    #[error("Timeout: request did not complete within requested timeout - context deadline exceeded")]
    TooLate,
    /// 504: the revision has not been reached yet.
    #[error("Timeout: {0}")]
    TooNew(String),
}

/// Says what a client did wrong when its revision is not the object's.
pub(crate) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

fn invalid_message(subject: &Subject, causes: &[Cause]) -> String {
    let causes: Vec<String> = causes
        .iter()
        .map(|cause| match cause.field.as_str() {
            "" => cause.message.clone(),
            field => format!("{field}: {}", cause.message),
        })
        .collect();
    let why = if causes.len() == 1 {
        causes.concat()
    } else {
        format!("[{}]", causes.join(", "))
    };
    format!("{} is invalid: {why}", subject.quoted())
}

impl Failure {
    /// The object of a resource does not exist.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::NotFound(Subject::new(resource, name))
    }

    /// The object may not be written as it is.
    pub fn forbidden(resource: &Resource, object: &Value, why: String) -> Self {
        Self::Forbidden {
            subject: Subject::new(resource, meta_str(object, "name")),
            why,
            causes: Vec::new(),
        }
    }

    /// The object has been modified since the client read it.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        Self::Conflict {
            subject: Subject::new(resource, name),
            why: MODIFIED.to_owned(),
        }
    }

    /// The object is not valid.
    pub fn invalid(resource: &Resource, name: &str, causes: Vec<Cause>) -> Self {
        let mut subject = Subject::new(resource, name);
        subject.kind = resource.kind.kind.to_owned();
        Self::Invalid { subject, causes }
    }

    /// Some of the options of a list, watch or write are not valid; `options` is what they are called together.
    pub fn invalid_options(options: &str, causes: Vec<Cause>) -> Self {
        let subject = Subject {
            group: "meta.k8s.io".to_owned(),
            kind: options.to_owned(),
            name: String::new(),
        };
        Self::Invalid { subject, causes }
    }

    /// One of the options is not valid.
    pub fn invalid_option(options: &str, reason: &'static str, field: &str, message: String) -> Self {
        let cause = Cause {
            reason,
            message,
            field: field.to_owned(),
        };
        Self::invalid_options(options, vec![cause])
    }

    /// A pod's disruption budget has no room.
    pub fn disruption(why: String, retry_seconds: Option<u32>) -> Self {
        Self::Disruption { why, retry_seconds }
    }

    fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden { .. } | Self::CrossOrigin => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotFound(_) | Self::NoSuchPath => (StatusCode::NOT_FOUND, "NotFound"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "NotAcceptable"),
            Self::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "Timeout"),
            Self::AlreadyExists(_) => (StatusCode::CONFLICT, "AlreadyExists"),
            Self::Conflict { .. } | Self::ApplyConflict(_) => (StatusCode::CONFLICT, "Conflict"),
            Self::Expired { .. } => (StatusCode::GONE, "Expired"),
            Self::TooLarge(_) | Self::TooManyOperations(..) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge")
            }
            Self::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType"),
            Self::Invalid { .. } | Self::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
            Self::Untyped(_) => (StatusCode::INTERNAL_SERVER_ERROR, ""),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Self::Disruption { .. } => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Self::TooNew(_) | Self::TooLate => (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
        }
    }

    fn details(&self) -> Option<Details> {
        let mut details = match self {
            Self::Forbidden { subject, causes, .. } | Self::Invalid { subject, causes } => Details {
                causes: causes.iter().map(StatusCause::from).collect(),
                ..Details::about(subject)
            },
            Self::NotFound(subject) | Self::AlreadyExists(subject) | Self::Conflict { subject, .. } => {
                Details::about(subject)
            }
            Self::ApplyConflict(conflicts) => Details {
                causes: conflicts.causes().iter().map(StatusCause::from).collect(),
                ..Details::default()
            },
            Self::TooNew(_) => {
                let cause = StatusCause::new("ResourceVersionTooLarge", "Too large resource version");
                Details {
                    causes: vec![cause],
                    ..Details::default()
                }
            }
            Self::Disruption { why, retry_seconds } => Details {
                causes: vec![StatusCause::new("DisruptionBudget", why)],
                retry_after_seconds: *retry_seconds,
                ..Details::default()
            },
            Self::NoSuchPath | Self::MethodNotAllowed | Self::Unprocessable => Details::default(),
            _ => return None,
        };
        if matches!(self, Self::TooNew(_)) {
            details.retry_after_seconds = Some(1);
        }
        Some(details)
    }

    /// The failure as a `Status` object.
    pub fn to_json(&self) -> Vec<u8> {
        let (code, reason) = self.code();
        let continue_token = match self {
            Self::Expired { continue_token, .. } => continue_token.clone(),
            _ => None,
        };
        Status {
            kind: "Status",
            api_version: "v1",
            metadata: StatusMeta { continue_token },
            status: "Failure",
            message: Some(self.to_string()),
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            details: self.details(),
            code: Some(code.as_u16()),
        }
        .to_json()
    }

    /// The failure as a response.
    pub fn into_response(self) -> Response {
        let (code, _) = self.code();
        let mut response = body::json(code, self.to_json());
        if code == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"coracle\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        // Not where a person waits for the answer: clients would try ten times before they say what is wrong.
        let asks_again = match &self {
            Self::TooNew(_) => true,
            Self::Disruption { retry_seconds, .. } => retry_seconds.is_some(),
            _ => false,
        };
        if asks_again {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A store's refusal, where no object is to blame for it. Conflicts are the caller's to handle.
impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Compacted { .. } => Self::Expired {
                message: error.to_string(),
                continue_token: None,
            },
            store::Error::Future { .. } => Self::TooNew(error.to_string()),
            store::Error::Conflict { .. } => Self::Internal(error.to_string()),
            store::Error::Unwritable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            group: "apps".to_owned(),
            kind: "deployments".to_owned(),
            name: "web".to_owned(),
        }
    }

    #[test]
    fn bodies_are_upstreams() {
        let body = String::from_utf8(Failure::NotFound(subject()).to_json()).unwrap();
        assert_eq!(
            body,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deployments.apps \"web\" not found","reason":"NotFound","details":{"name":"web","group":"apps","kind":"deployments"},"code":404}"#
        );
        let body = String::from_utf8(Failure::Unauthorized.to_json()).unwrap();
        assert_eq!(
            body,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#
        );
    }

    #[test]
    fn brackets_only_around_several_causes() {
        let cause = |field: &str| Cause {
            reason: "FieldValueRequired",
            message: "Required value".to_owned(),
            field: field.to_owned(),
        };
        let mut subject = subject();
        subject.kind = "Deployment".to_owned();
        let one = Failure::Invalid {
            subject: subject.clone(),
            causes: vec![cause("a")],
        };
        assert_eq!(
            one.to_string(),
            r#"Deployment.apps "web" is invalid: a: Required value"#
        );
        let two = Failure::Invalid {
            subject,
            causes: vec![cause("a"), cause("b")],
        };
        assert_eq!(
            two.to_string(),
            r#"Deployment.apps "web" is invalid: [a: Required value, b: Required value]"#
        );
    }
}
