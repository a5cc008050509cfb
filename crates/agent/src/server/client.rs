//! The client's side of a command: what it types, what it sees, and how it learns of the end.
//!
//! Flows in: a connection just upgraded. Flows out: input, and what is sent back. With a WebSocket each message is a
//! channel's number and data: 0 standard input, 1 output, 2 error, 3 the outcome as a Status, 4 the terminal's size, and
//! with `v5.channel.k8s.io` 255 with the number of a channel that the client closes. With SPDY each of these is a stream
//! that the client opens, named by its header `streamType`.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, Peekable, SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, protocol::Message};

use super::BoxError;
use super::codec::Codec;
use super::spdy::{Connection, Reader, Stream, Writer};
use super::terminal::Size;
use super::upgrade::{self, Agreement, Carrier, Protocols, Socket};

const STDIN: u8 = 0;
/// The channel of standard output.
pub const STDOUT: u8 = 1;
/// The channel of standard error.
pub const STDERR: u8 = 2;
const OUTCOME: u8 = 3;
const SIZE: u8 = 4;
const CLOSE: u8 = 255;

/// What clients may offer.
pub const PROTOCOLS: Protocols = Protocols {
    channels: &[
        "v5.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "channel.k8s.io",
        "base64.channel.k8s.io",
    ],
    spdy: &["v4.channel.k8s.io"],
};
/// How long a SPDY client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// How long a WebSocket client may take to answer before it is told anything. kubectl reads while it still makes its
/// streams, and throws away what comes for one that is not there yet.
const ANSWER: Duration = Duration::from_millis(250);
/// How long a WebSocket client may take to close its side after we have closed ours.
const LINGER: Duration = Duration::from_secs(2);
/// Longest message of a terminal's size.
const LONGEST_SIZE: usize = 4096;

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// It types.
    pub stdin: bool,
    /// It sees output.
    pub stdout: bool,
    /// It sees errors.
    pub stderr: bool,
    /// It has a terminal.
    pub terminal: bool,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Typed.
    Data(Bytes),
    /// It types no more.
    End,
    /// Its terminal is of this size now.
    Size(Size),
}

/// A client that is connected.
pub struct Client {
    /// What it says; ends when it has gone.
    pub input: BoxStream<'static, Input>,
    /// What it is told.
    pub output: Output,
}

/// Where a client is told things.
pub enum Output {
    /// Over a WebSocket.
    Channels(Channels),
    /// Over SPDY.
    Streams(Box<Streams>),
}

/// The WebSocket of a client.
pub struct Channels {
    socket: SplitSink<Socket, Message>,
    codec: Codec,
    /// Before version 4 clients are told an error's message alone, and nothing of success.
    in_words: bool,
}

impl Channels {
    async fn send(&mut self, piece: Bytes) -> Result<(), tungstenite::Error> {
        self.socket.send(self.codec.message(piece)).await
    }

    /// Tells how it ended.
    async fn tell(&mut self, outcome: &Value) -> Result<(), tungstenite::Error> {
        let text = match outcome["message"].as_str() {
            None if self.in_words => return Ok(()),
            Some(message) if self.in_words => message.to_owned(),
            _ => outcome.to_string(),
        };
        self.send([&[OUTCOME], text.as_bytes()].concat().into()).await
    }
}

/// A SPDY client's streams that lead to it.
pub struct Streams {
    connection: Connection,
    stdout: Option<Writer>,
    stderr: Option<Writer>,
    outcome: Writer,
}

impl Output {
    /// Sends a piece of output, which is headed by its channel.
    pub async fn send(&mut self, piece: Bytes) -> Result<(), BoxError> {
        match self {
            Self::Channels(channels) => channels.send(piece).await?,
            Self::Streams(streams) => {
                let stream = match piece.first() {
                    Some(&STDOUT) => &mut streams.stdout,
                    _ => &mut streams.stderr,
                };
                if let Some(stream) = stream {
                    stream.send(piece.slice(1..)).await?;
                }
            }
        }
        Ok(())
    }
}

