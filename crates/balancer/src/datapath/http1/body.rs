//! Where a message body ends.

use serde::{Deserialize, Serialize};

/// The body of one message, as far as it has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks, up to and including the trailers.
    Chunked(Chunk),
    /// Everything until the connection ends (responses only).
    UntilClose,
}

/// Where in a chunked body the last byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chunk {
    /// In the digits of a chunk's size; `digits` of them so far.
    Size {
        /// The size so far.
        size: u64,
        /// How many digits it has so far.
        digits: u8,
    },
    /// Behind the size: blanks, up to an extension or CR.
    Blank(u64),
    /// In an extension, up to CR.
    Extension(u64),
    /// LF of the size line is next.
    SizeEnd(u64),
    /// So many bytes of data, then CR.
    Data(u64),
    /// LF behind the data is next.
    DataEnd,
    /// At the start of a trailer line.
    TrailerStart,
    /// In a trailer line, up to CR.
    Trailer,
    /// LF of a trailer line is next.
    TrailerEnd,
    /// LF of the empty line that ends the body is next.
    LastEnd,
    /// Behind the last byte.
    Done,
}

/// The bytes do not follow the framing that the head announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Body {
    /// A chunked body of which nothing has been seen.
    pub const CHUNKED: Self = Self::Chunked(Chunk::Size { size: 0, digits: 0 });

    /// Whether its last byte has been seen.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// Takes the next bytes and returns how many of them belong to this body.
    ///
    /// # Errors
    /// A chunked body that is not well-formed; where it ends can then not be known. None of these bytes has been taken:
    /// asked again, about the same bytes, it says the same.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Self::UntilClose => Ok(bytes.len()),
            Self::Length(left) => {
                let used = at_most(*left, bytes.len());
                *left -= used as u64;
                Ok(used)
            }
            Self::Chunked(chunk) => chunk.advance(bytes),
        }
    }
}

/// The smaller of a count and a length.
fn at_most(left: u64, length: usize) -> usize {
    usize::try_from(left).map_or(length, |left| left.min(length))
}

/// What a line may hold. In particular no LF, which ends the line for some servers and not for others.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

impl Chunk {
    fn advance(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let (mut at, mut chunk) = (0, *self);
        while at < bytes.len() {
            match chunk {
                Self::Done => break,
                Self::Data(left) if left > 0 => {
                    let used = at_most(left, bytes.len() - at);
                    chunk = Self::Data(left - used as u64);
                    at += used;
                }
                state => {
                    chunk = state.next(bytes[at])?;
                    at += 1;
                }
            }
        }
        *self = chunk;
        Ok(at)
    }

    /// The state after one byte that is not chunk data.
    fn next(self, byte: u8) -> Result<Self, Malformed> {
        Ok(match (self, byte) {
            (Self::Size { size, digits }, _) => return Self::size(size, digits, byte),
            (Self::Blank(size) | Self::Extension(size), b'\r') => Self::SizeEnd(size),
            (Self::Blank(size), b' ' | b'\t') => Self::Blank(size),
            (Self::Blank(size), b';') => Self::Extension(size),
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::Extension(size), _) if is_text(byte) => Self::Extension(size),
            (Self::SizeEnd(0), b'\n') | (Self::TrailerEnd, b'\n') => Self::TrailerStart,
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::Data(0), b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::TrailerStart, b'\r') => Self::LastEnd,
            (Self::TrailerStart | Self::Trailer, _) if is_text(byte) => Self::Trailer,
            (Self::LastEnd, b'\n') => Self::Done,
            _ => return Err(Malformed),
        })
    }

    /// One byte of a chunk's size, at most 15 digits.
    fn size(size: u64, digits: u8, byte: u8) -> Result<Self, Malformed> {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if digits > 0 => return Ok(Self::SizeEnd(size)),
            b';' if digits > 0 => return Ok(Self::Extension(size)),
            b' ' | b'\t' if digits > 0 => return Ok(Self::Blank(size)),
            _ => return Err(Malformed),
        };
        if digits == 15 {
            return Err(Malformed);
        }
        Ok(Self::Size {
            size: size * 16 + u64::from(value),
            digits: digits + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAILERS: &[u8] = b"4;a=b;c=\"d\"\r\nWiki\r\n00A \r\n0123456789\r\n0\r\nSum: 1\r\nMore: 2\r\n\r\n";

    #[test]
    fn extensions_and_trailers_belong_to_the_body() {
        let mut body = Body::CHUNKED;
        let mut bytes = TRAILERS.to_vec();
        bytes.extend_from_slice(b"GET / ");
        assert_eq!(body.advance(&bytes), Ok(TRAILERS.len()));
        assert!(body.is_complete());
    }

    #[test]
    fn every_split_ends_at_the_same_byte() {
        for split in 0..TRAILERS.len() {
            let mut body = Body::CHUNKED;
            assert_eq!(body.advance(&TRAILERS[..split]), Ok(split));
            assert!(!body.is_complete());
            assert_eq!(body.advance(&TRAILERS[split..]), Ok(TRAILERS.len() - split));
            assert!(body.is_complete());
        }
    }

    #[test]
    fn malformed_bytes_are_so_each_time() {
        let mut body = Body::CHUNKED;
        for _ in 0..2 {
            // Half of the size must not become a part of the next one.
            assert_eq!(body.advance(b"5\r\nhello\r\n15Chunked\r\n"), Err(Malformed));
            assert_eq!(body, Body::CHUNKED);
        }
    }

    #[test]
    fn ambiguous_chunks_are_malformed() {
        let cases: [&[u8]; 12] = [
            b"\r\n",
            b"g\r\n",
            b"1\nx",
            b"1;a\nx",
            b"1\r\nxy",
            b"0\r\n\n",
            b"0x1\r\n",
            b"1234567890123456\r\n",
            b"1 2\r\n",
            b"1;\0\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\nA\0: b\r\n",
        ];
        for bytes in cases {
            let mut body = Body::CHUNKED;
            assert_eq!(body.advance(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_length_takes_no_more_than_its_bytes() {
        let mut body = Body::Length(3);
        assert_eq!(body.advance(b"ab"), Ok(2));
        assert_eq!(body.advance(b"cdef"), Ok(1));
        assert!(body.is_complete());
        body = Body::UntilClose;
        assert_eq!(body.advance(b"abc"), Ok(3));
    }
}
