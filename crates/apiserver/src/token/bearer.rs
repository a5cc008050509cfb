//! `Authorization: Bearer`: whom a token stands for, as long as what it was made for exists.
//!
//! Flows in: headers, TokenReviews. Flows out: an identity, or 401. A token counts for more than the certificate of the
//! connection, for it is what the request itself says (upstream asks the certificate first, so that `kubectl --token`
//! has no effect with a kubeconfig like ours).

use http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewStatus};
use serde_json::{Value, json};

use super::{Claims, ISSUER, Reference};
use crate::auth::Identity;
use crate::object::{Object, meta_str};
use crate::server::Core;
use crate::status::Failure;

/// Who the request's token says is asking. `None`: it brings none.
pub(crate) async fn authenticate(core: &Core, headers: &HeaderMap) -> Result<Option<Identity>, Failure> {
    let Some(token) = headers.get(header::AUTHORIZATION).and_then(bearer) else {
        return Ok(None);
    };
    let found = identify(core, token, &[ISSUER.to_owned()]).await?;
    let (identity, _) = found.ok_or(Failure::Unauthorized)?;
    Ok(Some(identity))
}

/// The token of the header `Authorization`, if it is of the kind that brings one. An empty token is a bad one: a script's
/// empty variable must not make it whoever the certificate names.
fn bearer(value: &http::HeaderValue) -> Option<&str> {
    let value = value.to_str().ok()?.trim();
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whom a token stands for and which of the audiences it is for, if it is valid for any of them.
async fn identify(
    core: &Core,
    token: &str,
    audiences: &[String],
) -> Result<Option<(Identity, Vec<String>)>, Failure> {
    let Some(claims) = core
        .config
        .token_key
        .verify(token, jiff::Timestamp::now().as_second())
    else {
        return Ok(None);
    };
    let meant = claims.audiences.iter().filter(|one| audiences.contains(one));
    let meant: Vec<String> = meant.cloned().collect();
    if meant.is_empty() || !is_in_force(core, &claims).await? {
        return Ok(None);
    }
    Ok(Some((identity(claims), meant)))
}

/// A token ends with its account, and with the object that it is bound to.
async fn is_in_force(core: &Core, claims: &Claims) -> Result<bool, Failure> {
    let bound = &claims.bound;
    let all = [
        ("serviceaccounts", Some(&bound.serviceaccount)),
        ("pods", bound.pod.as_ref()),
        ("secrets", bound.secret.as_ref()),
    ];
    for (plural, reference) in all {
        if let Some(reference) = reference
            && !exists(core, plural, &bound.namespace, reference).await?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn exists(
    core: &Core,
    plural: &'static str,
    namespace: &str,
    wanted: &Reference,
) -> Result<bool, Failure> {
    let resource = core.registry.get("", plural)?;
    let entry = core
        .store
        .get(&resource.key(Some(namespace), &wanted.name))
        .await?;
    let uid = |entry: &store::Entry| meta_str(&Object::from(entry).to_value(&resource), "uid") == wanted.uid;
    Ok(entry.is_some_and(|entry| uid(&entry)))
}

fn identity(claims: Claims) -> Identity {
    let (bound, prefix) = (claims.bound, "authentication.kubernetes.io");
    let mut identity = Identity::new(
        &claims.subject,
        &[
            "system:serviceaccounts",
            &format!("system:serviceaccounts:{}", bound.namespace),
        ],
    );
    identity.uid = bound.serviceaccount.uid;
    let mut add = |key: &str, value: String| {
        identity.extra.insert(format!("{prefix}/{key}"), vec![value]);
    };
    add("credential-id", format!("JTI={}", claims.id));
    if let Some(pod) = bound.pod {
        add("pod-name", pod.name);
        add("pod-uid", pod.uid);
    }
    identity.authenticated()
}

/// The status of a TokenReview. A token that is not ours is an answer, not a failure.
pub(crate) async fn review(core: &Core, review: Value) -> Result<Value, Failure> {
    let review: TokenReview =
        serde_json::from_value(review).map_err(|error| Failure::BadRequest(error.to_string()))?;
    let spec = review.spec;
    let audiences = spec.audiences.filter(|asked| !asked.is_empty());
    let audiences = audiences.unwrap_or_else(|| vec![ISSUER.to_owned()]);
    let token = spec.token;
    if token.is_empty() {
        return Err(Failure::BadRequest(
            "token is required for TokenReview in authentication".to_owned(),
        ));
    }
    let status = match identify(core, &token, &audiences).await? {
        Some((identity, meant)) => json!({
            "authenticated": true,
            "user": identity.to_user_info(),
            "audiences": meant,
        }),
        None => json!(TokenReviewStatus {
            error: Some("the token is not valid, has expired, or is for another audience".to_owned()),
            ..TokenReviewStatus::default()
        }),
    };
    Ok(status)
}
