//! Is it HTTP/1? Decided from the client's first bytes.

use super::head::is_method_byte;

/// What a client's first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// The request line of HTTP/1.0 or 1.1.
    Http1,
    /// Something else: TLS, HTTP/2, any other protocol.
    Other,
    /// So far it could be a request line.
    Undecided,
}

/// Longest method name that is taken for one.
const MAX_METHOD: usize = 24;
/// Longest request target that is waited for.
const MAX_TARGET: usize = 16 * 1024;

/// Looks at the first bytes of a connection.
///
/// Bytes are held back while the answer is [`Detected::Undecided`], so the grammar is deliberately narrow: a protocol
/// in which the client says a word and waits (`PING`, `SET key`, `EHLO host`) is told apart at its first odd byte.
pub fn detect(bytes: &[u8]) -> Detected {
    let word = bytes.iter().take_while(|byte| is_method_byte(**byte)).count();
    if word > MAX_METHOD {
        return Detected::Other;
    }
    match bytes.get(word) {
        None => return Detected::Undecided,
        Some(b' ') if word > 0 => {}
        Some(_) => return Detected::Other,
    }
    let target = &bytes[word + 1..];
    let connect = &bytes[..word] == b"CONNECT";
    match target.first() {
        None => return Detected::Undecided,
        Some(b'/' | b'*') => {}
        Some(_) if connect || is_absolute(target) => {}
        Some(_) => return Detected::Other,
    }
    let length = target
        .iter()
        .take_while(|byte| **byte > b' ' && **byte != 0x7f)
        .count();
    if length > MAX_TARGET {
        return Detected::Other;
    }
    match target.get(length) {
        None => return Detected::Undecided,
        Some(b' ') => {}
        Some(_) => return Detected::Other,
    }
    version(&target[length + 1..])
}

/// `http:` or `https:`, as far as it has come.
fn is_absolute(target: &[u8]) -> bool {
    const SCHEMES: [&[u8]; 2] = [b"http:", b"https:"];
    SCHEMES.iter().any(|scheme| {
        let known = target.len().min(scheme.len());
        target[..known].eq_ignore_ascii_case(&scheme[..known])
    })
}

/// `HTTP/1.` and one digit.
fn version(bytes: &[u8]) -> Detected {
    const VERSION: &[u8] = b"HTTP/1.";
    let known = bytes.len().min(VERSION.len());
    if bytes[..known] != VERSION[..known] {
        return Detected::Other;
    }
    match bytes.get(VERSION.len()) {
        None => Detected::Undecided,
        Some(b'0' | b'1') => Detected::Http1,
        Some(_) => Detected::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_are_http() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "M-SEARCH * HTTP/1.0\n",
            "GET http://a/b HTTP/1.1",
            "CONNECT a:1 HTTP/1.1",
        ] {
            assert_eq!(detect(line.as_bytes()), Detected::Http1, "{line}");
        }
    }

    #[test]
    fn other_protocols_are_told_apart_at_once() {
        let h2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for first in [
            "\x16\x03\x01",
            "PING\r\n",
            "SET key value",
            "EHLO host",
            "get key",
            h2,
            "*1\r\n",
            "\r\n",
            " ",
        ] {
            assert_eq!(detect(first.as_bytes()), Detected::Other, "{first:?}");
        }
    }

    #[test]
    fn a_prefix_is_never_taken_for_something_else() {
        let line = b"DELETE /a/b?c=%20d HTTP/1.1";
        for end in 0..line.len() {
            assert_eq!(detect(&line[..end]), Detected::Undecided, "{end}");
        }
        assert_eq!(detect(line), Detected::Http1);
    }
}
