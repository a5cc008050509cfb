//! Properties of the boundary parser under any split of the bytes: messages that are well-formed, and such messages with a
//! few bytes of malice; with `httparse` and hyper as oracles.

use proptest::prelude::*;

use super::body::Body;
use super::oracle::pieces;
use super::*;

/// A body and its chunked form with random chunk sizes, extensions and trailers.
pub fn chunked() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (
        proptest::collection::vec(any::<u8>(), 1..40),
        "(;[a-z]{1,4}(=[a-z0-9]{0,4})?)?",
        any::<bool>(),
    );
    let trailers = proptest::collection::vec("[A-Za-z]{1,6}: [ -~]{0,8}", 0..3);
    (proptest::collection::vec(chunk, 0..5), trailers).prop_map(|(chunks, trailers)| {
        let mut wire = Vec::new();
        for (data, extension, upper) in chunks {
            let size = if upper {
                format!("{:X}", data.len())
            } else {
                format!("{:x}", data.len())
            };
            wire.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            wire.extend_from_slice(&data);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n");
        for trailer in trailers {
            wire.extend_from_slice(trailer.as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"\r\n");
        wire
    })
}

/// A few requests in a row, of any framing.
pub fn requests() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let body = prop_oneof![
        Just((String::new(), Vec::new())),
        chunked().prop_map(|wire| ("Transfer-Encoding: chunked\r\n".to_owned(), wire)),
        proptest::collection::vec(any::<u8>(), 0..40)
            .prop_map(|bytes| (format!("Content-Length: {}\r\n", bytes.len()), bytes)),
    ];
    let request = (
        "(GET|POST|PUT|HEAD|PROPFIND) /[a-z]{0,5} HTTP/1\\.1",
        "(X-[a-z]{1,4}: [ -~]{0,8}\r\n){0,2}",
        body,
    )
        .prop_map(|(line, fields, (field, body))| {
            let mut wire = format!("{line}\r\nHost: a\r\n{fields}{field}\r\n").into_bytes();
            wire.extend_from_slice(&body);
            wire
        });
    proptest::collection::vec(request, 1..4)
}

/// What smugglers put into requests, and where.
pub fn malice() -> impl Strategy<Value = Vec<(usize, bool, &'static [u8])>> {
    const WORDS: [&[u8]; 34] = [
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\0",
        b"\x0b",
        b"\xa0",
        b":",
        b";",
        b",",
        b"+",
        b"-",
        b"0",
        b"1",
        b"f",
        b"x",
        b"0x",
        b"\r\n ",
        b"chunked",
        b"Chunked",
        b"identity, ",
        b"Content-Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"content-length:5\r\n",
        b"Content-Length : 4\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"0\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",
        b"HTTP/1.0",
    ];
    let word = proptest::sample::select(&WORDS[..]);
    proptest::collection::vec((any::<usize>(), any::<bool>(), word), 0..4)
}

/// Puts the words in, in place of what was there or beside it.
pub fn spoilt(bytes: &mut Vec<u8>, malice: &[(usize, bool, &[u8])]) {
    for (at, replace, word) in malice {
        let at = at % (bytes.len() + 1);
        let end = if *replace {
            bytes.len().min(at + word.len())
        } else {
            at
        };
        bytes.splice(at..end, word.iter().copied());
    }
}

/// A response of any framing that ends by itself, and whether its request was HEAD.
pub fn response() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let interim = proptest::collection::vec(100u16..=199, 0..3)
        .prop_map(|codes| codes.into_iter().filter(|code| *code != 101).collect::<Vec<_>>());
    let body = prop_oneof![
        chunked().prop_map(|wire| ("Transfer-Encoding: chunked\r\n".to_owned(), wire)),
        proptest::collection::vec(any::<u8>(), 0..100)
            .prop_map(|bytes| (format!("Content-Length: {}\r\n", bytes.len()), bytes)),
    ];
    (
        interim,
        body,
        any::<bool>(),
        prop_oneof![Just(200u16), Just(204), Just(304), Just(404)],
    )
        .prop_map(|(interim, (field, body), head, status)| {
            let mut wire = Vec::new();
            for code in interim {
                wire.extend_from_slice(format!("HTTP/1.1 {code} Wait\r\nA: b\r\n\r\n").as_bytes());
            }
            wire.extend_from_slice(format!("HTTP/1.1 {status} X\r\nServer: s\r\n{field}\r\n").as_bytes());
            if !head && status != 204 && status != 304 {
                wire.extend_from_slice(&body);
            }
            (wire, head)
        })
}

