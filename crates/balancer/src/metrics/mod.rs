//! The balancer's counters for Prometheus, over HTTP.
//!
//! Flows in: scrapes at a loopback address. Flows out: the text format 0.0.4, made anew for each scrape from what the
//! datapath has counted. Never slows the datapath down, and never keeps the balancer from running: an address that is
//! taken is tried again until it is free.

mod process;
mod render;
mod text;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::status::Metrics;
use crate::sync::Question;

pub use render::Snapshot;

/// Where the metrics are, at their address.
pub const PATH: &str = "/metrics";
/// Between attempts to listen at an address that is taken.
const RETRY: Duration = Duration::from_secs(1);
/// Scrapes at the same time.
const SCRAPES: usize = 16;
/// How long a scrape may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Serves the metrics at this address until `stop`. What is returned says where, or why not yet.
pub fn serve(
    addr: SocketAddr,
    questions: mpsc::Sender<Question>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> watch::Receiver<Metrics> {
    let (state, seen) = watch::channel(Metrics { addr, error: None });
    let connections = tasks.clone();
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
        let listener = listen(addr, &state).await;
        let slots = Arc::new(Semaphore::new(SCRAPES));
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, which is the datapath's to tell; a client asks again.
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let questions = questions.clone();
            connections.spawn(stop.clone().run_until_cancelled_owned(async move {
                // A client that breaks off, or takes too long, needs no answer.
                let _ = tokio::time::timeout(LIMIT, answer(stream, questions)).await;
                drop(slot);
            }));
        }
    }));
    seen
}

/// Listens, as soon as the address is free.
async fn listen(addr: SocketAddr, state: &watch::Sender<Metrics>) -> TcpListener {
    loop {
        let bound = TcpListener::bind(addr).await;
        match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((addr, listener)) => {
                state.send_replace(Metrics { addr, error: None });
                return listener;
            }
            Err(error) => {
                let error = Some(error.to_string());
                if state
                    .send_replace(Metrics {
                        addr,
                        error: error.clone(),
                    })
                    .error
                    != error
                {
                    tracing::warn!(%addr, error, "cannot serve metrics; tried again every second");
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Answers one request.
async fn answer(stream: TcpStream, questions: mpsc::Sender<Question>) -> hyper::Result<()> {
    let service = service_fn(|request| respond(request, &questions));
    http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn respond(
    request: Request<Incoming>,
    questions: &mpsc::Sender<Question>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, PATH) => match scrape(questions).await {
            Some(text) => (StatusCode::OK, text::CONTENT_TYPE, text),
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "the balancer is stopping\n"),
        },
        (_, PATH) => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
        _ => plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}

fn plain(status: StatusCode, text: &str) -> (StatusCode, &'static str, String) {
    (status, "text/plain; charset=utf-8", text.to_owned())
}

async fn scrape(questions: &mpsc::Sender<Question>) -> Option<String> {
    let (reply, snapshot) = oneshot::channel();
    questions.send(Question::Snapshot(reply)).await.ok()?;
    Some(render::render(&snapshot.await.ok()?, &process::read()))
}