impl Client {
    /// Takes the connection over.
    pub async fn open(upgrade: OnUpgrade, agreement: Agreement, wanted: Wanted) -> Result<Self, BoxError> {
        let Agreement { carrier, protocol } = agreement;
        if carrier == Carrier::Channels {
            let (socket, input) = upgrade::socket(upgrade).await?.split();
            let mut input = input.peekable();
            let codec = Codec::of(protocol);
            let mut channels = Channels {
                socket,
                codec,
                in_words: protocol.is_none_or(|name| !name.starts_with('v')),
            };
            channels.socket.send(Message::Ping(Bytes::new())).await?;
            // One that answers only when it is asked for more is told all the same.
            let _ = tokio::time::timeout(ANSWER, Pin::new(&mut input).peek()).await;
            // An empty piece tells the client that the connection stands.
            let first = if wanted.stdout { STDOUT } else { OUTCOME };
            channels.send(Bytes::copy_from_slice(&[first])).await?;
            return Ok(Self {
                input: messages(input, codec),
                output: Output::Channels(channels),
            });
        }
        let connection = Connection::new(upgrade::transport(upgrade, carrier).await?);
        tokio::time::timeout(OPENING, Self::streams(connection, wanted)).await?
    }

    async fn streams(mut connection: Connection, wanted: Wanted) -> Result<Self, BoxError> {
        let mut missing = vec!["error"];
        let rest = [
            ("stdin", wanted.stdin),
            ("stdout", wanted.stdout),
            ("stderr", wanted.stderr),
            ("resize", wanted.terminal),
        ];
        missing.extend(rest.iter().filter(|(_, is)| *is).map(|(name, _)| name));
        let mut found: Vec<(&str, Stream)> = Vec::new();
        while !missing.is_empty() {
            let stream = connection
                .accept()
                .await
                .ok_or("the client has gone before it opened its streams")?;
            let kind = stream.headers.get("streamType").unwrap_or_default();
            match missing.iter().position(|name| *name == kind) {
                Some(at) => found.push((missing.swap_remove(at), stream)),
                None => stream.writer.reset().await,
            }
        }
        let mut take = |name| {
            let at = found.iter().position(|(other, _)| *other == name)?;
            Some(found.swap_remove(at).1)
        };
        let outcome = take("error").ok_or("there is no stream for errors")?.writer;
        let gone = outcome.ending();
        let input = [
            // What is typed may end, and sizes too: the client has gone when the connection has.
            Some(
                stream::once(gone.cancelled_owned())
                    .filter_map(async |()| None)
                    .boxed(),
            ),
            take("stdin").map(|stream| typed(stream.reader)),
            take("resize").map(|stream| sizes(stream.reader)),
        ];
        Ok(Self {
            input: stream::select_all(input.into_iter().flatten()).boxed(),
            output: Output::Streams(Box::new(Streams {
                stdout: take("stdout").map(|stream| stream.writer),
                stderr: take("stderr").map(|stream| stream.writer),
                outcome,
                connection,
            })),
        })
    }

    /// Tells how it ended, and closes the connection when the client has that.
    pub async fn finish(mut self, outcome: &Value) -> Result<(), BoxError> {
        match self.output {
            Output::Channels(mut channels) => {
                channels.tell(outcome).await?;
                // Clients take any other code, and none, for a failure.
                let end = CloseFrame {
                    code: CloseCode::Normal,
                    reason: "".into(),
                };
                channels.socket.send(Message::Close(Some(end))).await?;
                let rest = async { while self.input.next().await.is_some() {} };
                // A client that stays is left behind.
                let _ = tokio::time::timeout(LINGER, rest).await;
            }
            Output::Streams(streams) => {
                let Streams {
                    connection,
                    stdout,
                    stderr,
                    outcome: mut end,
                } = *streams;
                for stream in [stdout, stderr].into_iter().flatten() {
                    stream.finish().await?;
                }
                end.send(outcome.to_string().into()).await?;
                end.finish().await?;
                connection.finish().await;
            }
        }
        Ok(())
    }
}

fn messages(socket: Peekable<SplitStream<Socket>>, codec: Codec) -> BoxStream<'static, Input> {
    let messages = socket.take_while(|message| std::future::ready(message.is_ok()));
    let input = messages.filter_map(move |message| {
        let piece = message.ok().and_then(|message| codec.piece(message));
        std::future::ready(piece.and_then(channel_input))
    });
    input.boxed()
}

/// What a WebSocket's message says.
fn channel_input(mut data: Bytes) -> Option<Input> {
    if data.is_empty() {
        return None;
    }
    match data.split_to(1)[0] {
        STDIN => Some(Input::Data(data)),
        SIZE => serde_json::from_slice(&data).ok().map(Input::Size),
        CLOSE if data.first() == Some(&STDIN) => Some(Input::End),
        _ => None,
    }
}

