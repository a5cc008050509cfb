//! The reviews that clients ask for: who am I, may I, whose token is this.
//!
//! Flows in: a POST of a review. Flows out: the review with its status. There are no permissions yet: whoever has a
//! credential may do everything, and that is what the answers say.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::auth::Identity;
use crate::body::{self, Body, Response};
use crate::decode;
use crate::metadata;
use crate::object::push_json;
use crate::path::ObjectPath;
use crate::server::Core;
use crate::status::Failure;
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
}

/// All of them; cluster-scoped, and `v1` is the version to be found in discovery.
pub(crate) const REVIEWS: [Review; 4] = [
    Review {
        group: "authentication.k8s.io",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
    },
    Review {
        group: "authentication.k8s.io",
        kind: "TokenReview",
        plural: "tokenreviews",
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
    },
];

/// The review at a path.
pub(crate) fn at(path: &ObjectPath) -> Option<&'static Review> {
    let found = REVIEWS
        .iter()
        .find(|review| review.plural == path.plural && review.group == path.group);
    found.filter(|review| {
        let known = path.version == "v1" || review.is_asked_before(&path.version);
        known && path.namespace.is_none() && path.name.is_none()
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
    (review, version): (&Review, &str),
    identity: &Identity,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let bytes = body::collect(body).await?;
    let mut sent = decode::body(headers, &bytes)?.value;
    let spec = sent["spec"].clone();
    let status = match review.kind {
        "TokenReview" => token::review(core, sent.take()).await?,
        _ => status(review, identity),
    };
    let mut answer = json!({
        "kind": review.kind,
        "apiVersion": format!("{}/{version}", review.group),
        "metadata": { "creationTimestamp": metadata::now() },
        "status": status,
    });
    if review.kind != "SelfSubjectReview" {
        answer["spec"] = if spec.is_object() { spec } else { json!({}) };
    }
    let mut out = Vec::new();
    push_json(&mut out, &answer);
    Ok(body::json(StatusCode::CREATED, out))
}

fn status(review: &Review, identity: &Identity) -> Value {
    match review.kind {
        "SelfSubjectReview" => {
            json!({ "userInfo": identity.to_user_info() })
        }
        "SelfSubjectAccessReview" => json!({ "allowed": true }),
        _ => json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }),
    }
}
