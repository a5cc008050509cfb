//! Requests and responses as both doors see them.
//!
//! Flows in: bytes and streams. Flows out: `http` messages with one body type. Never looks inside a body.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use tokio::runtime::Handle;

use crate::status::Failure;

/// Any error, boxed, as tower passes them on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of requests and responses at every door. `kube::client::Body` cannot be made from a stream outside of kube,
/// so the type is http-body-util's; kube's client takes it as a response body as it is.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A request.
pub(crate) type Request = http::Request<Body>;
/// A response.
pub(crate) type Response = http::Response<Body>;

/// The most bytes that a request body may have.
pub(crate) const MAX_REQUEST: usize = 3 * 1024 * 1024;

/// The most bytes that are read of a body that is refused.
const MAX_DISCARDED: usize = 8 * MAX_REQUEST;

/// How long a client may take to send a body.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that goes on for as long as the stream does.
pub(crate) fn stream(bytes: impl futures::Stream<Item = Bytes> + Send + 'static) -> Body {
    use futures::StreamExt;
    StreamBody::new(bytes.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync()
}

/// A JSON response.
pub(crate) fn json(code: StatusCode, bytes: impl Into<Bytes>) -> Response {
    typed(code, "application/json", bytes)
}

/// A response with a media type.
pub(crate) fn typed(code: StatusCode, media: &'static str, bytes: impl Into<Bytes>) -> Response {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// Adds what the client should be told besides the answer.
pub(crate) fn warn(response: &mut Response, warning: &str) {
    let text = format!("299 - {:?}", warning.replace(['\r', '\n'], " "));
    if let Ok(value) = text.parse() {
        response.headers_mut().append(header::WARNING, value);
    }
}

/// The whole body of a request, refused when it is too large or too slow.
pub(crate) async fn collect(mut body: Body) -> Result<Bytes, Failure> {
    let read = tokio::time::timeout(PATIENCE, read(&mut body)).await;
    if let Ok(Err(Failure::TooLarge(_))) = read {
        // Nothing comes of it that would have to be told.
        let _ = tokio::time::timeout(PATIENCE, discard(body)).await;
    }
    read.unwrap_or(Err(Failure::TooSlow(PATIENCE)))
}

/// Reads what is left of a body, unless that is very much: many clients look for an answer only when they have sent
/// everything, and to these a connection that is closed before is a failure of the network.
async fn discard<B: http_body::Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut read = 0;
    while read < MAX_DISCARDED
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// A body as it comes from the network. What nobody has read of it when it is dropped is read then: HTTP/2 would reset the
/// stream, which to many clients is a failure of the network, even with an answer before it.
pub(crate) struct Arriving(Option<Incoming>);

impl Arriving {
    /// A body that has begun to come.
    pub fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let unread = self.0.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (unread, Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(PATIENCE, discard(body)));
        }
    }
}

async fn read(body: &mut Body) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > MAX_REQUEST as u64 {
        return Err(Failure::TooLarge(MAX_REQUEST));
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Failure::BadRequest(format!("error reading the request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > MAX_REQUEST {
            return Err(Failure::TooLarge(MAX_REQUEST));
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
