//! Connections to a pod's ports through a WebSocket's channels, for client libraries without SPDY.
//!
//! Each port of the query is one connection with two channels, data and errors; the first message on each is the port's
//! number, low byte first (`pkg/kubelet/cri/streaming/portforward/websocket.go`). A client cannot close its direction of
//! one connection, only the WebSocket.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::codec::Codec;
use super::port_forward::Destination;
use super::upgrade;
use super::{BoxError, Refusal};

/// Messages that wait for the client, or for a pod.
const BACKLOG: usize = 16;
/// Longest message sent.
const PIECE: usize = 32 * 1024;
/// A channel's number is a byte, and a port has two.
const MOST_PORTS: usize = 128;

/// The ports that a query asks for, `ports=80&ports=81` or `ports=80,81`.
pub fn ports(query: &str) -> Result<Vec<u16>, Refusal> {
    let mut ports = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !matches!(name.as_ref(), "ports" | "port") {
            continue;
        }
        for word in value.split(',') {
            let port = word.trim().parse().ok().filter(|&port: &u16| port != 0);
            ports.push(
                port.ok_or_else(|| Refusal::bad_request(format!("unable to parse {word:?} as a port")))?,
            );
        }
    }
    if ports.len() > MOST_PORTS {
        return Err(Refusal::bad_request(format!("more than {MOST_PORTS} ports")));
    }
    Ok(ports)
}

/// Serves the connections until all have ended, or the client has gone.
pub async fn serve(
    upgrade: OnUpgrade,
    codec: Codec,
    destination: Destination,
    ports: Vec<u16>,
) -> Result<(), BoxError> {
    let (mut output, mut input) = upgrade::socket(upgrade).await?.split();
    let (messages, mut outgoing) = mpsc::channel(BACKLOG);
    let mut connections = JoinSet::new();
    let mut uploads = Vec::new();
    for (port, channel) in ports.into_iter().zip((0..=u8::MAX).step_by(2)) {
        let (upload, pieces) = mpsc::channel(BACKLOG);
        uploads.push(upload);
        let (destination, messages) = (destination.clone(), messages.clone());
        connections.spawn(async move { forward(&destination, port, channel, &messages, pieces).await });
    }
    drop(messages);
    let send = async {
        while let Some(message) = outgoing.recv().await {
            output.send(codec.message(message)).await?;
        }
        output.close().await
    };
    let receive = async {
        while let Some(Ok(message)) = input.next().await {
            let Some(mut data) = codec.piece(message) else {
                continue;
            };
            let channel = data.split_to(1)[0];
            if channel % 2 == 0
                && let Some(upload) = uploads.get(usize::from(channel / 2))
            {
                // What a pod does not take any more is dropped.
                let _ = upload.send(data).await;
            }
        }
    };
    tokio::select! {
        sent = send => sent?,
        () = receive => {}
    }
    Ok(())
}

type Messages = mpsc::Sender<Bytes>;

async fn forward(
    destination: &Destination,
    port: u16,
    channel: u8,
    messages: &Messages,
    pieces: mpsc::Receiver<Bytes>,
) {
    let errors = channel + 1;
    for channel in [channel, errors] {
        if send(messages, channel, &port.to_le_bytes()).await.is_err() {
            return;
        }
    }
    match destination.connect(port).await {
        Ok(pod) => {
            let (from_pod, to_pod) = pod.into_split();
            tokio::select! {
                () = download(from_pod, channel, messages) => {}
                // The client has gone.
                () = upload(to_pod, pieces) => {}
            }
        }
        Err(text) => {
            // A client that has gone need not be told.
            let _ = send(messages, errors, text.as_bytes()).await;
        }
    }
}

async fn send(messages: &Messages, channel: u8, data: &[u8]) -> Result<(), mpsc::error::SendError<Bytes>> {
    let mut message = BytesMut::with_capacity(data.len() + 1);
    message.put_u8(channel);
    message.put_slice(data);
    messages.send(message.freeze()).await
}

async fn download(mut pod: OwnedReadHalf, channel: u8, messages: &Messages) {
    let mut data = vec![0; PIECE];
    // The pod's end, or its breaking off, ends the connection; so does that of the client.
    while let Ok(read @ 1..) = pod.read(&mut data).await {
        if send(messages, channel, &data[..read]).await.is_err() {
            return;
        }
    }
}

async fn upload(mut pod: OwnedWriteHalf, mut pieces: mpsc::Receiver<Bytes>) {
    let mut takes = true;
    while let Some(piece) = pieces.recv().await {
        takes = takes && pod.write_all(&piece).await.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert_eq!(ports("ports=80&ports=81,82&x=9").ok(), Some(vec![80, 81, 82]));
        assert_eq!(ports("").ok(), Some(vec![]));
        for wrong in ["ports=0", "ports=70000", "ports=http", "ports="] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
        assert!(ports(&format!("ports={}", ["1"; 129].join(","))).is_err());
    }
}
