//! Listeners and connections.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::answer::{Answers, Body};
use crate::{Identity, Options};

/// Pause after a refused `accept`: out of file descriptors, most likely, and some will be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why it cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    reason: String,
}

/// A web server that listens.
pub struct Server {
    listeners: Vec<TcpListener>,
    shared: Arc<Shared>,
}

struct Shared {
    answers: Answers,
    access_log: bool,
}

impl Server {
    /// Listens on all addresses, or none.
    pub async fn bind(options: Options) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for address in options.listen {
            let refused = |error: std::io::Error| BindError {
                address,
                reason: error.to_string(),
            };
            listeners.push(TcpListener::bind(address).await.map_err(refused)?);
        }
        let answers = Answers::new(options.identity);
        Ok(Self {
            listeners,
            shared: Arc::new(Shared {
                answers,
                access_log: options.access_log,
            }),
        })
    }

    /// Who answers.
    pub fn identity(&self) -> &Identity {
        self.shared.answers.identity()
    }

    /// Where it listens, with the ports that port 0 became.
    pub fn addresses(&self) -> Vec<String> {
        let addresses = self
            .listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok());
        addresses.map(|address| address.to_string()).collect()
    }

    /// Serves until `stop`; then accepts no more, and returns when the last request under way has been answered.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let connections = Arc::new(GracefulShutdown::new());
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, self.shared.clone(), connections.clone()));
        }
        stop.await;
        accepting.shutdown().await;
        // The loops that shared it have ended.
        if let Some(connections) = Arc::into_inner(connections) {
            connections.shutdown().await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: Arc<GracefulShutdown>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => connect(stream, peer, shared.clone(), &connections),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn connect(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, connections: &GracefulShutdown) {
    // Only a matter of speed: a socket that refuses is served all the same.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| respond(shared.clone(), peer, request));
    let watcher = connections.watcher();
    tokio::spawn(async move {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // A client that has said all it wants to say still gets its answer.
        builder.http1().half_close(true);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        // How a connection fails is the client's affair.
        let _ = watcher.watch(connection.into_owned()).await;
    });
}

async fn respond(
    shared: Arc<Shared>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    if !shared.access_log {
        return shared.answers.answer(request).await;
    }
    let line = format!(
        "{} \"{} {} {:?}\"",
        peer.ip(),
        request.method(),
        request.uri(),
        request.version()
    );
    let response = shared.answers.answer(request).await?;
    // Standard output may be closed; the requests go on.
    let _ = writeln!(std::io::stdout(), "{line} {}", response.status().as_u16());
    Ok(response)
}
