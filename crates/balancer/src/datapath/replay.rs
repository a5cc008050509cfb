//! A request that may be sent again.
//!
//! Flows in: the bytes of the request under way, as they go to the backend. Flows out: the same bytes, all of them, for
//! another backend. Never for a request that may have been executed and must not be executed twice: a connection that
//! broke does not prove that it was not (RFC 9110, 9.2.2).

use serde::{Deserialize, Serialize};

/// How often a request is sent again after a backend broke the connection without a byte of an answer.
const REPLAYS: u8 = 2;
/// Longest request that is kept for that, in bytes.
const MAX_REPLAY: usize = 16 * 1024;

/// What is needed to send the request under way again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Replay {
    /// All that was sent of it.
    bytes: Vec<u8>,
    /// How often it may still be sent again.
    left: u8,
}

impl Replay {
    /// A request of which nothing has been sent yet.
    pub fn new(idempotent: bool) -> Self {
        Self {
            bytes: Vec::new(),
            left: if idempotent { REPLAYS } else { 0 },
        }
    }

    /// More of the request is sent. One that gets too long is not kept.
    pub fn keep(&mut self, bytes: &[u8]) {
        if self.left == 0 {
            return;
        }
        if self.bytes.len() + bytes.len() > MAX_REPLAY {
            *self = Self::default();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The bytes to be sent again, if that may be done once more.
    pub fn again(&mut self) -> Option<&[u8]> {
        self.left = self.left.checked_sub(1)?;
        Some(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_sent_again_twice() {
        let mut replay = Replay::new(true);
        replay.keep(b"head");
        replay.keep(b"body");
        assert_eq!(replay.again(), Some(&b"headbody"[..]));
        replay.keep(b"more");
        assert_eq!(replay.again(), Some(&b"headbodymore"[..]));
        assert_eq!(replay.again(), None);
    }

    #[test]
    fn long_and_dangerous_requests_are_never_sent_again() {
        let mut replay = Replay::new(false);
        replay.keep(b"head");
        assert_eq!(replay.again(), None);
        let mut replay = Replay::new(true);
        replay.keep(&[0; MAX_REPLAY]);
        replay.keep(&[0; 1]);
        assert_eq!(replay.again(), None);
    }
}
