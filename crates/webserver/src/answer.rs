//! What each path answers.
//!
//! `/` the page · `/healthz` 200 · `/echo` the request's body · `/slow?ms=N` after N ms · `/drip?ms=N&bytes=M` M bytes
//! over N ms · `/status/NNN` that status · all else 404. Every response carries the identity, and the request's
//! `X-Request-Id`, so that a client can tell whose answer it got and to which question.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};

use crate::Identity;
use crate::drip::Drip;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The longest `ms` that is taken seriously.
const LONGEST: u64 = 3_600_000;

/// Almost every answer is whole; the others need no speed.
pub(crate) type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, hyper::Error>>;

/// Answers for one pod.
pub(crate) struct Answers {
    identity: Identity,
    page: Bytes,
}

impl Answers {
    pub fn new(identity: Identity) -> Self {
        Self {
            page: identity.page().into(),
            identity,
        }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The answer to a request.
    ///
    /// # Errors
    /// If the client breaks off its request's body.
    pub async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
        let id = request.headers().get(REQUEST_ID).cloned();
        let mut response = self.route(request).await?;
        self.identity.sign(response.headers_mut());
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        Ok(response)
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
        if request.uri().path() == "/echo" {
            return Ok(echo(request));
        }
        let (head, mut body) = request.into_parts();
        // A body that nobody has read would cost the connection.
        while !body.is_end_stream()
            && let Some(frame) = body.frame().await
        {
            frame?;
        }
        let query = head.uri.query().unwrap_or_default();
        Ok(match head.uri.path() {
            "/" => whole(StatusCode::OK, HTML, self.page.clone()),
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/slow" => match number(query, "ms") {
                Some(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms.min(LONGEST))).await;
                    text(StatusCode::OK, "done\n")
                }
                None => text(StatusCode::BAD_REQUEST, "usage: /slow?ms=N\n"),
            },
            "/drip" => match (number(query, "ms"), number(query, "bytes")) {
                (Some(ms), Some(bytes)) => drip(bytes, Duration::from_millis(ms.min(LONGEST))),
                _ => text(StatusCode::BAD_REQUEST, "usage: /drip?ms=N&bytes=M\n"),
            },
            path => match path.strip_prefix("/status/") {
                Some(code) => status(code),
                None => text(StatusCode::NOT_FOUND, "not found\n"),
            },
        })
    }
}

fn echo(request: Request<Incoming>) -> Response<Body> {
    let kind = request.headers().get(CONTENT_TYPE).cloned().unwrap_or(TEXT);
    typed(
        StatusCode::OK,
        kind,
        Either::Right(request.into_body().boxed_unsync()),
    )
}

fn drip(bytes: u64, time: Duration) -> Response<Body> {
    let body = Drip::new(bytes, time).map_err(|never| match never {});
    typed(StatusCode::OK, TEXT, Either::Right(body.boxed_unsync()))
}

/// A final status; 1xx are not, and below 100 there are none.
fn status(code: &str) -> Response<Body> {
    match code.parse::<StatusCode>() {
        Ok(status) if !status.is_informational() => {
            let line = format!(
                "{} {}\n",
                status.as_u16(),
                status.canonical_reason().unwrap_or_default()
            );
            whole(
                status,
                TEXT,
                if bodiless(status) {
                    Bytes::new()
                } else {
                    line.into()
                },
            )
        }
        _ => text(StatusCode::BAD_REQUEST, "usage: /status/NNN, from 200 to 999\n"),
    }
}

fn bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn text(status: StatusCode, line: &'static str) -> Response<Body> {
    whole(status, TEXT, Bytes::from_static(line.as_bytes()))
}

fn whole(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Body> {
    typed(status, kind, Either::Left(Full::new(body)))
}

fn typed(status: StatusCode, kind: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// A parameter of the query that is a number.
fn number(query: &str, name: &str) -> Option<u64> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|pair| pair.0 == name)?
        .1
        .parse()
        .ok()
}
