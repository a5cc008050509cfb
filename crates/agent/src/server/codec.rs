//! How a message of a WebSocket says which channel it is of.
//!
//! Flows in: a piece of data headed by its channel's number. Flows out: a message, and the other way round. Upstream's
//! `wsstream` has these two ways.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::Message;

/// How data is put into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Raw,
    /// As text, for clients that have no bytes: the number as a digit, the rest in base64.
    Base64,
}

impl Codec {
    /// That of a protocol.
    pub fn of(protocol: Option<&str>) -> Self {
        match protocol {
            Some(name) if name.ends_with("base64.channel.k8s.io") => Self::Base64,
            _ => Self::Raw,
        }
    }

    /// Makes a message of a piece, which has at least its channel's number.
    pub fn message(self, piece: Bytes) -> Message {
        match (self, piece.split_first()) {
            (Self::Base64, Some((channel, data))) => {
                let digit = char::from(b'0'.wrapping_add(*channel));
                Message::text(format!("{digit}{}", STANDARD.encode(data)))
            }
            _ => Message::Binary(piece),
        }
    }

    /// Reads a piece from a message; `None` if there is none in it.
    pub fn piece(self, message: Message) -> Option<Bytes> {
        let data = match message {
            Message::Binary(data) => data,
            // The Python client sends text even of bytes.
            Message::Text(text) => text.into(),
            _ => return None,
        };
        let (digit, encoded) = data.split_first()?;
        match self {
            Self::Raw => Some(data),
            Self::Base64 => {
                let mut piece = vec![digit.checked_sub(b'0')?];
                STANDARD.decode_vec(encoded, &mut piece).ok()?;
                Some(piece.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_messages_and_messages_pieces() {
        let piece = Bytes::from_static(b"\x01hi");
        for (protocol, message) in [
            (None, Message::binary(piece.clone())),
            (Some("v4.channel.k8s.io"), Message::binary(piece.clone())),
            (Some("base64.channel.k8s.io"), Message::text("1aGk=")),
            (Some("v4.base64.channel.k8s.io"), Message::text("1aGk=")),
        ] {
            let codec = Codec::of(protocol);
            assert_eq!(codec.message(piece.clone()), message, "{protocol:?}");
            assert_eq!(codec.piece(message), Some(piece.clone()), "{protocol:?}");
        }
        assert_eq!(Codec::Raw.piece(Message::text("\x00ls")), Some("\0ls".into()));
        for nothing in ["", "0?", "/aGk="] {
            assert_eq!(Codec::Base64.piece(Message::text(nothing)), None);
        }
    }
}
