//! How servers read requests: as the standard says, and with the lenience that is met in the wild. What requests are
//! smuggled by is that two of them disagree. Plain code that reads whole messages, so that it shares nothing with the
//! parser it is compared to.

/// A server's way of reading.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    newline: Newline,
    /// Takes what can be made sense of: blanks before a colon, folded lines, lines without a colon, chunk sizes that
    /// only begin with digits.
    lenient: bool,
    length: Length,
    coding: Coding,
}

/// What LF without CR is.
#[derive(Clone, Copy, Debug)]
enum Newline {
    Refused,
    End,
    Text,
}

/// Which of several lengths counts.
#[derive(Clone, Copy, Debug)]
enum Length {
    OneOnly,
    First,
    Last,
}

/// What `Transfer-Encoding` is.
#[derive(Clone, Copy, Debug)]
enum Coding {
    /// Exactly `chunked`, and without a length.
    ChunkedOnly,
    /// Whatever mentions `chunked`, and stronger than a length.
    Mentioned,
    /// Whatever ends in `chunked`, if there is no length.
    Weak,
}

/// The server answers 400 and closes.
#[derive(Debug)]
pub struct Refused;

/// A message's length; `None`: it is not complete.
type Read<T> = Result<Option<T>, Refused>;

/// The standard's way first.
pub const READERS: [Reader; 6] = [
    Reader::new(Newline::Refused, false, Length::OneOnly, Coding::ChunkedOnly),
    Reader::new(Newline::End, false, Length::OneOnly, Coding::ChunkedOnly),
    Reader::new(Newline::End, true, Length::First, Coding::Weak),
    Reader::new(Newline::End, true, Length::Last, Coding::Mentioned),
    Reader::new(Newline::Text, true, Length::First, Coding::Mentioned),
    Reader::new(Newline::Text, true, Length::Last, Coding::Weak),
];

impl Reader {
    const fn new(newline: Newline, lenient: bool, length: Length, coding: Coding) -> Self {
        Self {
            newline,
            lenient,
            length,
            coding,
        }
    }

    /// Where the whole requests at the front of the bytes end, and whether what follows them is refused.
    pub fn ends(&self, bytes: &[u8]) -> (Vec<usize>, bool) {
        let (mut ends, mut at) = (Vec::new(), 0);
        loop {
            match self.message(&bytes[at..]) {
                Ok(Some(length)) => {
                    at += length;
                    ends.push(at);
                }
                Ok(None) => return (ends, false),
                Err(Refused) => return (ends, true),
            }
        }
    }

