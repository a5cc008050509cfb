//! Properties of the boundary parser under any split of the bytes, with hyper's chunk parser in `httparse` as oracle.

use proptest::prelude::*;

use super::body::Body;
use super::*;

/// A body and its chunked form with random chunk sizes, extensions and trailers.
fn chunked() -> impl Strategy<Value = Vec<u8>> {
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

/// A response of any framing that ends by itself, and whether its request was HEAD.
fn response() -> impl Strategy<Value = (Vec<u8>, bool)> {
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

/// Cuts bytes into pieces at the given places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.push(0);
    cuts.push(bytes.len());
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn chunked_bodies_end_where_they_end(
        wire in chunked(),
        surplus in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
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
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
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
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
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
