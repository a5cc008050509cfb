//! A watch over a WebSocket.
//!
//! Flows in: a request to upgrade, and the lines of a watch. Flows out: one text message for each line. Rules are those of
//! upstream's `HandleWS` and of the library behind it. A client has nothing to say but that it goes.

use bytes::Bytes;
use futures::{SinkExt as _, Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::body::{self, BoxError, Request, Response};
use crate::status::Failure;

/// The longest message that a client may send, in bytes: it is read to be ignored.
const LONGEST_MESSAGE: usize = 64 << 10;

/// Whether a client asks for a WebSocket.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let named = |name| {
        let value = headers.get(name).map(HeaderValue::as_bytes);
        String::from_utf8_lossy(value.unwrap_or_default()).to_ascii_lowercase()
    };
    let mut connection = named(header::CONNECTION);
    connection.retain(|letter| letter != ' ');
    named(header::UPGRADE) == "websocket" && connection.split(',').any(|word| word == "upgrade")
}

/// Agrees to a WebSocket, and sends the lines once the client has it.
pub(super) fn answer(
    request: &mut Request,
    lines: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Response, Failure> {
    let headers = request.headers();
    let bad = |why: &str| Failure::BadRequest(why.to_owned());
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| bad("mismatch challenge/response"))?;
    let accept = derive_accept_key(key.as_bytes());
    let accept = HeaderValue::from_str(&accept).map_err(|error| bad(&error.to_string()))?;
    let protocol = headers.get(header::SEC_WEBSOCKET_PROTOCOL).cloned();
    // There is nothing to choose by: the one that is offered is taken.
    if protocol
        .as_ref()
        .is_some_and(|offered| offered.as_bytes().contains(&b','))
    {
        return Err(bad("missing or bad WebSocket-Protocol"));
    }
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Err(error) = serve(upgrade, lines).await {
            tracing::debug!(%error, "a watch over a WebSocket ended");
        }
    });
    let mut response = Response::new(body::full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

async fn serve(upgrade: OnUpgrade, lines: impl Stream<Item = Bytes>) -> Result<(), BoxError> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    let upgraded = TokioIo::new(upgrade.await?);
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
    let mut lines = std::pin::pin!(lines);
    loop {
        tokio::select! {
            several = lines.next() => {
                let Some(several) = several else { break };
                for line in one_by_one(several) {
                    socket.feed(Message::Text(Utf8Bytes::try_from(line)?)).await?;
                }
                socket.flush().await?;
            }
            message = socket.next() => if !matches!(message, Some(Ok(_))) { break },
        }
    }
    let end = CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::default(),
    };
    // A client that has gone need not be told.
    let _ = socket.close(Some(end)).await;
    socket.get_mut().shutdown().await?;
    Ok(())
}

/// Each line with its end. None has another line break in it: JSON escapes them.
fn one_by_one(mut lines: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let end = lines.iter().position(|byte| *byte == b'\n')?;
        Some(lines.split_to(end + 1))
    })
}
