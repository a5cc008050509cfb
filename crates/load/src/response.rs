//! Reading one response strictly: head, framing, body to its last byte.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

use crate::failure::Cause;
use crate::options::Method;
use crate::{IMAGE, POD, REQUEST_ID};

/// Longest head, chunk-size line or trailer section that is read.
const HEAD_LIMIT: usize = 64 * 1024;

/// A complete response.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub status: u16,
    pub image: Option<String>,
    pub pod: Option<String>,
    pub request_id: Option<String>,
    /// The server closes the connection after this response and says so.
    pub closes: bool,
    /// Length of the body, without its chunks' frames.
    pub length: u64,
}

/// Why there is no complete response.
#[derive(Debug)]
pub(crate) struct Fault {
    pub cause: Cause,
    pub detail: String,
}

impl Fault {
    pub fn framing(detail: impl Into<String>) -> Self {
        Self {
            cause: Cause::BadFraming,
            detail: detail.into(),
        }
    }

    pub fn io(error: &io::Error, bytes: u64) -> Self {
        let detail = match error.kind() {
            io::ErrorKind::UnexpectedEof => String::new(),
            _ => error.to_string(),
        };
        Self {
            cause: Cause::of(error, bytes),
            detail,
        }
    }
}

enum Body {
    None,
    Length(u64),
    Chunked,
}

/// Bytes that arrived and are not used yet, and how many arrived since the last request.
#[derive(Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    /// Bytes of the current response so far.
    pub received: u64,
}

impl Input {
    /// Reads one final response. Leaves nothing behind: bytes after its end are a fault.
    pub async fn response<S>(&mut self, stream: &mut S, method: Method) -> Result<Response, Fault>
    where
        S: AsyncRead + Unpin,
    {
        let response = self.one(stream, method).await?;
        self.is_used_up()?;
        Ok(response)
    }

    /// A fault if bytes have come behind the end of the last response.
    pub fn is_used_up(&self) -> Result<(), Fault> {
        if self.buffer.is_empty() {
            Ok(())
        } else {
            Err(Fault::framing(format!(
                "{} bytes after the end of the response",
                self.buffer.len()
            )))
        }
    }

    /// Reads one final response; another may follow.
    pub async fn one<S>(&mut self, stream: &mut S, method: Method) -> Result<Response, Fault>
    where
        S: AsyncRead + Unpin,
    {
        let (mut response, body) = loop {
            let (response, body) = self.head(stream, method).await?;
            // 100 and 103 come before the final response; 101 was not asked for.
            if !(100..200).contains(&response.status) || response.status == 101 {
                break (response, body);
            }
        };
        match body {
            Body::None => {}
            Body::Length(length) => {
                self.discard(stream, length).await?;
                response.length = length;
            }
            Body::Chunked => response.length = self.chunks(stream).await?,
        }
        Ok(response)
    }

    /// Takes bytes in that came without a question.
    pub fn unasked(&mut self, stream: &TcpStream) -> Option<Fault> {
        match stream.try_read_buf(&mut self.buffer) {
            Ok(0) => Some(Fault::io(&io::ErrorKind::UnexpectedEof.into(), 0)),
            Ok(count) => Some(Fault::framing(format!(
                "{count} bytes came before the request was sent"
            ))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Fault::io(&error, 0)),
        }
    }

