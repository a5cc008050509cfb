//! Bytes that a socket would not take yet.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// Bytes held back for a socket; no memory while there are none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Held(Option<Box<Bytes>>);

#[derive(Clone, Debug)]
struct Bytes {
    bytes: Vec<u8>,
    /// How many of them are gone.
    at: usize,
}

impl Held {
    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What is held back.
    pub fn pending(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |held| &held.bytes[held.at..])
    }

    /// Adds to the end.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.0 {
            Some(held) => held.bytes.extend_from_slice(bytes),
            None => {
                self.0 = Some(Box::new(Bytes {
                    bytes: bytes.to_vec(),
                    at: 0,
                }));
            }
        }
    }

    /// Forgets so many bytes from the front.
    pub fn consume(&mut self, count: usize) {
        if let Some(held) = &mut self.0 {
            held.at += count;
            if held.at >= held.bytes.len() {
                self.0 = None;
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

/// In text it is base64.
impl From<Held> for String {
    fn from(held: Held) -> Self {
        BASE64_STANDARD.encode(held.pending())
    }
}

impl TryFrom<String> for Held {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut held = Self::default();
        held.push(&BASE64_STANDARD.decode(text)?);
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_memory_goes() {
        let mut held = Held::default();
        held.push(b"");
        assert!(held.is_empty());
        held.push(b"abc");
        held.push(b"de");
        held.consume(2);
        assert_eq!(held.pending(), b"cde");
        held.consume(3);
        assert!(held.is_empty());
        assert_eq!(held.pending(), b"");
    }

    #[test]
    fn bytes_that_are_left_survive_as_text() {
        let mut held = Held::default();
        held.push(&[0, 1, 2, 255]);
        held.consume(1);
        let text = serde_json::to_string(&held).unwrap();
        let again: Held = serde_json::from_str(&text).unwrap();
        assert_eq!(again.pending(), [1, 2, 255]);
        let none: Held = serde_json::from_str("\"\"").unwrap();
        assert!(none.is_empty());
    }
}
