//! Message heads: what of them decides where the message ends and whether the connection outlives it.

use std::mem::MaybeUninit;

use serde::{Deserialize, Serialize};

use super::MAX_HEAD;
use super::body::Body;

/// Most header fields that are understood in one head.
const MAX_FIELDS: usize = 100;

/// Outcome of parsing a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// More bytes are needed.
    Partial,
    /// A head, well understood.
    Complete(T),
    /// No head, or one that different servers may read differently.
    Opaque,
}

/// What matters of a request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// `HEAD`: the response has no body, whatever its head says.
    Head,
    /// `CONNECT`: a success makes the connection a tunnel.
    Connect,
    /// A method that may be executed twice without harm (RFC 9110, 9.2.2).
    Idempotent,
    /// All others.
    Other,
}

/// What matters of a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of the head, the empty line included.
    pub length: usize,
    /// What matters of its method.
    pub method: Method,
    /// Its body; complete already if it has none.
    pub body: Body,
    /// Whether the client wants to use the connection again.
    pub persistent: bool,
    /// HTTP/1.0: the connection persists only if the response says so.
    pub http10: bool,
    /// The client may wait for a word of the server before it sends the body, or never send it.
    pub expects: bool,
}

/// What matters of a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Bytes of the head, the empty line included.
    pub length: usize,
    /// The status code.
    pub status: u16,
    /// Its body, for a request whose method lets it have one.
    pub body: Body,
    /// Whether the server keeps the connection.
    pub persistent: bool,
    /// Whether it says `Connection: keep-alive`.
    pub keep_alive: bool,
}

/// Parses the head of a request.
pub fn request(bytes: &[u8]) -> Parsed<Request> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Opaque,
    };
    if length > MAX_HEAD || has_bare_newline(&bytes[..length]) {
        return Parsed::Opaque;
    }
    let (Some(fields), Some(method)) = (
        Fields::read(parsed.headers),
        method(parsed.method.unwrap_or_default()),
    ) else {
        return Parsed::Opaque;
    };
    let http10 = parsed.version == Some(0);
    // Authentication by connection; codings that only some servers understand; chunks in HTTP/1.0.
    if fields.by_connection || (fields.coded && (http10 || !fields.only_chunked)) {
        return Parsed::Opaque;
    }
    Parsed::Complete(Request {
        length,
        method,
        body: if fields.coded {
            Body::CHUNKED
        } else {
            Body::Length(fields.length.unwrap_or(0))
        },
        persistent: fields.persistent(http10),
        http10,
        expects: fields.expects,
    })
}

/// Parses the head of a response.
pub fn response(bytes: &[u8]) -> Parsed<Response> {
    // Empty lines may precede a request, never a response.
    if bytes.first().is_some_and(|first| *first != b'H') {
        return Parsed::Opaque;
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Opaque,
    };
    let Some(fields) = Fields::read(parsed.headers) else {
        return Parsed::Opaque;
    };
    let (http10, status) = (parsed.version == Some(0), parsed.code.unwrap_or_default());
    let odd = length > MAX_HEAD || status < 100 || (http10 && fields.coded);
    if odd || fields.by_connection || has_bare_newline(&bytes[..length]) {
        return Parsed::Opaque;
    }
    let body = match (fields.coded, fields.length) {
        (true, _) if fields.ends_chunked => Body::CHUNKED,
        (true, _) | (false, None) => Body::UntilClose,
        (false, Some(length)) => Body::Length(length),
    };
    Parsed::Complete(Response {
        length,
        status,
        body,
        persistent: fields.persistent(http10),
        keep_alive: fields.keep_alive,
    })
}

/// `None` unless it is in capitals: `head` may be `HEAD` to one server and unknown to another.
fn method(name: &str) -> Option<Method> {
    match name {
        "HEAD" => Some(Method::Head),
        "CONNECT" => Some(Method::Connect),
        "GET" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" => Some(Method::Idempotent),
        _ if name.bytes().all(is_method_byte) => Some(Method::Other),
        _ => None,
    }
}

/// What methods are made of; that of a connection's first request, by which it is detected, too.
pub fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'-'
}

/// Whether a line ends in LF alone: a line's end for some servers, and a part of the line for others. A CR alone is not
/// let through by `httparse`.
fn has_bare_newline(head: &[u8]) -> bool {
    let pairs = head.iter().zip(head.iter().skip(1));
    // Without a way out, so that many bytes are compared at once.
    let bare = pairs.fold(false, |bare, (before, byte)| {
        bare | ((*byte == b'\n') & (*before != b'\r'))
    });
    bare || head.first() == Some(&b'\n')
}

/// The header fields that matter.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    coded: bool,
    only_chunked: bool,
    ends_chunked: bool,
    close: bool,
    keep_alive: bool,
    by_connection: bool,
    expects: bool,
}

