//! Request smuggling: whatever may be read as one request or as two goes to one backend, to the last byte, and the
//! connection never leaves it. See the invariant in [`super::super::http1`].

use super::*;

/// Each is said in one piece. The connection must be pinned by it.
const AMBIGUOUS: [(&str, &str); 55] = [
    (
        "CL.TE",
        "POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    (
        "TE.CL",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n12\r\nGET /x HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
    ),
    (
        "CL.TE without a body",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE twice",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE twice the same",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE identity",
        "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
    ),
    ("TE empty", "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n"),
    (
        "TE list",
        "POST / HTTP/1.1\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE list, wrong end",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE prefix",
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE quoted",
        "POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE parameter",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE vertical tab",
        "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE no-break space",
        "POST / HTTP/1.1\r\nTransfer-Encoding: \u{a0}chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE NUL",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE space before colon",
        "POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE tab before colon",
        "POST / HTTP/1.1\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE NUL in the name",
        "POST / HTTP/1.1\r\nTransfer-Encoding\0: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE behind a space",
        "POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE folded value",
        "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE in a fold",
        "POST / HTTP/1.1\r\nA: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE behind a bare LF",
        "POST / HTTP/1.1\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE behind a bare CR",
        "POST / HTTP/1.1\r\nA: b\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE of HTTP/1.0",
        "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "CL twice",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "CL twice the same",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("CL list", "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello"),
    ("CL plus", "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello"),
    ("CL minus", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\nhello"),
    (
        "CL hexadecimal",
        "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\nhello",
    ),
    (
        "CL fraction",
        "POST / HTTP/1.1\r\nContent-Length: 5.0\r\n\r\nhello",
    ),
    (
        "CL two words",
        "POST / HTTP/1.1\r\nContent-Length: 5 0\r\n\r\nhello",
    ),
    ("CL empty", "POST / HTTP/1.1\r\nContent-Length:\r\n\r\nhello"),
    (
        "CL without colon",
        "POST / HTTP/1.1\r\nContent-Length 5\r\n\r\nhello",
    ),
    ("CL alone", "POST / HTTP/1.1\r\nContent-Length\r\n\r\nhello"),
    (
        "CL beyond 64 bits",
        "POST / HTTP/1.1\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
    ),
    (
        "CL beyond 63 bits",
        "POST / HTTP/1.1\r\nContent-Length: 9223372036854775813\r\n\r\nhello",
    ),
    (
        "CL space before colon",
        "POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\nhello",
    ),
    (
        "CL folded",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n 0\r\n\r\nhello",
    ),
    ("bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n"),
    ("bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    ("field without name", "GET / HTTP/1.1\r\n: a\r\n\r\n"),
    (
        "chunk size overflows",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
    ),
    (
        "chunk size with many zeros",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk size negative",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk size with a prefix",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk size behind a blank",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk size in two words",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5 0\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk size empty",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunk size with a bare LF",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk extension with a bare LF",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk extension with a bare CR",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk that spills",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
    ),
    (
        "trailer with a bare LF",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n",
    ),
    ("HTTP/0.9 behind a request", "GET /\r\n\r\n"),
];

/// Messages that look odd and that all servers read alike.
const UNDERSTOOD: [(&str, &[&str]); 10] = [
    (
        "CL in trailers",
        &[
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\n\r\n",
            "GET /2 HTTP/1.1\r\n\r\n",
        ],
    ),
    (
        "TE in trailers",
        &[
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: x\r\n\r\n",
            "GET /2 HTTP/1.1\r\n\r\n",
        ],
    ),
    (
        "a request in a body",
        &[
            "POST / HTTP/1.1\r\nContent-Length: 21\r\n\r\nGET /x HTTP/1.1\r\n\r\n\r\n",
            "GET /2 HTTP/1.1\r\n\r\n",
        ],
    ),
    (
        "a request in a chunk",
        &[
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n15\r\nGET /x HTTP/1.1\r\n\r\n\r\n\r\n0\r\n\r\n",
            "GET /2 HTTP/1.1\r\n\r\n",
        ],
    ),
    (
        "a body of GET",
        &[
            "GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nGET",
            "GET /2 HTTP/1.1\r\n\r\n",
        ],
    ),
    (
        "absolute form",
        &[
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET /2 HTTP/1.1\r\n\r\n",
        ],
    ),
    (
        "zeros before a length",
        &[
            "POST / HTTP/1.1\r\nContent-Length: 0005\r\n\r\nhello",
            "GET /2 HTTP/1.1\r\n\r\n",
        ],
    ),
    (
        "an empty line before a request",
        &["GET / HTTP/1.1\r\n\r\n", "\r\nGET /2 HTTP/1.1\r\n\r\n"],
    ),
    (
        "blanks behind a chunk size",
        &[
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5 ;a=\"b\"\r\nhello\r\n0\t\r\n\r\n",
            "GET /2 HTTP/1.1\r\n\r\n",
        ],
    ),
    (
        "bytes beyond ASCII",
        &[
            "GET /\u{e4} HTTP/1.1\r\nA: \u{e4}\r\n\r\n",
            "GET /2 HTTP/1.1\r\n\r\n",
        ],
    ),
];

/// Says it, once the connection is at a boundary, and drains the backend: the connection must stay where it is.
fn is_pinned_by(bytes: &[u8], begin: &[u8]) {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    let mut served = a.accept();
    if !begin.is_empty() {
        client.say(begin);
        served.hear(begin);
        served.say(OK);
        client.hear(OK);
    }
    client.say(bytes);
    served.hear(bytes);
    served.say(OK);
    client.hear(OK);
    balancer.until_installed(&[&b]);
    client.say(GET);
    served.hear(GET);
    assert!(!b.has_caller());
    let drained = balancer.backend(&a);
    assert_eq!((drained.state, drained.open), (BackendState::Draining, 1));
}

#[test]
fn what_can_be_read_in_two_ways_is_never_moved() {
    for (name, text) in AMBIGUOUS {
        println!("{name}");
        is_pinned_by(text.as_bytes(), b"");
        is_pinned_by(text.as_bytes(), GET);
    }
}

#[test]
fn heads_beyond_limits_are_never_moved() {
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(70_000));
    is_pinned_by(long.as_bytes(), GET);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
    is_pinned_by(many.as_bytes(), GET);
}

/// The other backend's turn comes at every boundary, which so must be where all see it.
#[test]
fn what_can_be_read_in_one_way_moves_at_its_end() {
    for (name, messages) in UNDERSTOOD {
        println!("{name}");
        let servers = [Server::new(), Server::new()];
        let mut balancer = Balancer::to(&[&servers[0]]);
        let mut client = balancer.client();
        client.say(messages.concat().as_bytes());
        for (number, message) in messages.iter().enumerate() {
            let mut served = servers[number % 2].accept();
            served.hear(message.as_bytes());
            balancer.until_installed(&[&servers[(number + 1) % 2]]);
            served.say(OK);
            client.hear(OK);
            served.hear_end();
        }
    }
}

/// A client that got the final answer before its body may never send the body. Who is wrong then is not for us to say.
#[test]
fn a_body_that_was_refused_pins() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    let head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 26\r\n\r\n";
    client.say(head);
    let mut served = a.accept();
    served.hear(head);
    served.say(OK);
    client.hear(OK);
    client.say(GET);
    served.hear(GET);
    balancer.until_installed(&[&b]);
    client.say(GET);
    served.hear(GET);
    assert!(!b.has_caller());
}
