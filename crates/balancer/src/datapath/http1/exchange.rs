//! One request and its response, both under way at once.

use serde::{Deserialize, Serialize};

use super::MAX_HEAD;
use super::body::{Body, Malformed};
use super::head::{Method, Parsed, Request, Response, response};

/// What follows from the bytes of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The response goes on.
    More,
    /// The final response is complete.
    Complete,
    /// From here on both directions are opaque: the protocol was switched, or the response is not understood.
    Opaque,
}

/// The exchange of one request and its response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exchange {
    method: Method,
    http10: bool,
    expects: bool,
    persistent: bool,
    request: Body,
    response: Answer,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Answer {
    /// Waiting for a head, of which this much has been passed on already.
    Head(Vec<u8>),
    Body(Body),
    Complete,
}

impl Exchange {
    /// Begins with the head of a request; its body comes by [`Self::request`].
    pub fn new(head: &Request) -> Self {
        Self {
            method: head.method,
            http10: head.http10,
            expects: head.expects,
            persistent: head.persistent,
            request: head.body,
            response: Answer::Head(Vec::new()),
        }
    }

    /// Takes the next bytes of the client; returns how many belong to this request's body.
    ///
    /// # Errors
    /// The body is not what the head announced: its end cannot be known.
    pub fn request(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        self.request.advance(bytes)
    }

    /// Whether the request has been seen to its end.
    pub fn request_complete(&self) -> bool {
        self.request.is_complete()
    }

    /// Whether the final response has been seen to its end.
    pub fn response_complete(&self) -> bool {
        matches!(self.response, Answer::Complete)
    }

    /// Whether the head of the final response has not been seen yet.
    pub fn awaits_response(&self) -> bool {
        matches!(self.response, Answer::Head(_))
    }

    /// Whether the connections can carry another exchange after this one. Known once the response is complete.
    pub fn persistent(&self) -> bool {
        self.persistent
    }

    /// Whether executing the request twice does no harm (RFC 9110, 9.2.2).
    pub fn idempotent(&self) -> bool {
        matches!(self.method, Method::Head | Method::Idempotent)
    }

    /// The backend's end of stream: true if that is where the response ends.
    pub fn response_ended(&mut self) -> bool {
        let ended = matches!(self.response, Answer::Body(Body::UntilClose));
        if ended {
            self.response = Answer::Complete;
        }
        ended
    }

    /// Takes the next bytes of the backend; returns how many belong to this exchange, and what follows. All of them do,
    /// unless the response is complete.
    pub fn response(&mut self, bytes: &[u8]) -> (usize, Next) {
        let mut at = 0;
        loop {
            match &mut self.response {
                Answer::Complete => {
                    return if self.is_body_uncertain() {
                        (bytes.len(), Next::Opaque)
                    } else {
                        (at, Next::Complete)
                    };
                }
                Answer::Body(body) => {
                    let Ok(used) = body.advance(&bytes[at..]) else {
                        return (bytes.len(), Next::Opaque);
                    };
                    at += used;
                    if !body.is_complete() {
                        return (at, Next::More);
                    }
                    self.response = Answer::Complete;
                }
                Answer::Head(_) if at == bytes.len() => return (at, Next::More),
                Answer::Head(begun) => match next_head(begun, &bytes[at..]) {
                    Parsed::Partial => return (bytes.len(), Next::More),
                    Parsed::Opaque => return (bytes.len(), Next::Opaque),
                    Parsed::Complete(head) => {
                        at += head.length;
                        if !self.answered(&head) {
                            return (bytes.len(), Next::Opaque);
                        }
                    }
                },
            }
        }
    }

    /// A client that asked whether to send its body, and got the final answer instead, may send the body or go on with
    /// another request; and not every server takes what comes for the same.
    fn is_body_uncertain(&self) -> bool {
        self.expects && self.persistent && !self.request.is_complete()
    }

