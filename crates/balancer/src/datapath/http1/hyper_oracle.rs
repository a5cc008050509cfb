//! hyper, server and client, as oracle: given a message up to the byte where we see its end, it must have seen the whole
//! of it or refuse it, and given a byte less it must be waiting. Time is paused, so that waiting takes none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::oracle::{REQUESTS, request_ends};
use super::*;

/// Longer than any message here.
const ROOM: usize = 1 << 20;

/// What hyper made of bytes.
#[derive(Debug, PartialEq)]
enum Seen {
    Complete(usize),
    Refused(usize),
}

impl Seen {
    fn count(&self) -> usize {
        match self {
            Self::Complete(count) | Self::Refused(count) => *count,
        }
    }
}

/// Runs a future on a clock that stands still unless there is nothing to do.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

/// Until there is nothing to do.
async fn quiet<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(1), future).await.ok()
}

/// Compares, for these bytes of a client.
pub fn requests(bytes: &[u8]) {
    let ends = request_ends(&[bytes]);
    let Some(end) = ends.last() else { return };
    let whole = run(served(&bytes[..*end]));
    let text = bytes.escape_ascii();
    assert!(whole.count() <= ends.len(), "hyper sees more requests: {text}");
    assert!(
        whole == Seen::Complete(ends.len()) || matches!(whole, Seen::Refused(_)),
        "hyper waits for more: {text}"
    );
    let short = run(served(&bytes[..*end - 1]));
    assert!(short.count() < ends.len(), "hyper sees the end earlier: {text}");
}

/// How many whole requests hyper's server sees.
async fn served(bytes: &[u8]) -> Seen {
    let (mut client, server) = tokio::io::duplex(ROOM);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let counted = counted.clone();
        async move {
            request.into_body().collect().await?;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, hyper::Error>(hyper::Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    });
    client.write_all(bytes).await.unwrap();
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
    match quiet(serving).await {
        None => Seen::Complete(count.load(Ordering::SeqCst)),
        Some(_) => Seen::Refused(count.load(Ordering::SeqCst)),
    }
}

/// Compares, for these bytes of a server.
pub fn responses(bytes: &[u8]) {
    for first in &REQUESTS[..2] {
        let Parsed::Complete(head) = request(first) else {
            panic!("a request")
        };
        let (end, next) = Exchange::new(&head).response(bytes);
        let text = bytes.escape_ascii();
        if next != Next::Complete {
            continue;
        }
        let method = if first.starts_with(b"HEAD") { "HEAD" } else { "GET" };
        assert_ne!(
            run(heard(method, &bytes[..end])),
            None,
            "hyper waits for more: {text}"
        );
        assert_ne!(
            run(heard(method, &bytes[..end - 1])),
            Some(true),
            "hyper sees the end earlier: {text}"
        );
    }
}

/// Whether hyper's client sees a whole response; `None`: it waits for more.
async fn heard(method: &str, bytes: &[u8]) -> Option<bool> {
    let (client, mut server) = tokio::io::duplex(ROOM);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(method)
        .body(Empty::<Bytes>::new())
        .unwrap();
    quiet(async {
        let answer = async {
            match sender.send_request(request).await {
                Ok(response) => response.into_body().collect().await.is_ok(),
                Err(_) => false,
            }
        };
        let (answer, ()) = tokio::join!(answer, say(&mut server, bytes));
        answer
    })
    .await
}

/// Answers, once it was asked.
async fn say(server: &mut DuplexStream, bytes: &[u8]) {
    let mut asked = [0; 1024];
    let _ = server.read(&mut asked).await;
    server.write_all(bytes).await.unwrap();
}
