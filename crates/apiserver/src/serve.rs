//! The network door: TLS, HTTP/1.1 and HTTP/2.
//!
//! Flows in: connections. Flows out: requests with the identity that their client certificate proves. A client without a
//! certificate, or with one that is not ours, is let in far enough to be told so with a Status. Never trusts a header for
//! who is asking.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Identity;
use crate::body::Arriving;
use crate::pki::ServerTls;
use crate::router;
use crate::server::ApiServer;

/// How long a client may take for the handshake, for its first request, and for the head of each.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long connections may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// How long to wait after the system refused to accept a connection (no file descriptors).
const REFUSED: Duration = Duration::from_millis(100);

/// After how long without a refusal they are over: at the limit they come and go with every connection that ends.
const CALM: Duration = Duration::from_secs(5);

impl ApiServer {
    /// Serves connections until `stop` is cancelled, which also ends all watches and the background work.
    pub async fn serve(&self, listener: TcpListener, tls: ServerTls, stop: CancellationToken) {
        let tls = Arc::new(tls);
        let connections = TaskTracker::new();
        let mut refused: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if refused.take_if(|last| last.elapsed() > CALM).is_some() {
                        tracing::warn!("connections are accepted again");
                    }
                    let (server, tls, stop) = (self.clone(), tls.clone(), stop.clone());
                    connections.spawn(async move { server.connection(stream, peer, &tls, stop).await });
                }
                Err(error) => {
                    if refused.replace(Instant::now()).is_none() {
                        tracing::warn!(%error, "cannot accept connections: they wait; raise the limit of open files (ulimit -n)");
                    }
                    tokio::time::sleep(REFUSED).await;
                }
            }
        }
        self.shutdown();
        connections.close();
        if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::debug!(open = connections.len(), "connections are left open");
        }
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: &ServerTls,
        stop: CancellationToken,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let handshake = TlsAcceptor::from(tls.config.clone()).accept(stream);
        let stream = match tokio::time::timeout(PATIENCE, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS handshake"),
            Err(_) => return tracing::debug!(%peer, "no TLS handshake in time"),
        };
        let identity = identify(&stream, tls);
        let asked = CancellationToken::new();
        let service = service_fn(|request: http::Request<Incoming>| {
            asked.cancel();
            let mut request = request.map(|body| Arriving::new(body).map_err(Into::into).boxed_unsync());
            if let Some(identity) = identity.clone() {
                request.extensions_mut().insert(identity);
            }
            let core = self.core.clone();
            async move { Ok::<_, std::convert::Infallible>(router::handle(core, request).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(1000)
            .keep_alive_interval(Some(PATIENCE));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = silence(&asked) => return tracing::debug!(%peer, "no request in time"),
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

/// Resolves when no request has come in time: such a client need not have shown any credential. hyper's own limits begin
/// with the first bytes only.
async fn silence(asked: &CancellationToken) {
    if tokio::time::timeout(PATIENCE, asked.cancelled()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Who the client certificate says it is, if our authority signed it.
fn identify(stream: &TlsStream<TcpStream>, tls: &ServerTls) -> Option<Identity> {
    let (_, session) = stream.get_ref();
    let (first, rest) = session.peer_certificates()?.split_first()?;
    verified(tls, first, rest)
}

fn verified(tls: &ServerTls, first: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Option<Identity> {
    match tls.clients.verify_client_cert(first, rest, UnixTime::now()) {
        Ok(_) => Some(Identity::of_certificate(first)?.authenticated()),
        Err(error) => {
            tracing::debug!(%error, "a client certificate that is not ours");
            None
        }
    }
}
