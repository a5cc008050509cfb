//! Answers as YAML, for clients that ask for that.
//!
//! Flows in: a response, and the `Accept` header of its request. Flows out: the same, or YAML in place of its JSON. What has
//! no length of its own, and what is not ours, goes as it is.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::body::{self, Response};
use crate::compress::Foreign;

/// The media type of such answers.
pub(crate) const MEDIA_TYPE: &str = "application/yaml";

/// Whether a client wants YAML before anything else.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT);
    accepted.is_some_and(|accepted| accepted.as_bytes().starts_with(MEDIA_TYPE.as_bytes()))
}

/// The response, with its JSON turned into YAML.
pub(crate) async fn instead_of_json(response: Response) -> Response {
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| media == "application/json");
    let is_whole = response.body().size_hint().exact().is_some();
    if !is_json || !is_whole || response.extensions().get::<Foreign>().is_some() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let json = match body.collect().await {
        Ok(whole) => whole.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let value = serde_json::from_slice::<Value>(&json).ok();
    let Some(yaml) = value.and_then(|value| serde_yaml::to_string(&value).ok()) else {
        return Response::from_parts(parts, body::full(json));
    };
    let media = HeaderValue::from_static(MEDIA_TYPE);
    parts.headers.insert(header::CONTENT_TYPE, media);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body::full(yaml))
}
