//! Large answers are sent compressed to clients that take that.
//!
//! Flows in: a response and the `Accept-Encoding` of its request. Flows out: the same, or gzip of it. Watches, logs and
//! whatever else has no length of its own go as they are.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::body::{self, Response};

/// From how many bytes on an answer is compressed; upstream's.
const LARGE: u64 = 128 * 1024;

/// Marks a response that is not ours, such as a pod's: it goes as it is, and is never gathered in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign;

/// Whether a client takes gzip.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.map(str::trim).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

/// The response, compressed if it is large.
pub(crate) async fn large(response: Response) -> Response {
    let is_large = response
        .body()
        .size_hint()
        .exact()
        .is_some_and(|length| length >= LARGE);
    let is_foreign = response.extensions().get::<Foreign>().is_some();
    if !is_large || is_foreign || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(whole) = body.collect().await else {
        return Response::from_parts(parts, body::full(Bytes::new()));
    };
    let plain = whole.to_bytes();
    let source = plain.clone();
    let compressed = tokio::task::spawn_blocking(move || gzip(&source)).await;
    let bytes = match compressed {
        Ok(Ok(compressed)) => {
            let headers = &mut parts.headers;
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            headers.remove(header::CONTENT_LENGTH);
            compressed.into()
        }
        _ => plain,
    };
    Response::from_parts(parts, body::full(bytes))
}

/// Compresses fast rather than well: most clients are on this machine.
fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_say_whether_they_take_gzip() {
        let takes = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            is_accepted(&headers)
        };
        assert!(takes("gzip") && takes("br;q=1.0, GZip;q=0.5"));
        assert!(!takes("br") && !takes("gzip;q=0") && !is_accepted(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn what_is_not_ours_goes_as_it_is() {
        let response = || Response::new(body::full(vec![b'x'; 200_000]));
        assert!(
            large(response())
                .await
                .headers()
                .contains_key(header::CONTENT_ENCODING)
        );
        let mut foreign = response();
        foreign.extensions_mut().insert(Foreign);
        assert!(
            !large(foreign)
                .await
                .headers()
                .contains_key(header::CONTENT_ENCODING)
        );
    }
}
