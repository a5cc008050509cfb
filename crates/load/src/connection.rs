//! One connection: connect, then requests one after another.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::REQUEST_ID;
use crate::failure::Cause;
use crate::options::{Method, Options};
use crate::response::{Fault, Input, Response};

/// In how many pieces a body is sent that is to take its time.
const PIECES: usize = 32;

/// An open connection.
pub(crate) struct Connection {
    stream: TcpStream,
    input: Input,
    pub local_port: Option<u16>,
    /// Requests answered so far.
    pub answered: u64,
    /// The pod of the last answer.
    pub last_pod: Option<String>,
}

impl Connection {
    pub async fn open(options: &Options) -> Result<Self, Fault> {
        let stream = match timeout(options.connect_timeout, TcpStream::connect(options.target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(Fault {
                    cause: Cause::of_connect(&error),
                    detail: error.to_string(),
                });
            }
            Err(_) => {
                let detail = format!("after {:?}", options.connect_timeout);
                return Err(Fault {
                    cause: Cause::ConnectTimeout,
                    detail,
                });
            }
        };
        // Without it Nagle's algorithm would measure itself; a failure to set it changes no verdict.
        let _ = stream.set_nodelay(true);
        let local_port = stream.local_addr().ok().map(|address| address.port());
        Ok(Self {
            stream,
            input: Input::default(),
            local_port,
            answered: 0,
            last_pod: None,
        })
    }

    /// Sends one request and reads its answer to the last byte. After a fault the connection is of no more use.
    pub async fn exchange(
        &mut self,
        options: &Options,
        method: Method,
        id: &str,
        request: &mut String,
    ) -> Result<Response, Fault> {
        write_request(request, options, method, id);
        self.input.received = 0;
        let limit: Duration = options.response_timeout;
        let response = match timeout(limit, self.send_and_read(request.as_bytes(), options, method)).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(Fault {
                    cause: Cause::Timeout,
                    detail: format!("after {limit:?}"),
                });
            }
        };
        self.answered += 1;
        if response.pod.is_some() {
            self.last_pod.clone_from(&response.pod);
        }
        if !(200..300).contains(&response.status) {
            let detail = response.pod.clone().unwrap_or_default();
            return Err(Fault {
                cause: Cause::Status(response.status),
                detail,
            });
        }
        if let Some(echoed) = &response.request_id
            && echoed != id
        {
            return Err(Fault {
                cause: Cause::WrongId,
                detail: format!("sent {id}, got {echoed}"),
            });
        }
        match options.length {
            Some(length) if method != Method::Head && length != response.length => Err(Fault {
                cause: Cause::WrongLength,
                detail: format!("{} bytes of {length}", response.length),
            }),
            _ => Ok(response),
        }
    }

    /// Whether the connection is of no use any more, before anything is sent on it.
    pub fn look(&mut self) -> Option<Fault> {
        self.input.unasked(&self.stream)
    }

    /// Bytes of the current answer so far.
    pub fn received(&self) -> u64 {
        self.input.received
    }

    async fn send_and_read(
        &mut self,
        request: &[u8],
        options: &Options,
        method: Method,
    ) -> Result<Response, Fault> {
        let written = match method {
            Method::Post { body } if options.body_time > Duration::ZERO => {
                let (head, body) = request.split_at(request.len() - body);
                self.send_slowly(head, body, options.body_time).await
            }
            _ => self.stream.write_all(request).await,
        };
        if let Err(error) = written {
            return Err(Fault {
                cause: Cause::Reset,
                detail: format!("while writing: {error}"),
            });
        }
        self.input.response(&mut self.stream, method).await
    }

    /// Sends the head at once, and the body in equal pieces over this time.
    async fn send_slowly(&mut self, head: &[u8], body: &[u8], time: Duration) -> io::Result<()> {
        self.stream.write_all(head).await?;
        let begin = Instant::now();
        for (piece, number) in body.chunks(body.len().div_ceil(PIECES).max(1)).zip(1_u32..) {
            sleep_until(begin + time.mul_f64(f64::from(number) / PIECES as f64)).await;
            self.stream.write_all(piece).await?;
        }
        Ok(())
    }
}

fn write_request(request: &mut String, options: &Options, method: Method, id: &str) {
    request.clear();
    let connection = if options.keep_alive {
        ""
    } else {
        "Connection: close\r\n"
    };
    // Writing to a String cannot fail.
    let _ = write!(
        request,
        "{} {} HTTP/1.1\r\nHost: {}\r\n{REQUEST_ID}: {id}\r\n{connection}",
        method.name(),
        options.path,
        options.target,
    );
    match method {
        Method::Get | Method::Head => request.push_str("\r\n"),
        Method::Post { body } => {
            let _ = write!(request, "Content-Length: {body}\r\n\r\n");
            request.extend(std::iter::repeat_n('x', body));
        }
    }
}