    /// Draws the consequences of a response's head; false if it makes the connection a tunnel.
    fn answered(&mut self, head: &Response) -> bool {
        self.response = match head.status {
            101 => return false,
            100..=199 => Answer::Head(Vec::new()),
            200..=299 if self.method == Method::Connect => return false,
            204 | 304 => Answer::Complete,
            _ if self.method == Method::Head => Answer::Complete,
            _ => Answer::Body(head.body),
        };
        if head.status >= 200 {
            self.persistent &= head.persistent && (!self.http10 || head.keep_alive);
            // What ends with the connection leaves none to persist.
            self.persistent &= !matches!(self.response, Answer::Body(Body::UntilClose));
        }
        true
    }
}

/// Parses a head that began in earlier bytes; the length returned counts from the start of `bytes`.
fn next_head(begun: &mut Vec<u8>, bytes: &[u8]) -> Parsed<Response> {
    let earlier = begun.len();
    let parsed = if earlier == 0 {
        response(bytes)
    } else {
        begun.extend_from_slice(bytes);
        response(begun)
    };
    match parsed {
        Parsed::Complete(mut head) => {
            head.length -= earlier;
            Parsed::Complete(head)
        }
        Parsed::Partial if earlier + bytes.len() > MAX_HEAD => Parsed::Opaque,
        Parsed::Partial => {
            if earlier == 0 {
                begun.extend_from_slice(bytes);
            }
            Parsed::Partial
        }
        Parsed::Opaque => Parsed::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::request;
    use super::*;

    fn exchange(request_head: &str) -> Exchange {
        let Parsed::Complete(head) = request(request_head.as_bytes()) else {
            panic!("{request_head}")
        };
        Exchange::new(&head)
    }

    const GET: &str = "GET / HTTP/1.1\r\n\r\n";

    #[test]
    fn interim_responses_are_not_the_response() {
        let mut exchange = exchange(GET);
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX";
        assert_eq!(exchange.response(bytes), (bytes.len() - 1, Next::Complete));
        assert!(exchange.persistent());
    }

    #[test]
    fn responses_without_a_body() {
        for (head, status) in [("HEAD / HTTP/1.1\r\n\r\n", 200), (GET, 204), (GET, 304)] {
            let mut exchange = exchange(head);
            let response = format!("HTTP/1.1 {status} X\r\nContent-Length: 9\r\n\r\n");
            assert_eq!(
                exchange.response(response.as_bytes()),
                (response.len(), Next::Complete),
                "{head}"
            );
        }
    }

    #[test]
    fn switched_protocols_are_opaque() {
        let bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\nanything";
        assert_eq!(exchange(GET).response(bytes), (bytes.len(), Next::Opaque));
        let bytes = b"HTTP/1.1 200 OK\r\n\r\n";
        let mut connect = exchange("CONNECT a:1 HTTP/1.1\r\n\r\n");
        assert_eq!(connect.response(bytes), (bytes.len(), Next::Opaque));
    }

    #[test]
    fn a_body_that_was_not_asked_for_is_uncertain() {
        let head = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        let answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(exchange(head).response(answer).1, Next::Opaque);
        let mut sent = exchange(head);
        assert_eq!(sent.request(b"ok"), Ok(2));
        assert_eq!(sent.response(answer).1, Next::Complete);
        let answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(exchange(head).response(answer).1, Next::Complete);
    }

    #[test]
    fn persistence_needs_both_sides() {
        let after = |request: &str, response: &str| {
            let mut exchange = exchange(request);
            exchange.response(response.as_bytes());
            exchange.persistent()
        };
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert!(after(GET, ok));
        assert!(!after("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", ok));
        assert!(!after(
            GET,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ));
        assert!(!after(GET, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(!after(GET, "HTTP/1.1 200 OK\r\n\r\nuntil close"));
        let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert!(!after(old, ok));
        assert!(after(
            old,
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
        ));
    }

    #[test]
    fn a_response_until_close_ends_with_the_stream() {
        let mut exchange = exchange(GET);
        assert_eq!(exchange.response(b"HTTP/1.1 200 OK\r\n\r\nabc").1, Next::More);
        assert!(exchange.response_ended());
        assert!(exchange.response_complete());
    }
}