/// Any cuts.
pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(any::<usize>(), 0..8)
}

proptest! {
    #[test]
    fn requests_end_where_they_end(messages in requests(), cuts in cuts()) {
        let mut end = 0;
        let ends: Vec<_> = messages.iter().map(|message| { end += message.len(); end }).collect();
        let bytes = messages.concat();
        prop_assert_eq!(oracle::request_ends(&pieces(&bytes, &cuts)), ends);
    }

    #[test]
    fn every_server_takes_the_end_of_a_request_for_one(
        messages in requests(), malice in malice(), cuts in cuts(),
    ) {
        let mut bytes = messages.concat();
        spoilt(&mut bytes, &malice);
        oracle::requests(&bytes, &cuts);
    }

    #[test]
    fn spoilt_responses_end_in_one_place((mut bytes, _) in response(), malice in malice(), cuts in cuts()) {
        spoilt(&mut bytes, &malice);
        oracle::responses(&bytes, &cuts);
    }

    #[test]
    fn hyper_sees_the_same_requests(messages in requests(), malice in malice()) {
        let mut bytes = messages.concat();
        spoilt(&mut bytes, &malice);
        hyper_oracle::requests(&bytes);
    }

    #[test]
    fn hyper_sees_the_same_end_of_a_response((mut bytes, _) in response(), malice in malice()) {
        spoilt(&mut bytes, &malice);
        hyper_oracle::responses(&bytes);
    }

    #[test]
    fn chunked_bodies_end_where_they_end(
        wire in chunked(),
        surplus in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in cuts(),
    ) {
        let mut bytes = wire.clone();
        bytes.extend_from_slice(&surplus);
        let (mut body, mut used) = (Body::CHUNKED, 0);
        for piece in pieces(&bytes, &cuts) {
            used += body.advance(piece).map_err(|_| TestCaseError::fail("malformed"))?;
        }
        prop_assert!(body.is_complete());
        prop_assert_eq!(used, wire.len());
    }

    #[test]
    fn responses_end_where_they_end(
        (wire, head) in response(),
        surplus in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in cuts(),
    ) {
        let first: &[u8] = if head { b"HEAD / HTTP/1.1\r\n\r\n" } else { b"GET / HTTP/1.1\r\n\r\n" };
        let Parsed::Complete(request) = request(first) else { return Err(TestCaseError::fail("request")) };
        let mut bytes = wire.clone();
        bytes.extend_from_slice(&surplus);
        let (mut exchange, mut used) = (Exchange::new(&request), 0);
        for piece in pieces(&bytes, &cuts) {
            let (n, next) = exchange.response(piece);
            prop_assert!(next != Next::Opaque);
            used += n;
        }
        prop_assert!(exchange.response_complete());
        prop_assert!(exchange.persistent());
        prop_assert_eq!(used, wire.len());
    }

    #[test]
    fn chunk_sizes_agree_with_httparse(line in "[0-9a-fA-F]{0,16}[ \t]{0,2}(;[a-z=]{0,5})?(\r\n|\n|\r)?[a-z]?") {
        let bytes = line.as_bytes();
        let mut body = Body::CHUNKED;
        let ours = body.advance(bytes);
        match (httparse::parse_chunk_size(bytes), ours) {
            // Ours may be stricter, never more lenient.
            (Err(_), Ok(_)) => {
                let complete = line.contains('\n');
                prop_assert!(!complete, "accepted {:?}", line);
            }
            (Ok(httparse::Status::Complete((_, size))), Ok(used)) => {
                let taken = used as u64;
                let line = line.find('\n').map_or(0, |at| at as u64 + 1);
                prop_assert!(taken <= line + size + 2);
            }
            _ => {}
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cuts in cuts(),
    ) {
        let _ = detect(&bytes);
        let _ = request(&bytes);
        let Parsed::Complete(head) = request(b"GET / HTTP/1.1\r\n\r\n") else { return Ok(()) };
        let (mut exchange, mut body) = (Exchange::new(&head), Body::CHUNKED);
        for piece in pieces(&bytes, &cuts) {
            let (used, _) = exchange.response(piece);
            prop_assert!(used <= piece.len());
            if let Ok(used) = body.advance(piece) {
                prop_assert!(used <= piece.len());
            }
        }
    }
}
