//! Protobuf's wire format: numbered fields, one after the other.
//!
//! Flows in: bytes. Flows out: field numbers and raw values, borrowed. Never knows what a field means.

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The bytes end within a field.
    #[error("unexpected end of the message")]
    Truncated,
    /// A number has more than 64 bits.
    #[error("integer overflow")]
    Overflow,
    /// A field has number 0, or one that is too large.
    #[error("illegal field number")]
    Number,
    /// A field is written in a way that its type is not, or that nobody uses any more.
    #[error("wrong wire type")]
    WireType,
    /// Text is not UTF-8.
    #[error("invalid UTF-8 in a string")]
    Utf8,
    /// A time is out of range.
    #[error("a time is out of range")]
    Time,
    /// Embedded JSON is not JSON.
    #[error("invalid JSON in a raw field")]
    Json,
    /// Messages are in one another too deeply.
    #[error("messages are nested too deeply")]
    Depth,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raw<'a> {
    /// An integer, a boolean.
    Varint(u64),
    /// Text, bytes, a message.
    Bytes(&'a [u8]),
    /// 32 or 64 bits; no type that Kubernetes uses is written so.
    Fixed,
}

impl<'a> Raw<'a> {
    /// The integer, with its sign.
    pub fn int(self) -> Result<i64, Malformed> {
        match self {
            Self::Varint(number) => Ok(number.cast_signed()),
            _ => Err(Malformed::WireType),
        }
    }

    /// The bytes.
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed::WireType),
        }
    }

    /// The text.
    pub fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Utf8)
    }
}

/// Reads the fields of a message. Ends after the first error.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a message, or integers that are packed one after the other.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next integer; `None` at the end.
    pub fn packed(&mut self) -> Option<Result<Raw<'a>, Malformed>> {
        (!self.rest.is_empty()).then(|| self.varint().map(Raw::Varint))
    }

    fn field(&mut self) -> Result<(u32, Raw<'a>), Malformed> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Malformed::Number)?;
        if number == 0 || number >= 1 << 29 {
            return Err(Malformed::Number);
        }
        let raw = match key & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => self.take(8).map(|_| Raw::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Truncated)?;
                Raw::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Raw::Fixed)?,
            _ => return Err(Malformed::WireType),
        };
        Ok((number, raw))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.take(1)?[0]);
            if shift == 63 && byte > 1 {
                return Err(Malformed::Overflow);
            }
            number |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed::Overflow)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Raw<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Raw<'_>)>, Malformed> {
        Reader::new(bytes).collect()
    }

    #[test]
    fn every_way_to_write_a_field() {
        let minus_one = [&[0x08][..], &[0xff; 9], &[0x01]].concat();
        assert_eq!(fields(&minus_one), Ok(vec![(1, Raw::Varint(u64::MAX))]));
        assert_eq!(Raw::Varint(u64::MAX).int(), Ok(-1));
        assert_eq!(fields(b"\x92\x01\x02hi"), Ok(vec![(18, Raw::Bytes(b"hi"))]));
        assert_eq!(
            fields(b"\x0d1234\x1112345678"),
            Ok(vec![(1, Raw::Fixed), (2, Raw::Fixed)])
        );
        let mut packed = Reader::new(b"\x01\xac\x02");
        assert_eq!(packed.packed(), Some(Ok(Raw::Varint(1))));
        assert_eq!(packed.packed(), Some(Ok(Raw::Varint(300))));
        assert_eq!(packed.packed(), None);
    }

    #[test]
    fn what_is_not_a_message() {
        assert_eq!(fields(b"\x0a\x05hi"), Err(Malformed::Truncated));
        assert_eq!(fields(b"\x08\x80"), Err(Malformed::Truncated));
        assert_eq!(
            fields(&[&[0x08][..], &[0xff; 10]].concat()),
            Err(Malformed::Overflow)
        );
        assert_eq!(fields(b"\x02\x00"), Err(Malformed::Number));
        assert_eq!(fields(b"\x0b\x0c"), Err(Malformed::WireType));
    }
}