impl Fields {
    /// `None` if they contradict each other or are not what they should be.
    fn read(headers: &[httparse::Header<'_>]) -> Option<Self> {
        let mut fields = Self::default();
        for header in headers {
            // The length tells most names apart from the few that matter.
            match header.name.len() {
                6 if is(header, "expect") => fields.expects = true,
                10 if is(header, "connection") => fields.connection(header.value),
                14 if is(header, "content-length") => fields.content_length(header.value)?,
                17 if is(header, "transfer-encoding") => fields.coding(header.value)?,
                13 if is(header, "authorization") => fields.authentication(header.value),
                16 if is(header, "www-authenticate") => fields.authentication(header.value),
                18 if is(header, "proxy-authenticate") => fields.authentication(header.value),
                19 if is(header, "proxy-authorization") => fields.authentication(header.value),
                _ => {}
            }
        }
        if fields.coded && fields.length.is_some() {
            None
        } else {
            Some(fields)
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for token in tokens(value) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Option<()> {
        // Repeated, even with the same value, it is a sign that someone is being fooled.
        let first = self.length.is_none();
        self.length = Some(number(value)?);
        first.then_some(())
    }

    fn coding(&mut self, value: &[u8]) -> Option<()> {
        let first = !self.coded;
        self.coded = true;
        self.only_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        self.ends_chunked = tokens(value)
            .last()
            .is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
        first.then_some(())
    }

    /// NTLM and Negotiate authenticate the connection, not the request. A server may offer them behind other schemes.
    fn authentication(&mut self, value: &[u8]) {
        self.by_connection |= tokens(value).any(|token| {
            let scheme = token.split(|byte| *byte == b' ').next().unwrap_or_default();
            scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
        });
    }

    fn persistent(&self, http10: bool) -> bool {
        !self.close && (!http10 || self.keep_alive)
    }
}

fn is(header: &httparse::Header<'_>, name: &str) -> bool {
    header.name.eq_ignore_ascii_case(name)
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Digits only: no sign, no list, and nothing that is negative where 63 bits are all there are.
fn number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = str::from_utf8(value).ok()?.parse().ok()?;
    (number <= i64::MAX.unsigned_abs()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn req(text: &str) -> Parsed<Request> {
        request(text.as_bytes())
    }

    #[test]
    fn ambiguous_requests_are_opaque() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: 0x1",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 9223372036854775808",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding : chunked",
            "Authorization: NTLM abc",
            "Authorization: negotiate abc",
        ] {
            assert_eq!(
                req(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n")),
                Parsed::Opaque,
                "{fields}"
            );
        }
        for head in [
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "head / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\n\r\n",
            "GET / HTTP/1.1\r\nA: b\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(req(head), Parsed::Opaque, "{head:?}");
        }
    }

    #[test]
    fn requests_are_understood() {
        let Parsed::Complete(head) = req("POST / HTTP/1.1\r\ncontent-LENGTH: 5\r\n\r\nhello") else {
            panic!()
        };
        assert_eq!(
            (head.length, head.body, head.persistent),
            (38, Body::Length(5), true)
        );
        let Parsed::Complete(head) = req("GET / HTTP/1.0\r\n\r\n") else {
            panic!()
        };
        assert_eq!(
            (head.body, head.persistent, head.http10),
            (Body::Length(0), false, true)
        );
        let Parsed::Complete(head) = req("GET / HTTP/1.1\r\nConnection: TE, Close\r\n\r\n") else {
            panic!()
        };
        assert!(!head.persistent);
        assert_eq!(req("GET / HTTP/1.1\r\nHost: a\r\n"), Parsed::Partial);
    }

    #[test]
    fn responses_are_understood() {
        let body = |fields: &str| match response(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()) {
            Parsed::Complete(head) => Some(head.body),
            _ => None,
        };
        assert_eq!(body(""), Some(Body::UntilClose));
        assert_eq!(body("Content-Length: 7\r\n"), Some(Body::Length(7)));
        assert_eq!(body("Transfer-Encoding: gzip, chunked\r\n"), Some(Body::CHUNKED));
        assert_eq!(body("Transfer-Encoding: gzip\r\n"), Some(Body::UntilClose));
        assert_eq!(body("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n"), None);
        assert_eq!(body("WWW-Authenticate: Negotiate\r\n"), None);
        assert_eq!(body("WWW-Authenticate: Basic realm=\"a\", NTLM\r\n"), None);
        assert_eq!(body("Content-Length: 7\n"), None);
        for line in [
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
            "HTTP/1.1 099 Odd",
            "\r\nHTTP/1.1 200 OK",
        ] {
            assert_eq!(
                response(format!("{line}\r\n\r\n").as_bytes()),
                Parsed::Opaque,
                "{line}"
            );
        }
    }
}
