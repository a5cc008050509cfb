//! One connection: connect, then requests one after another.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::REQUEST_ID;
use crate::failure::Cause;
use crate::options::{Method, Options};
use crate::response::{Fault, Input, Response};

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
        let response = match timeout(limit, self.send_and_read(request.as_bytes(), method)).await {
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
        match &response.request_id {
            Some(echoed) if echoed != id => Err(Fault {
                cause: Cause::WrongId,
                detail: format!("sent {id}, got {echoed}"),
            }),
            _ => Ok(response),
        }
    }

    /// Bytes of the current answer so far.
    pub fn received(&self) -> u64 {
        self.input.received
    }

    async fn send_and_read(&mut self, request: &[u8], method: Method) -> Result<Response, Fault> {
        let written = self.stream.write_all(request).await;
        if let Err(error) = written {
            return Err(Fault {
                cause: Cause::Reset,
                detail: format!("while writing: {error}"),
            });
        }
        self.input.response(&mut self.stream, method).await
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