    fn message(&self, bytes: &[u8]) -> Read<usize> {
        let mut at = 0;
        let mut empty = 0;
        let first = loop {
            let Some((line, next)) = self.line(bytes, at)? else {
                return Ok(None);
            };
            at = next;
            if !line.is_empty() {
                break line;
            }
            empty += 1;
            if !self.lenient && empty > 1 {
                return Err(Refused);
            }
        };
        if !self.is_request_line(first)? {
            // HTTP/0.9: this was all of it.
            return Ok(Some(at));
        }
        let (mut lengths, mut codings): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            let Some((line, next)) = self.line(bytes, at)? else {
                return Ok(None);
            };
            at = next;
            if line.is_empty() {
                break;
            }
            self.field(line, &mut fields)?;
        }
        for (name, value) in fields {
            match name.to_ascii_lowercase().as_slice() {
                b"content-length" => lengths.push(value),
                b"transfer-encoding" => codings.push(value),
                _ => {}
            }
        }
        if self.is_chunked(&lengths, &codings)? {
            return self.chunks(bytes, at);
        }
        let end = (at as u64).saturating_add(self.length(&lengths)?);
        Ok((end <= bytes.len() as u64).then(|| usize::try_from(end).unwrap_or(bytes.len())))
    }

    /// The line that begins here, without its end, and where the next one begins.
    fn line<'a>(&self, bytes: &'a [u8], start: usize) -> Read<(&'a [u8], usize)> {
        let mut at = start;
        while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\n') {
            let end = at + found;
            if end > start && bytes[end - 1] == b'\r' {
                return Ok(Some((&bytes[start..end - 1], end + 1)));
            }
            match self.newline {
                Newline::Refused => return Err(Refused),
                Newline::End => return Ok(Some((&bytes[start..end], end + 1))),
                Newline::Text => at = end + 1,
            }
        }
        Ok(None)
    }

    /// False: it is a request of HTTP/0.9.
    fn is_request_line(&self, line: &[u8]) -> Result<bool, Refused> {
        let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
        match words[..] {
            [_, target, version] if !target.is_empty() && version.starts_with(b"HTTP/1.") => Ok(true),
            [_, _] if self.lenient => Ok(false),
            [_, .., version] if self.lenient && version.starts_with(b"HTTP/1.") => Ok(true),
            _ => Err(Refused),
        }
    }

    fn field(&self, line: &[u8], fields: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Refused> {
        if line[0] == b' ' || line[0] == b'\t' {
            return match fields.last_mut() {
                Some((_, value)) if self.lenient => {
                    value.extend_from_slice(b" ");
                    value.extend_from_slice(line.trim_ascii());
                    Ok(())
                }
                _ => Err(Refused),
            };
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return if self.lenient { Ok(()) } else { Err(Refused) };
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let odd = |byte: &u8| byte.is_ascii_control() || *byte == b' ';
        if !self.lenient && (name.is_empty() || name.iter().any(odd) || value.contains(&0)) {
            return Err(Refused);
        }
        fields.push((name.trim_ascii().to_vec(), value.to_vec()));
        Ok(())
    }

    fn is_chunked(&self, lengths: &[Vec<u8>], codings: &[Vec<u8>]) -> Result<bool, Refused> {
        let Some(last) = codings.last().map(|last| last.to_ascii_lowercase()) else {
            return Ok(false);
        };
        match self.coding {
            Coding::ChunkedOnly if codings.len() == 1 && lengths.is_empty() && last == b"chunked" => Ok(true),
            Coding::ChunkedOnly => Err(Refused),
            Coding::Mentioned => Ok(codings.iter().any(|value| {
                let value = value.to_ascii_lowercase();
                value.windows(7).any(|word| word == b"chunked")
            })),
            Coding::Weak => Ok(lengths.is_empty() && last.ends_with(b"chunked")),
        }
    }

    fn length(&self, lengths: &[Vec<u8>]) -> Result<u64, Refused> {
        match (self.length, lengths) {
            (_, []) => Ok(0),
            (Length::OneOnly, [one]) => {
                let text = str::from_utf8(one).map_err(|_| Refused)?;
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let length: u64 = text.parse().map_err(|_| Refused)?;
                if digits && length <= i64::MAX.unsigned_abs() {
                    Ok(length)
                } else {
                    Err(Refused)
                }
            }
            (Length::OneOnly, _) => Err(Refused),
            (Length::First, [first, ..]) => Ok(leading(first, 10)),
            (Length::Last, [.., last]) => Ok(leading(last, 10)),
        }
    }

    fn chunks(&self, bytes: &[u8], mut at: usize) -> Read<usize> {
        loop {
            let Some((line, next)) = self.line(bytes, at)? else {
                return Ok(None);
            };
            at = next;
            let size = self.chunk_size(line)?;
            if size == 0 {
                break;
            }
            let Some(end) = usize::try_from(size)
                .ok()
                .and_then(|size| at.checked_add(size))
                .filter(|end| *end <= bytes.len())
            else {
                return Ok(None);
            };
            let Some((rest, next)) = self.line(bytes, end)? else {
                return Ok(None);
            };
            if !self.lenient && !rest.is_empty() {
                return Err(Refused);
            }
            at = next;
        }
        loop {
            let Some((line, next)) = self.line(bytes, at)? else {
                return Ok(None);
            };
            at = next;
            if line.is_empty() {
                return Ok(Some(at));
            }
        }
    }

    fn chunk_size(&self, line: &[u8]) -> Result<u64, Refused> {
        if self.lenient {
            return Ok(leading(line, 16));
        }
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = size.trim_ascii_end();
        let digits = (1..=16).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
        let text = str::from_utf8(size).map_err(|_| Refused)?;
        u64::from_str_radix(text, 16)
            .ok()
            .filter(|_| digits)
            .ok_or(Refused)
    }
}

/// The number that the bytes begin with, as C's `strtol` reads it; 0 if there is none. It may overflow.
fn leading(bytes: &[u8], radix: u32) -> u64 {
    let bytes = bytes.trim_ascii_start();
    let bytes = bytes.strip_prefix(b"+").unwrap_or(bytes);
    let bytes = match bytes {
        [b'0', b'x' | b'X', rest @ ..] if radix == 16 => rest,
        _ => bytes,
    };
    bytes
        .iter()
        .map_while(|byte| char::from(*byte).to_digit(radix))
        .fold(0u64, |number, digit| {
            number
                .wrapping_mul(u64::from(radix))
                .wrapping_add(u64::from(digit))
        })
}
