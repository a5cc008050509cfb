//! What `GET /` answers: which paths there are.
//!
//! Flows in: the paths of the documents. Flows out: these and all others, as JSON.

use bytes::Bytes;
use serde_json::json;

/// What the server has besides groups and what is in them.
const OTHERS: [&str; 11] = [
    "/apis/",
    "/healthz",
    "/healthz/ping",
    "/livez",
    "/livez/ping",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/readyz",
    "/readyz/ping",
    "/version",
];

/// The list of paths, for people: one on a line.
pub(super) fn of<'a>(documents: impl Iterator<Item = &'a String>) -> Bytes {
    let mut paths: Vec<&str> = documents.map(String::as_str).chain(OTHERS).collect();
    paths.sort_unstable();
    Bytes::from(format!("{:#}", json!({ "paths": paths })))
}
