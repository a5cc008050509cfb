//! A connection with a life of its own: opaque TCP, WebSocket, h2c, or HTTP/1.1 in every framing. Each kind sends a message
//! and awaits its echo.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::failure::Cause;
use crate::framing::Framing;
use crate::response::Fault;

/// How long an open or an echo may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Bytes that are no HTTP: the server sends back what it gets.
    Opaque,
    /// A WebSocket at `/ws`: the server sends every text back.
    WebSocket,
    /// HTTP/2 from the first byte on: the server sends back what is posted to `/echo`.
    H2c,
    /// HTTP/1.1 whose messages end in every way they can, pipelined, and cut in pieces.
    Framing,
}

/// An open session.
pub(crate) enum Session {
    Opaque(TcpStream),
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Framing(Framing),
    H2c {
        target: SocketAddr,
        requests: SendRequest<Full<Bytes>>,
        connection: JoinHandle<hyper::Result<()>>,
    },
}

impl Session {
    /// Connects, and shakes hands where the protocol does.
    pub async fn open(protocol: Protocol, target: SocketAddr) -> Result<Self, Fault> {
        in_time(Cause::ConnectTimeout, async {
            let stream = TcpStream::connect(target).await.map_err(|error| Fault {
                cause: Cause::of_connect(&error),
                detail: error.to_string(),
            })?;
            // Without it Nagle's algorithm would measure itself; a failure to set it changes no verdict.
            let _ = stream.set_nodelay(true);
            Ok(match protocol {
                Protocol::Opaque => Self::Opaque(stream),
                Protocol::Framing => Self::Framing(Framing::new(stream)),
                Protocol::WebSocket => {
                    let (socket, _) = tokio_tungstenite::client_async(format!("ws://{target}/ws"), stream)
                        .await
                        .map_err(broken)?;
                    Self::WebSocket(Box::new(socket))
                }
                Protocol::H2c => {
                    let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                        .await
                        .map_err(broken)?;
                    Self::H2c {
                        target,
                        requests,
                        connection: tokio::spawn(connection),
                    }
                }
            })
        })
        .await
    }

    /// Sends a message and awaits its echo.
    pub async fn exchange(&mut self, message: &str) -> Result<(), Fault> {
        in_time(Cause::Timeout, async {
            let echo = match self {
                Self::Framing(connection) => return connection.next().await,
                Self::Opaque(stream) => {
                    stream.write_all(message.as_bytes()).await.map_err(broken)?;
                    let mut echo = vec![0; message.len()];
                    stream.read_exact(&mut echo).await.map_err(broken)?;
                    echo
                }
                Self::WebSocket(socket) => {
                    socket.send(Message::text(message)).await.map_err(broken)?;
                    match socket.next().await {
                        Some(Ok(Message::Text(echo))) => echo.as_bytes().to_vec(),
                        Some(Ok(other)) => return Err(broken(format!("{other:?} in place of an echo"))),
                        Some(Err(error)) => return Err(broken(error)),
                        None => return Err(broken("the end in place of an echo")),
                    }
                }
                Self::H2c { target, requests, .. } => {
                    let request = hyper::Request::post(format!("http://{target}/echo"))
                        .body(Full::from(message.to_owned()))
                        .map_err(broken)?;
                    requests.ready().await.map_err(broken)?;
                    let response = requests.send_request(request).await.map_err(broken)?;
                    if response.status() != 200 {
                        return Err(Fault {
                            cause: Cause::Status(response.status().as_u16()),
                            detail: String::new(),
                        });
                    }
                    response
                        .into_body()
                        .collect()
                        .await
                        .map_err(broken)?
                        .to_bytes()
                        .to_vec()
                }
            };
            if echo == message.as_bytes() {
                Ok(())
            } else {
                Err(Fault {
                    cause: Cause::WrongId,
                    detail: format!("sent {message}, got {}", String::from_utf8_lossy(&echo)),
                })
            }
        })
        .await
    }

    /// Waits, without a word, until the other side ends the session.
    pub async fn until_closed(&mut self) -> Fault {
        match self {
            Self::Opaque(stream) => match stream.read(&mut [0]).await {
                Ok(0) => broken("closed"),
                Ok(_) => broken("bytes that were not asked for"),
                Err(error) => broken(error),
            },
            Self::WebSocket(socket) => match socket.next().await {
                None | Some(Ok(Message::Close(_))) => broken("closed"),
                Some(Ok(other)) => broken(format!("{other:?} that was not asked for")),
                Some(Err(error)) => broken(error),
            },
            Self::Framing(connection) => connection.until_closed().await,
            Self::H2c { connection, .. } => match connection.await {
                Ok(Ok(())) => broken("closed"),
                Ok(Err(error)) => broken(error),
                Err(error) => broken(error),
            },
        }
    }

    /// Ends it as its protocol does.
    pub async fn close(self) -> Result<(), Fault> {
        in_time(Cause::Timeout, async {
            match self {
                Self::Opaque(mut stream) => {
                    stream.shutdown().await.map_err(broken)?;
                    match stream.read(&mut [0]).await {
                        Ok(0) => Ok(()),
                        Ok(_) => Err(broken("bytes after the last echo")),
                        Err(error) => Err(broken(error)),
                    }
                }
                Self::WebSocket(mut socket) => {
                    socket.close().await.map_err(broken)?;
                    match socket.next().await {
                        None | Some(Ok(Message::Close(_))) => Ok(()),
                        Some(Ok(other)) => Err(broken(format!("{other:?} in place of the end"))),
                        Some(Err(error)) => Err(broken(error)),
                    }
                }
                Self::Framing(connection) => connection.end().await,
                Self::H2c {
                    requests, connection, ..
                } => {
                    drop(requests);
                    connection.await.map_err(broken)?.map_err(broken)
                }
            }
        })
        .await
    }
}

fn broken(error: impl ToString) -> Fault {
    Fault {
        cause: Cause::Broken,
        detail: error.to_string(),
    }
}

async fn in_time<T>(late: Cause, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(LIMIT, work).await.unwrap_or_else(|_| {
        Err(Fault {
            cause: late,
            detail: format!("after {LIMIT:?}"),
        })
    })
}
