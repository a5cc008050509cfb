//! HTTP/1.1 in every framing: exchanges whose boundaries are easily taken for others, one after another on a connection.
//!
//! Flows in: a connection and a text. Flows out: whether each request got its own answer, with its id, its status and its
//! length, and nothing more. What is asked of the server: `POST /echo`, `/empty` (204), `/hints` (103 first), `/chunks`
//! ([`CHUNKS`] bytes and a trailer), and a 400 to a request that can be read in two ways.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::REQUEST_ID;
use crate::failure::Cause;
use crate::options::Method;
use crate::response::{Fault, Input};
use crate::run::run_number;

/// Length of the body at `/chunks`.
const CHUNKS: u64 = 13;

/// A request, and what its answer must be.
struct Exchange {
    method: Method,
    /// The request line, the headers that matter, and what follows the head.
    line: &'static str,
    headers: &'static str,
    body: &'static str,
    status: u16,
    length: u64,
}

const fn exchange(method: Method, line: &'static str, headers: &'static str, body: &'static str) -> Exchange {
    Exchange {
        method,
        line,
        headers,
        body,
        status: 200,
        length: 0,
    }
}

const POST: Method = Method::Post { body: 0 };

const KINDS: [Exchange; 8] = [
    Exchange {
        length: 10,
        ..exchange(
            POST,
            "POST /echo HTTP/1.1",
            "Content-Length: 10\r\n",
            "0123456789",
        )
    },
    Exchange {
        length: 8,
        ..exchange(
            POST,
            "POST /echo HTTP/1.1",
            "Transfer-Encoding: chunked\r\nTrailer: T\r\n",
            "3;x=y\r\nabc\r\n05\r\n\r\n\r\n0\r\n0\r\nT: 1\r\n\r\n",
        )
    },
    Exchange {
        length: 4,
        ..exchange(
            POST,
            "POST /echo HTTP/1.1",
            "Expect: 100-continue\r\nContent-Length: 4\r\n",
            "GET ",
        )
    },
    exchange(Method::Head, "HEAD / HTTP/1.1", "", ""),
    Exchange {
        status: 204,
        ..exchange(Method::Get, "GET /empty HTTP/1.1", "", "")
    },
    Exchange {
        length: CHUNKS,
        ..exchange(Method::Get, "GET /chunks HTTP/1.1", "", "")
    },
    Exchange {
        length: CHUNKS,
        ..exchange(Method::Get, "GET /hints HTTP/1.1", "", "")
    },
    Exchange {
        length: 2,
        ..exchange(
            POST,
            "POST /echo HTTP/1.0",
            "Connection: keep-alive\r\nContent-Length: 2\r\n",
            "\r\n",
        )
    },
];

/// The last one of a connection, behind which the server closes.
const LAST: Exchange = Exchange {
    length: 4,
    ..exchange(
        POST,
        "POST /echo HTTP/1.1",
        "Connection: close\r\nContent-Length: 4\r\n",
        "last",
    )
};

/// Ends at its first chunk or behind the next request, as one reads it.
const SMUGGLED: &str = "POST /echo HTTP/1.1\r\nHost: pod\r\nContent-Length: 39\r\nTransfer-Encoding: chunked\r\n\r\n\
    0\r\n\r\nGET /empty HTTP/1.1\r\nHost: pod\r\n\r\n";

/// A connection with such exchanges.
pub(crate) struct Framing {
    stream: TcpStream,
    input: Input,
    /// Makes the ids of two connections differ.
    run: u64,
    turn: usize,
}

impl Framing {
    pub fn new(stream: TcpStream) -> Self {
        let run = run_number();
        Self {
            stream,
            input: Input::default(),
            run,
            // Connections that begin together do not go on in step.
            turn: usize::try_from(run & 0xfff).unwrap_or_default(),
        }
    }

    /// The next exchange, or three at once, in one piece or in two.
    pub async fn next(&mut self) -> Result<(), Fault> {
        self.turn += 1;
        let turn = self.turn;
        let kind = |turn: usize| &KINDS[turn % KINDS.len()];
        if turn.is_multiple_of(3) {
            self.exchange(&[kind(turn), kind(turn / 3), kind(turn / 5)]).await
        } else {
            self.exchange(&[kind(turn)]).await
        }
    }

    /// Ends the connection with a last exchange or with a request that must be refused, and hears nothing behind it.
    pub async fn end(mut self) -> Result<(), Fault> {
        self.turn += 1;
        if self.turn.is_multiple_of(2) {
            self.exchange(&[&LAST]).await?;
            self.stream
                .shutdown()
                .await
                .map_err(|error| Fault::io(&error, 0))?;
            return self.hear_end().await;
        }
        self.send(SMUGGLED.as_bytes()).await?;
        let mut answer = Vec::new();
        let limit = 64 * 1024;
        let heard = (&mut self.stream).take(limit).read_to_end(&mut answer).await;
        heard.map_err(|error| Fault::io(&error, answer.len() as u64))?;
        let text = String::from_utf8_lossy(&answer);
        if text.starts_with("HTTP/1.1 400 ") && text.matches("HTTP/1.1 ").count() == 1 {
            Ok(())
        } else {
            Err(Fault::framing(format!("smuggled: {text:?}")))
        }
    }

    /// Waits, without a word, until the other side ends the connection.
    pub async fn until_closed(&mut self) -> Fault {
        match self.hear_end().await {
            Ok(()) => Fault::io(&io::ErrorKind::UnexpectedEof.into(), 0),
            Err(fault) => fault,
        }
    }

    async fn hear_end(&mut self) -> Result<(), Fault> {
        match self.stream.read(&mut [0]).await {
            Ok(0) => Ok(()),
            Ok(_) => Err(Fault::framing("a byte that was not asked for")),
            Err(error) => Err(Fault::io(&error, 0)),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let sent = self.stream.write_all(bytes).await;
        sent.map_err(|error| Fault::io(&error, 0))
    }

    async fn exchange(&mut self, kinds: &[&Exchange]) -> Result<(), Fault> {
        let ids: Vec<String> = (0..kinds.len())
            .map(|index| format!("{:x}-{:x}-{index}", self.run, self.turn))
            .collect();
        let requests = kinds.iter().zip(&ids).map(|(kind, id)| kind.request(id));
        let bytes = requests.collect::<String>().into_bytes();
        let cut = if self.turn.is_multiple_of(2) {
            bytes.len()
        } else {
            self.turn * 7 % bytes.len()
        };
        self.send(&bytes[..cut]).await?;
        // The two pieces are two packets, as Nagle's algorithm is off.
        tokio::task::yield_now().await;
        self.send(&bytes[cut..]).await?;
        for (index, (kind, id)) in kinds.iter().zip(&ids).enumerate() {
            self.input.received = 0;
            let response = self.input.one(&mut self.stream, kind.method).await?;
            if response.request_id.as_ref() != Some(id) {
                return Err(Fault {
                    cause: Cause::WrongId,
                    detail: format!("sent {id}, got {:?}", response.request_id),
                });
            }
            if response.status != kind.status || response.length != kind.length {
                return Err(Fault::framing(format!(
                    "{} {}: status {}, {} bytes",
                    kind.line, kind.headers, response.status, response.length
                )));
            }
            if index + 1 == kinds.len() {
                self.input.is_used_up()?;
            }
        }
        Ok(())
    }
}

impl Exchange {
    fn request(&self, id: &str) -> String {
        format!(
            "{}\r\nHost: pod\r\n{REQUEST_ID}: {id}\r\n{}\r\n{}",
            self.line, self.headers, self.body
        )
    }
}
