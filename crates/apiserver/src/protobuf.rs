//! Request bodies in protobuf, which kubectl since 1.32 sends whenever it makes an object that it has a type for.
//!
//! Flows in: the bytes of such a body. Flows out: the value that the same object's JSON gives, so that nothing after
//! decoding knows of protobuf. Fields that the table of messages does not have are skipped, as upstream does. Never
//! encodes: every client that sends protobuf takes JSON.
//!
//! Upstream's frame is four magic bytes and a `runtime.Unknown`: a message that names the kind and holds the object.

mod message;
mod scalar;
mod table;
mod wire;

use serde_json::{Map, Value};

use self::table::Table;
use self::wire::{Malformed, Reader};

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// Why a body was refused: it holds no object that is served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The bytes do not begin as Kubernetes' protobuf does.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// The frame is broken.
    #[error("error parsing protobuf: {0}")]
    Frame(#[source] Malformed),
    /// The frame names no kind.
    #[error("Object 'Kind' is missing in the protobuf message")]
    NoKind,
    /// The object is compressed or the like.
    #[error("content encoding {0:?} of a protobuf message is not supported")]
    Encoding(String),
    /// A kind that is not served.
    #[error("no kind {kind:?} is registered for version {version:?}")]
    UnknownKind {
        /// `DaemonSet`
        kind: String,
        /// `apps/v1`
        version: String,
    },
    /// The object is broken.
    #[error("error parsing protobuf of a {kind}: {source}")]
    Object {
        /// `Deployment`
        kind: String,
        /// What is wrong with the bytes.
        source: Malformed,
    },
}

/// The object in a body.
pub(crate) fn decode(body: &[u8]) -> Result<Value, Refused> {
    let framed = body.strip_prefix(MAGIC).ok_or(Refused::Magic)?;
    let frame = Frame::read(framed).map_err(Refused::Frame)?;
    if !frame.encoding.is_empty() {
        return Err(Refused::Encoding(frame.encoding));
    }
    if frame.kind.is_empty() {
        return Err(Refused::NoKind);
    }
    let Some(message) = Table::upstream().kind(&frame.version, &frame.kind) else {
        return Err(Refused::UnknownKind {
            kind: frame.kind,
            version: frame.version,
        });
    };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), frame.version.into());
    object.insert("kind".to_owned(), frame.kind.as_str().into());
    let kind = frame.kind;
    message::read(message, frame.object, &mut object).map_err(|source| Refused::Object { kind, source })?;
    Ok(Value::Object(object))
}

/// What is around an object.
#[derive(Default)]
struct Frame<'a> {
    version: String,
    kind: String,
    object: &'a [u8],
    encoding: String,
}

impl<'a> Frame<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut frame = Self::default();
        for field in Reader::new(bytes) {
            match field? {
                (1, kind) => frame.read_kind(kind.bytes()?)?,
                (2, object) => frame.object = object.bytes()?,
                (3, encoding) => frame.encoding = encoding.text()?.to_owned(),
                _ => {}
            }
        }
        Ok(frame)
    }

    fn read_kind(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        for field in Reader::new(bytes) {
            match field? {
                (1, version) => self.version = version.text()?.to_owned(),
                (2, kind) => self.kind = kind.text()?.to_owned(),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