    async fn more<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<(), Fault> {
        self.buffer.reserve(16 * 1024);
        match stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Fault::io(&io::ErrorKind::UnexpectedEof.into(), self.received)),
            Ok(count) => {
                self.received += count as u64;
                Ok(())
            }
            Err(error) => Err(Fault::io(&error, self.received)),
        }
    }

    async fn head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        method: Method,
    ) -> Result<(Response, Body), Fault> {
        loop {
            if let Some((length, response, body)) = parse_head(&self.buffer, method)? {
                self.buffer.drain(..length);
                return Ok((response, body));
            }
            self.check_limit()?;
            self.more(stream).await?;
        }
    }

    async fn discard<S: AsyncRead + Unpin>(&mut self, stream: &mut S, length: u64) -> Result<(), Fault> {
        let mut left = length;
        loop {
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            self.buffer.drain(..here);
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            self.more(stream).await?;
        }
    }

    /// A body in chunks; its length.
    async fn chunks<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<u64, Fault> {
        let mut length = 0;
        loop {
            let size = self.chunk_size(stream).await?;
            if size == 0 {
                self.trailers(stream).await?;
                return Ok(length);
            }
            length += size;
            self.discard(stream, size).await?;
            if self.line(stream).await? != 0 {
                return Err(Fault::framing("a chunk does not end where its size says"));
            }
        }
    }

    async fn chunk_size<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<u64, Fault> {
        loop {
            match httparse::parse_chunk_size(&self.buffer) {
                Ok(httparse::Status::Complete((length, size))) => {
                    self.buffer.drain(..length);
                    return Ok(size);
                }
                Ok(httparse::Status::Partial) => {
                    self.check_limit()?;
                    self.more(stream).await?;
                }
                Err(_) => return Err(Fault::framing("bad chunk size")),
            }
        }
    }

    /// Trailer lines up to and including the empty one.
    async fn trailers<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<(), Fault> {
        while self.line(stream).await? != 0 {}
        Ok(())
    }

    /// Uses up one line and tells its length without CR LF.
    async fn line<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<usize, Fault> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                if end == 0 || self.buffer[end - 1] != b'\r' {
                    return Err(Fault::framing("a line that does not end in CR LF"));
                }
                self.buffer.drain(..=end);
                return Ok(end - 1);
            }
            self.check_limit()?;
            self.more(stream).await?;
        }
    }

    fn check_limit(&self) -> Result<(), Fault> {
        if self.buffer.len() < HEAD_LIMIT {
            Ok(())
        } else {
            Err(Fault::framing(format!(
                "head or line longer than {HEAD_LIMIT} bytes"
            )))
        }
    }
}

/// Parses a head; `None`: not complete yet.
fn parse_head(bytes: &[u8], method: Method) -> Result<Option<(usize, Response, Body)>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Fault::framing(format!("bad head: {error}"))),
    };
    let mut response = Response {
        status: parsed.code.unwrap_or_default(),
        ..Response::default()
    };
    let mut content_length: Option<u64> = None;
    let mut chunked = false;
    let mut keep_alive = parsed.version == Some(1);
    for header in parsed.headers.iter() {
        let value = String::from_utf8_lossy(header.value);
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let stated = value
                .trim()
                .parse()
                .map_err(|_| Fault::framing(format!("Content-Length {value:?}")))?;
            if content_length.is_some_and(|other| other != stated) {
                return Err(Fault::framing("two different values of Content-Length"));
            }
            content_length = Some(stated);
        } else if is("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
            if !chunked {
                return Err(Fault::framing(format!("Transfer-Encoding {value:?}")));
            }
        } else if is("connection") {
            for token in value.split(',').map(str::trim) {
                if token.eq_ignore_ascii_case("close") {
                    keep_alive = false;
                } else if token.eq_ignore_ascii_case("keep-alive") {
                    keep_alive = true;
                }
            }
        } else if is(IMAGE) {
            response.image = Some(value.into_owned());
        } else if is(POD) {
            response.pod = Some(value.into_owned());
        } else if is(REQUEST_ID) {
            response.request_id = Some(value.into_owned());
        }
    }
    response.closes = !keep_alive;
    let bodiless = method == Method::Head || matches!(response.status, 100..=199 | 204 | 304);
    let body = match (bodiless, chunked, content_length) {
        (true, ..) => Body::None,
        (_, true, Some(_)) => return Err(Fault::framing("Content-Length and Transfer-Encoding")),
        (_, true, None) => Body::Chunked,
        (_, false, Some(length)) => Body::Length(length),
        (_, false, None) => {
            return Err(Fault::framing(
                "neither Content-Length nor chunked: no provable end",
            ));
        }
    };
    Ok(Some((length, response, body)))
}
