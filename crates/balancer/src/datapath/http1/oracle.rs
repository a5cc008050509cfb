//! What must hold of the parser for any bytes in any pieces: the property tests' and the fuzz targets' one statement of
//! it. Panics where it does not hold.

use super::readers::READERS;
use super::*;

/// Cuts bytes into pieces at the given places.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.push(0);
    cuts.push(bytes.len());
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Where requests end, as long as they are understood and the client wants to go on.
pub fn request_ends(pieces: &[&[u8]]) -> Vec<usize> {
    let (mut ends, mut at) = (Vec::new(), 0);
    let (mut ahead, mut under_way): (Vec<u8>, Option<(Exchange, bool)>) = (Vec::new(), None);
    for piece in pieces {
        ahead.extend_from_slice(piece);
        loop {
            let Some((exchange, persistent)) = &mut under_way else {
                match request(&ahead) {
                    Parsed::Complete(head) => {
                        ahead.drain(..head.length);
                        at += head.length;
                        under_way = Some((Exchange::new(&head), head.persistent));
                        continue;
                    }
                    Parsed::Partial if ahead.len() <= MAX_HEAD => break,
                    Parsed::Partial | Parsed::Opaque => return ends,
                }
            };
            let Ok(used) = exchange.request(&ahead) else {
                return ends;
            };
            assert!(used <= ahead.len());
            ahead.drain(..used);
            at += used;
            if !exchange.request_complete() {
                break;
            }
            ends.push(at);
            if !*persistent {
                return ends;
            }
            under_way = None;
        }
    }
    ends
}

/// The invariant, for these bytes of a client.
pub fn requests(bytes: &[u8], cuts: &[usize]) {
    let ends = request_ends(&[bytes]);
    let split = request_ends(&pieces(bytes, cuts));
    assert_eq!(
        ends,
        split,
        "it depends on how the bytes come: {}",
        bytes.escape_ascii()
    );
    for reader in &READERS {
        let (its, refuses) = reader.ends(bytes);
        let common = if refuses {
            its.len().min(ends.len())
        } else {
            ends.len()
        };
        assert_eq!(
            its.get(..common),
            Some(&ends[..common]),
            "{reader:?} reads it differently: {}",
            bytes.escape_ascii()
        );
    }
}

/// How far a response reaches, and what then follows.
fn response_end(first: &[u8], pieces: &[&[u8]]) -> Option<(usize, Next, bool)> {
    let Parsed::Complete(head) = request(first) else {
        return None;
    };
    let (mut exchange, mut at) = (Exchange::new(&head), 0);
    for piece in pieces {
        let (used, next) = exchange.response(piece);
        assert!(used <= piece.len());
        at += used;
        match next {
            Next::More => assert_eq!(used, piece.len()),
            Next::Complete => return Some((at, next, exchange.persistent())),
            // All that came is passed on, however it came.
            Next::Opaque => return Some((0, next, false)),
        }
    }
    Some((at, Next::More, false))
}

/// Where the response ends, if it does, the same in any pieces; for each kind of request.
pub fn responses(bytes: &[u8], cuts: &[usize]) {
    for first in REQUESTS {
        let whole = response_end(first, &[bytes]);
        let split = response_end(first, &pieces(bytes, cuts));
        assert_eq!(
            whole,
            split,
            "it depends on how the bytes come: {}",
            bytes.escape_ascii()
        );
    }
}

/// Requests whose responses are framed differently.
pub const REQUESTS: [&[u8]; 4] = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
];
