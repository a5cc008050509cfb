//! Messages as JSON objects.
//!
//! Flows in: a message's bytes and its fields. Flows out: members of a JSON object, zeros left out where Go's JSON leaves
//! them out. A field that comes twice is merged, as protobuf demands.

use serde_json::{Map, Value};

use super::scalar;
use super::table::{Field, Message, Shape, Type};
use super::wire::{Malformed, Raw, Reader};

/// How deeply messages may be in one another. No kind needs half of it.
const MAX_DEPTH: usize = 32;

/// Adds what a message says to an object.
pub(super) fn read(
    message: Message<'_>,
    bytes: &[u8],
    object: &mut Map<String, Value>,
) -> Result<(), Malformed> {
    Depth(MAX_DEPTH).message(message, bytes, object)
}

/// How many more messages may be inside.
#[derive(Clone, Copy)]
struct Depth(usize);

impl Depth {
    fn message(
        self,
        message: Message<'_>,
        bytes: &[u8],
        object: &mut Map<String, Value>,
    ) -> Result<(), Malformed> {
        let inside = Self(self.0.checked_sub(1).ok_or(Malformed::Depth)?);
        for part in Reader::new(bytes) {
            let (number, raw) = part?;
            if let Some(field) = message.field(number) {
                inside.field(message, field, raw, object)?;
            }
        }
        Ok(())
    }

    fn field(
        self,
        message: Message<'_>,
        field: &Field,
        raw: Raw<'_>,
        object: &mut Map<String, Value>,
    ) -> Result<(), Malformed> {
        let name = field.name.as_str();
        match field.shape {
            Shape::Inline => self.inline(message, field.kind, raw, object),
            Shape::One { kept } => {
                let before = object.remove(name);
                let value = self.value(message, field.kind, raw, before)?;
                if kept || !scalar::is_zero(&value) || !may_be_left_out(field.kind) {
                    object.insert(name.to_owned(), value);
                }
                Ok(())
            }
            Shape::List => {
                let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                let list = list.as_array_mut().ok_or(Malformed::WireType)?;
                self.items(message, field.kind, raw, list)
            }
            Shape::Map => {
                let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
                let (key, value) = self.entry(message, field.kind, raw.bytes()?)?;
                let map = map.as_object_mut().ok_or(Malformed::WireType)?;
                map.insert(key, value);
                Ok(())
            }
        }
    }

    fn inline(
        self,
        message: Message<'_>,
        kind: Type,
        raw: Raw<'_>,
        object: &mut Map<String, Value>,
    ) -> Result<(), Malformed> {
        match kind {
            Type::Message(place) => self.message(other(message, place)?, raw.bytes()?, object),
            _ => Err(Malformed::WireType),
        }
    }

    /// One value; of a message that was there `before`, the two together.
    fn value(
        self,
        message: Message<'_>,
        kind: Type,
        raw: Raw<'_>,
        before: Option<Value>,
    ) -> Result<Value, Malformed> {
        let Type::Message(place) = kind else {
            return scalar::read(kind, raw);
        };
        let mut object = match before {
            Some(Value::Object(object)) => object,
            _ => Map::new(),
        };
        self.message(other(message, place)?, raw.bytes()?, &mut object)?;
        Ok(Value::Object(object))
    }

    /// One item, or integers packed into one field.
    fn items(
        self,
        message: Message<'_>,
        kind: Type,
        raw: Raw<'_>,
        list: &mut Vec<Value>,
    ) -> Result<(), Malformed> {
        let (Type::Int, Raw::Bytes(bytes)) = (kind, raw) else {
            list.push(self.value(message, kind, raw, None)?);
            return Ok(());
        };
        let mut packed = Reader::new(bytes);
        while let Some(item) = packed.packed() {
            list.push(scalar::read(kind, item?)?);
        }
        Ok(())
    }

    /// A key and its value, both empty if they are left out.
    fn entry(self, message: Message<'_>, kind: Type, bytes: &[u8]) -> Result<(String, Value), Malformed> {
        let (mut key, mut value) = ("", Raw::Bytes(b""));
        for part in Reader::new(bytes) {
            match part? {
                (1, raw) => key = raw.text()?,
                (2, raw) => value = raw,
                _ => {}
            }
        }
        Ok((key.to_owned(), self.value(message, kind, value, None)?))
    }
}

fn other(message: Message<'_>, place: usize) -> Result<Message<'_>, Malformed> {
    message.other(place).ok_or(Malformed::WireType)
}

/// Go's JSON leaves out zeros of these; the others it writes whenever they are there.
fn may_be_left_out(kind: Type) -> bool {
    matches!(kind, Type::Int | Type::Bool | Type::String | Type::Bytes)
}