fn typed(reader: Reader) -> BoxStream<'static, Input> {
    stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(data)) => Some((Input::Data(data), Some(reader))),
            Ok(None) => Some((Input::End, None)),
            Err(_) => None,
        }
    })
    .boxed()
}

fn sizes(reader: Reader) -> BoxStream<'static, Input> {
    stream::unfold((reader, BytesMut::new()), |(mut reader, mut text)| async {
        loop {
            if let Some(end) = text.iter().position(|&byte| byte == b'\n') {
                let line = text.split_to(end + 1);
                if let Ok(size) = serde_json::from_slice(&line) {
                    return Some((Input::Size(size), (reader, text)));
                }
                continue;
            }
            let data = reader.next().await.ok()??;
            text.extend_from_slice(&data);
            if text.len() > LONGEST_SIZE {
                return None;
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::body::Incoming;
    use hyper::header::HeaderValue;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use serde_json::json;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

    use super::*;

    /// All that a client that offers this protocol is told of a command that says "hi" and fails.
    async fn told(protocol: Option<&'static str>) -> Vec<Message> {
        let (theirs, ours) = tokio::io::duplex(4096);
        let service = service_fn(async |request: Request<Incoming>| {
            let mut request = request.map(|_| super::super::full(""));
            let (response, agreement, upgrade) = upgrade::agree(&mut request, PROTOCOLS).unwrap();
            tokio::spawn(async move {
                let wanted = Wanted {
                    stdout: true,
                    ..Wanted::default()
                };
                let mut client = Client::open(upgrade, agreement, wanted).await.unwrap();
                client.output.send(Bytes::from_static(b"\x01hi")).await.unwrap();
                client.finish(&json!({"message": "no"})).await.unwrap();
            });
            Ok::<_, std::convert::Infallible>(response)
        });
        let server = http1::Builder::new().serve_connection(TokioIo::new(ours), service);
        tokio::spawn(server.with_upgrades());
        let mut request = "ws://node/exec".into_client_request().unwrap();
        if let Some(protocol) = protocol {
            let offered = HeaderValue::from_static(protocol);
            request.headers_mut().insert("sec-websocket-protocol", offered);
        }
        let (socket, answer) = tokio_tungstenite::client_async(request, theirs).await.unwrap();
        let taken = answer.headers().get("sec-websocket-protocol");
        assert_eq!(taken.map(|taken| taken.to_str().unwrap()), protocol);
        let messages = socket.take_while(|message| std::future::ready(message.is_ok()));
        let said = messages.filter_map(async |message| message.ok().filter(|m| m.is_text() || m.is_binary()));
        said.collect().await
    }

    #[tokio::test]
    async fn each_protocol_tells_in_its_own_way() {
        let raw = |outcome: &'static str| ["\x01", "\x01hi", outcome].map(Message::binary);
        let text = |outcome: &'static str| ["1", "1aGk=", outcome].map(Message::text);
        for (protocol, expected) in [
            (Some("v5.channel.k8s.io"), raw("\x03{\"message\":\"no\"}")),
            (Some("v4.channel.k8s.io"), raw("\x03{\"message\":\"no\"}")),
            (
                Some("v4.base64.channel.k8s.io"),
                text("3eyJtZXNzYWdlIjoibm8ifQ=="),
            ),
            (Some("channel.k8s.io"), raw("\x03no")),
            (Some("base64.channel.k8s.io"), text("3bm8=")),
            (None, raw("\x03no")),
        ] {
            assert_eq!(told(protocol).await, expected, "{protocol:?}");
        }
    }

    #[test]
    fn messages_are_read() {
        let read = |bytes: &'static [u8]| channel_input(Bytes::from_static(bytes));
        assert_eq!(read(b"\x00ls"), Some(Input::Data("ls".into())));
        assert_eq!(read(b"\xff\x00"), Some(Input::End));
        let size = Size {
            width: 80,
            height: 24,
        };
        assert_eq!(
            read(b"\x04{\"Width\":80,\"Height\":24}\n"),
            Some(Input::Size(size))
        );
        for nothing in [&b""[..], b"\xff", b"\xff\x01", b"\x04{\"Width\":-1}", b"\x09x"] {
            assert_eq!(channel_input(Bytes::from_static(nothing)), None);
        }
    }
}
