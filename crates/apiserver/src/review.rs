//! The reviews that clients ask for: who am I, may I, whose token is this.
//!
//! Flows in: a POST of a review. Flows out: the review with its status. There are no permissions yet: whoever has a
//! credential may do everything, and that is what the answers say.

use api::kind::Cause;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::auth::Identity;
use crate::body::{self, Body, Response};
use crate::decode;
use crate::metadata;
use crate::object::push_json;
use crate::path::ObjectPath;
use crate::server::Core;
use crate::status::{Failure, Subject};
use crate::token;

/// A kind that is never stored: it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Review {
    /// API group.
    pub group: &'static str,
    /// `SelfSubjectReview`
    pub kind: &'static str,
    /// `selfsubjectreviews`
    pub plural: &'static str,
    /// Whether it is asked in a namespace.
    pub namespaced: bool,
}

/// All of them; `v1` is the version to be found in discovery.
pub(crate) const REVIEWS: [Review; 6] = [
    Review {
        group: "authentication.k8s.io",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        namespaced: false,
    },
    Review {
        group: "authentication.k8s.io",
        kind: "TokenReview",
        plural: "tokenreviews",
        namespaced: false,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        namespaced: false,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        namespaced: false,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
        namespaced: false,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "LocalSubjectAccessReview",
        plural: "localsubjectaccessreviews",
        namespaced: true,
    },
];

/// The review at a path.
pub(crate) fn at(path: &ObjectPath) -> Option<&'static Review> {
    let found = REVIEWS
        .iter()
        .find(|review| review.plural == path.plural && review.group == path.group);
    found.filter(|review| {
        let known = path.version == "v1" || review.is_asked_before(&path.version);
        known && path.namespace.is_some() == review.namespaced && path.name.is_none()
    })
}

impl Review {
    /// `kubectl auth whoami` asks in these versions up to kubectl 1.27, without a look at discovery.
    fn is_asked_before(&self, version: &str) -> bool {
        self.kind == "SelfSubjectReview" && matches!(version, "v1alpha1" | "v1beta1")
    }
}

/// Serves a POST of a review.
pub(crate) async fn answer(
    core: &Core,
    (review, path): (&Review, &ObjectPath),
    identity: &Identity,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let bytes = body::collect(body).await?;
    let mut sent = decode::body(headers, &bytes, review.kind)?.value;
    let spec = sent["spec"].clone();
    let status = match review.kind {
        "TokenReview" => token::review(core, sent.take()).await?,
        _ => {
            let causes = problems(review, &spec, path.namespace.as_deref());
            if !causes.is_empty() {
                let subject = Subject {
                    group: review.group.to_owned(),
                    kind: review.kind.to_owned(),
                    name: String::new(),
                };
                return Err(Failure::Invalid { subject, causes });
            }
            status(review, identity, &spec)
        }
    };
    let mut answer = json!({
        "kind": review.kind,
        "apiVersion": format!("{}/{}", review.group, path.version),
        "metadata": { "creationTimestamp": metadata::now() },
        "status": status,
    });
    if let Some(namespace) = &path.namespace {
        answer["metadata"]["namespace"] = namespace.as_str().into();
    }
    if review.kind != "SelfSubjectReview" {
        answer["spec"] = if spec.is_object() { spec } else { json!({}) };
    }
    let mut out = Vec::new();
    push_json(&mut out, &answer);
    Ok(body::json(StatusCode::CREATED, out))
}

/// What is wrong with a question about access; upstream `pkg/apis/authorization/validation`.
fn problems(review: &Review, spec: &Value, namespace: Option<&str>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if !review.kind.ends_with("AccessReview") {
        return causes;
    }
    let mut invalid = |field: &str, value: &Value, why: &str| {
        causes.push(Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {why}"),
            field: field.to_owned(),
        });
    };
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    match (resource.is_object(), other.is_object()) {
        (true, true) => invalid(
            "spec.nonResourceAttributes",
            other,
            "cannot be specified in combination with resourceAttributes",
        ),
        (false, false) => invalid(
            "spec.resourceAttributes",
            resource,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => {}
    }
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let user = spec["user"].as_str().unwrap_or_default();
    if review.kind != "SelfSubjectAccessReview" && user.is_empty() && is_empty(&spec["groups"]) {
        let why = "at least one of user or group must be specified";
        invalid("spec.user", &json!(user), why);
    }
    if let Some(namespace) = namespace {
        let asked = resource["namespace"].as_str().unwrap_or_default();
        if resource.is_object() && asked != namespace {
            let why = "must match metadata.namespace";
            invalid("spec.resourceAttributes.namespace", &json!(asked), why);
        }
        if other.is_object() {
            let why = "disallowed on this kind of request";
            invalid("spec.nonResourceAttributes", other, why);
        }
    }
    causes
}

fn status(review: &Review, identity: &Identity, spec: &Value) -> Value {
    match review.kind {
        "SelfSubjectReview" => {
            json!({ "userInfo": identity.to_user_info() })
        }
        "SelfSubjectAccessReview" => json!({ "allowed": true }),
        "SubjectAccessReview" | "LocalSubjectAccessReview" if spec["user"] == "system:anonymous" => {
            json!({ "allowed": false, "reason": "whoever has no credential may do nothing" })
        }
        "SubjectAccessReview" | "LocalSubjectAccessReview" => json!({ "allowed": true }),
        _ => json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }),
    }
}
