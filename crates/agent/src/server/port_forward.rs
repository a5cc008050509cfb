//! Connections to a pod's ports through the API: `kubectl port-forward`.
//!
//! With SPDY each connection is two streams of the same `requestID`: one for errors, one for data. With the older
//! WebSocket protocol each port of the query has two channels, data and errors, which begin with the port's number. An
//! error ends one connection and not the others. Texts and protocols are upstream's
//! (`pkg/kubelet/cri/streaming/portforward`).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::codec::Codec;
use super::spdy::{Connection, Reader, Reset, Stream, Writer};
use super::upgrade::{self, Carrier, Protocols};
use super::{Body, BoxError, Refusal, forward_channels};
use crate::{sandbox, start};

const PROTOCOLS: Protocols = Protocols {
    channels: &["v4.channel.k8s.io", "v4.base64.channel.k8s.io"],
    spdy: &["portforward.k8s.io"],
};
/// How long one of the two streams of a connection may be alone.
const PAIRING: Duration = Duration::from_secs(30);
/// How long a pod's port may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes read from a pod at a time.
const PIECE: usize = 32 * 1024;

/// The pod that connections lead to: this one, and not another that takes its name later.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The pod's folder, which knows where its ports really are.
    pub dir: PathBuf,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
}

impl Destination {
    /// Connects to what the pod declares as this port; the error is what the user is told.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let Self { name, uid, .. } = self;
        self.dial(port)
            .await
            .map_err(|why| format!("error forwarding port {port} to pod {name}, uid {uid}: {why}"))
    }

    async fn dial(&self, port: u16) -> Result<TcpStream, String> {
        let place = sandbox::place(&self.dir).ok_or("the pod is not running")?;
        let address = SocketAddrV4::new(place.ip, start::real_port(&place, port, "TCP"));
        let failed = |error: io::Error| {
            let reason = match error.kind() {
                io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
                io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
                _ => error.to_string(),
            };
            format!("dial tcp {address}: {reason}")
        };
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(stream)
    }
}

/// Answers `/portForward/{namespace}/{pod}`: upgrades the connection and serves it.
pub fn answer(destination: Destination, mut request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let ports = forward_channels::ports(request.uri().query().unwrap_or_default())?;
    let (response, agreement, upgrade) = upgrade::agree(&mut request, PROTOCOLS)?;
    if agreement.carrier == Carrier::Channels && ports.is_empty() {
        return Err(Refusal::bad_request("query parameter \"port\" is required"));
    }
    tokio::spawn(async move {
        let served = match agreement.carrier {
            Carrier::Channels => {
                let codec = Codec::of(agreement.protocol);
                forward_channels::serve(upgrade, codec, destination, ports).await
            }
            carrier => serve(upgrade, carrier, destination).await,
        };
        if let Err(error) = served {
            tracing::debug!(%error, "port-forward");
        }
    });
    Ok(response)
}

/// One of the two streams of a connection, and since when it waits for the other.
struct Half {
    stream: Stream,
    is_error: bool,
    since: Instant,
}

async fn serve(upgrade: OnUpgrade, carrier: Carrier, destination: Destination) -> Result<(), BoxError> {
    let mut connection = Connection::new(upgrade::transport(upgrade, carrier).await?);
    let mut halves: HashMap<String, Half> = HashMap::new();
    // They end with this task.
    let mut forwarded = JoinSet::new();
    while let Some(stream) = connection.accept().await {
        while forwarded.try_join_next().is_some() {}
        let late = halves.extract_if(|_, half| half.since.elapsed() > PAIRING);
        for (_, half) in late.collect::<Vec<_>>() {
            half.stream.writer.reset().await;
        }
        let Some((port, id, is_error)) = purpose(&stream) else {
            stream.writer.reset().await;
            continue;
        };
        match halves.remove(&id) {
            Some(other) if other.is_error != is_error => {
                let (errors, data) = if is_error {
                    (stream, other.stream)
                } else {
                    (other.stream, stream)
                };
                let destination = destination.clone();
                forwarded.spawn(async move { forward(&destination, port, errors, data).await });
            }
            Some(twin) => {
                twin.stream.writer.reset().await;
                stream.writer.reset().await;
            }
            None => {
                let since = Instant::now();
                halves.insert(
                    id,
                    Half {
                        stream,
                        is_error,
                        since,
                    },
                );
            }
        }
    }
    Ok(())
}

/// A stream's port and connection, and whether it is for errors; `None` if its headers do not say so.
fn purpose(stream: &Stream) -> Option<(u16, String, bool)> {
    let headers = &stream.headers;
    let port = headers.get("port")?.parse().ok().filter(|&port| port != 0)?;
    let is_error = match headers.get("streamType")? {
        "error" => true,
        "data" => false,
        _ => return None,
    };
    // Clients before Kubernetes 1.3 had none, and one connection at a time.
    let id = headers.get("requestID").unwrap_or_default();
    Some((port, id.to_owned(), is_error))
}

/// Forwards one connection until both of its sides have ended.
async fn forward(destination: &Destination, port: u16, errors: Stream, data: Stream) {
    let mut errors = errors.writer;
    let pod = match destination.connect(port).await {
        Ok(pod) => pod,
        Err(text) => {
            // The text first: the client takes the end of the data for a connection that went well.
            let told = async {
                errors.send(text.into()).await?;
                errors.finish().await?;
                data.writer.finish().await
            };
            // A client that has gone need not be told.
            let _: Result<(), Reset> = told.await;
            return;
        }
    };
    let (from_pod, to_pod) = pod.into_split();
    let Stream { reader, writer, .. } = data;
    let mut up = std::pin::pin!(upload(reader, to_pod));
    let mut down = std::pin::pin!(download(from_pod, writer));
    // Either side may end long before the other; but what the client gives up is over. The end of the errors is what the
    // client waits for before it closes its side. That the client has gone meanwhile is no matter.
    tokio::select! {
        () = down.as_mut() => {
            let _ = errors.finish().await;
            let _ = up.await;
        }
        result = up.as_mut() => {
            if result.is_ok() {
                down.await;
            }
            let _ = errors.finish().await;
        }
    }
}

/// Everything that the client sends, as long as the pod takes it; `Err` if the client gives the connection up.
async fn upload(mut reader: Reader, mut pod: OwnedWriteHalf) -> Result<(), Reset> {
    while let Some(data) = reader.next().await? {
        if pod.write_all(&data).await.is_err() {
            // It may have said why, which is on its way to the client.
            return Ok(());
        }
    }
    // A pod that has gone needs no end.
    let _ = pod.shutdown().await;
    Ok(())
}

/// Everything that the pod sends.
async fn download(mut pod: OwnedReadHalf, mut writer: Writer) {
    loop {
        let mut data = BytesMut::with_capacity(PIECE);
        let read = tokio::select! {
            read = pod.read_buf(&mut data) => read,
            () = writer.gone() => return,
        };
        let sent = match read {
            Ok(0) => break,
            Ok(_) => writer.send(data.freeze()).await,
            // What the pod breaks off is broken off.
            Err(_) => return writer.reset().await,
        };
        if sent.is_err() {
            return;
        }
    }
    // A client that has gone does not need the end.
    let _ = writer.finish().await;
}
