//! `serviceaccounts/NAME/token`: `kubectl create token`.
//!
//! Flows in: a TokenRequest. Flows out: 201 and the request with a token, which is kept nowhere.

use api::kind::Cause;
use http::StatusCode;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::{Bound, Claims, ISSUER, Reference};
use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::object::{Object, meta_str, push_json};
use crate::status::{Failure, Subject};
use crate::{decode, metadata, write};

/// How long a token lives when nobody says, in seconds.
const LIFETIME: i64 = 3600;

/// The shortest lifetime, in seconds.
const SHORTEST: i64 = 600;

/// The longest lifetime, in seconds.
const LONGEST: i64 = 1 << 32;

/// Serves a POST of a TokenRequest.
pub(crate) async fn issue(call: &Call, body: Body) -> Result<Response, Failure> {
    let sent = decode::body(&call.headers, &body::collect(body).await?, "TokenRequest")?.value;
    write::check_namespace(call.namespace(), &sent)?;
    let mut request: TokenRequest =
        serde_json::from_value(sent).map_err(|error| Failure::BadRequest(error.to_string()))?;
    let account = read(call, "serviceaccounts", call.name()?).await?;
    let mut spec = request.spec.unwrap_or_default();
    let lifetime = lifetime(spec.expiration_seconds.unwrap_or(LIFETIME))?;
    spec.expiration_seconds = Some(lifetime);
    let audiences = spec.audiences.get_or_insert_default();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let (pod, secret) = bind(call, &account, spec.bound_object_ref.as_ref()).await?;
    let namespace = call.namespace().unwrap_or_default().to_owned();
    let name = meta_str(&account, "name").to_owned();
    let now = jiff::Timestamp::now().as_second();
    let claims = Claims {
        audiences: audiences.clone(),
        expires: now + lifetime,
        issued: now,
        issuer: ISSUER.to_owned(),
        id: metadata::uid(),
        not_before: now,
        subject: format!("system:serviceaccount:{namespace}:{name}"),
        bound: Bound {
            serviceaccount: reference(&account),
            namespace: namespace.clone(),
            pod,
            secret,
        },
    };
    let token = call.core.config.token_key.sign(&claims);
    let time = |seconds| jiff::Timestamp::from_second(seconds).ok().map(Time);
    request.status = Some(TokenRequestStatus {
        token: Some(token.map_err(|error| Failure::Internal(format!("no token: {error}")))?),
        expiration_timestamp: time(claims.expires),
    });
    request.spec = Some(spec);
    request.metadata.name = Some(name);
    request.metadata.namespace = Some(namespace);
    request.metadata.creation_timestamp = time(now);
    let mut out = Vec::new();
    push_json(&mut out, &request);
    Ok(body::json(StatusCode::CREATED, out))
}

/// The lifetime that was asked for, in seconds, if it is one that is allowed.
fn lifetime(asked: i64) -> Result<i64, Failure> {
    let why = match asked {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        SHORTEST..=LONGEST => return Ok(asked),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(Failure::Invalid {
        subject: Subject {
            group: "authentication.k8s.io".to_owned(),
            kind: "TokenRequest".to_owned(),
            name: String::new(),
        },
        causes: vec![Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {asked}: {why}"),
            field: "spec.expirationSeconds".to_owned(),
        }],
    })
}

/// The pod or the Secret that the token is to end with.
async fn bind(
    call: &Call,
    account: &Value,
    wanted: Option<&BoundObjectReference>,
) -> Result<(Option<Reference>, Option<Reference>), Failure> {
    let Some(wanted) = wanted else {
        return Ok((None, None));
    };
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    let (version, kind, name) = (word(&wanted.api_version), word(&wanted.kind), word(&wanted.name));
    let plural = match (version.as_str(), kind.as_str()) {
        ("v1", "Pod") => "pods",
        ("v1", "Secret") => "secrets",
        _ => {
            let why = format!("cannot bind token to object of type {version}, Kind={kind}");
            return Err(Failure::BadRequest(why));
        }
    };
    let object = read(call, plural, &name).await?;
    let uid = meta_str(&object, "uid");
    if let Some(asked) = wanted
        .uid
        .as_deref()
        .filter(|asked| !asked.is_empty() && *asked != uid)
    {
        return Err(Failure::Conflict {
            subject: Subject::new(&*call.core.registry.get("", plural)?, &name),
            why: format!(
                "the UID in the bound object reference ({asked}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        });
    }
    let reference = Some(reference(&object));
    if plural == "secrets" {
        return Ok((None, reference));
    }
    let runs_as = object["spec"]["serviceAccountName"].as_str().unwrap_or_default();
    let account = meta_str(account, "name");
    if runs_as != account {
        return Err(Failure::BadRequest(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    Ok((reference, None))
}

async fn read(call: &Call, plural: &'static str, name: &str) -> Result<Value, Failure> {
    let resource = call.core.registry.get("", plural)?;
    let key = resource.key(call.namespace(), name);
    let entry = call.core.read(&resource, &key, name).await?;
    Ok(Object::from(&*entry).to_value(&resource))
}

fn reference(object: &Value) -> Reference {
    Reference {
        name: meta_str(object, "name").to_owned(),
        uid: meta_str(object, "uid").to_owned(),
    }
}
