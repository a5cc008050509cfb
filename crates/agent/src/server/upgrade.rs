//! From a request to a connection that carries streams: a WebSocket, or SPDY.
//!
//! Flows in: a client's request to upgrade, with the protocols it offers. Flows out: the answer, and the connection once
//! the client has it. What goes over the connection is others' business.

use std::io;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_util::codec::{BytesCodec, FramedWrite};
use tokio_util::io::ReaderStream;

use super::spdy::Transport;
use super::{Body, Refusal, full};

/// Where SPDY clients offer protocols, each in a header of its own, and are told which one it is.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Where they are told what they could have offered.
pub const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
/// What a WebSocket's protocol begins with if SPDY goes through it.
const TUNNEL: &str = "SPDY/3.1+";
/// Longest message that a WebSocket client may send, in bytes.
const LONGEST_MESSAGE: usize = 16 << 20;

/// A WebSocket, our side of it.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How streams share a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Each message of a WebSocket is headed by a channel's number.
    Channels,
    /// SPDY on the connection itself.
    Spdy,
    /// SPDY in the messages of a WebSocket.
    Tunnel,
}

/// What client and server have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// How streams are carried.
    pub carrier: Carrier,
    /// The protocol's name; `None` if a WebSocket client offered none.
    pub protocol: Option<&'static str>,
}

/// The protocols that an action has, the best one first.
#[derive(Clone, Copy, Debug)]
pub struct Protocols {
    /// Over a WebSocket's channels.
    pub channels: &'static [&'static str],
    /// Over SPDY.
    pub spdy: &'static [&'static str],
}

/// Agrees with the client: the answer that says so, and what comes of it once the client has read it.
pub fn agree(
    request: &mut Request<Body>,
    protocols: Protocols,
) -> Result<(Response<Body>, Agreement, OnUpgrade), Refusal> {
    let headers = request.headers();
    let wanted = headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    let is = |name: &[u8]| wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(name));
    let (agreement, answer) = match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if is(b"websocket") => websocket(headers, key, protocols)?,
        None if is(b"SPDY/3.1") => spdy(headers, protocols.spdy)?,
        _ => return Err(Refusal::bad_request("Upgrade request required")),
    };
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.extend(answer);
    Ok((response, agreement, hyper::upgrade::on(request)))
}

fn websocket(
    headers: &HeaderMap,
    key: &HeaderValue,
    protocols: Protocols,
) -> Result<(Agreement, HeaderMap), Refusal> {
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(Refusal::internal)?;
    let mut answer = HeaderMap::new();
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    let offered = words(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    let tunnelled = |name: &&str| {
        offered
            .iter()
            .any(|word| word.strip_prefix(TUNNEL) == Some(*name))
    };
    let agreement = if let Some(name) = protocols.spdy.iter().copied().find(tunnelled) {
        let named = HeaderValue::from_str(&format!("{TUNNEL}{name}")).map_err(Refusal::internal)?;
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, named);
        Agreement {
            carrier: Carrier::Tunnel,
            protocol: Some(name),
        }
    } else {
        let channels = protocols.channels.iter().copied();
        let protocol = channels.clone().find(|name| offered.contains(name));
        if let Some(name) = protocol {
            answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
        } else if !offered.is_empty() {
            return Err(Refusal::bad_request(format!(
                "none of the WebSocket protocols {offered:?} is served here: offer one of {:?}",
                channels.collect::<Vec<_>>()
            )));
        }
        Agreement {
            carrier: Carrier::Channels,
            protocol,
        }
    };
    Ok((agreement, answer))
}

fn spdy(headers: &HeaderMap, ours: &'static [&'static str]) -> Result<(Agreement, HeaderMap), Refusal> {
    let offered = words(headers, &STREAM_PROTOCOL);
    let Some(protocol) = ours.iter().copied().find(|name| offered.contains(name)) else {
        let mut refusal = Refusal::forbidden(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {ours:?}"
        ));
        refusal.accepted = ours;
        return Err(refusal);
    };
    let mut answer = HeaderMap::new();
    answer.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    answer.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    let agreement = Agreement {
        carrier: Carrier::Spdy,
        protocol: Some(protocol),
    };
    Ok((agreement, answer))
}

/// The words of headers that are lists.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect()
}

/// The WebSocket that a connection was upgraded to.
pub async fn socket(upgrade: OnUpgrade) -> hyper::Result<Socket> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    let upgraded = TokioIo::new(upgrade.await?);
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await)
}

/// The bytes of SPDY, as agreed on.
pub async fn transport(upgrade: OnUpgrade, carrier: Carrier) -> hyper::Result<Transport> {
    if carrier == Carrier::Tunnel {
        let (output, input) = socket(upgrade).await?.split();
        let input = input.filter_map(|message| async {
            match message {
                Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
                Ok(_) => None,
                Err(error) => Some(Err(io::Error::other(error))),
            }
        });
        let output = output
            .sink_map_err(io::Error::other)
            .with(|bytes: Bytes| std::future::ready(io::Result::Ok(Message::Binary(bytes))));
        return Ok(Transport {
            input: input.boxed(),
            output: Box::pin(output),
        });
    }
    let (read, write) = tokio::io::split(TokioIo::new(upgrade.await?));
    Ok(Transport {
        input: ReaderStream::with_capacity(read, 64 * 1024).boxed(),
        output: Box::pin(FramedWrite::new(write, BytesCodec::new())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOLS: Protocols = Protocols {
        channels: &["v5.channel.k8s.io", "v4.channel.k8s.io"],
        spdy: &["portforward.k8s.io"],
    };

    fn agreed(headers: &[(&'static str, &'static str)]) -> Result<(HeaderMap, Agreement), StatusCode> {
        let mut request = Request::new(full(""));
        for (name, value) in headers {
            request
                .headers_mut()
                .append(*name, HeaderValue::from_static(value));
        }
        let (response, agreement, _) = agree(&mut request, PROTOCOLS).map_err(|refusal| refusal.code)?;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        Ok((response.headers().clone(), agreement))
    }

    #[test]
    fn the_best_common_protocol_is_taken() {
        let websocket = [
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let with = |protocol| [&websocket[..], &[("sec-websocket-protocol", protocol)]].concat();
        let (headers, agreement) = agreed(&with("v4.channel.k8s.io, v5.channel.k8s.io")).unwrap();
        assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(headers["sec-websocket-protocol"], "v5.channel.k8s.io");
        assert_eq!(agreement.carrier, Carrier::Channels);
        let (headers, agreement) = agreed(&with("SPDY/3.1+portforward.k8s.io")).unwrap();
        assert_eq!(headers["sec-websocket-protocol"], "SPDY/3.1+portforward.k8s.io");
        assert_eq!(agreement.carrier, Carrier::Tunnel);
        assert_eq!(agreed(&websocket).unwrap().1.protocol, None);
        assert_eq!(agreed(&with("other")), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn spdy_is_agreed_on_and_other_requests_refused() {
        let with = |protocol| [("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", protocol)];
        let (headers, agreement) = agreed(&with("portforward.k8s.io")).unwrap();
        assert_eq!(headers["x-stream-protocol-version"], "portforward.k8s.io");
        assert_eq!(agreement.carrier, Carrier::Spdy);
        assert_eq!(agreed(&with("v9.channel.k8s.io")), Err(StatusCode::FORBIDDEN));
        assert_eq!(agreed(&[]), Err(StatusCode::BAD_REQUEST));
        assert_eq!(agreed(&[("upgrade", "websocket")]), Err(StatusCode::BAD_REQUEST));
    }
}
