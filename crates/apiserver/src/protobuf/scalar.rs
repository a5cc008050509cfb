//! Single values, and the messages that JSON writes as one value.
//!
//! Flows in: a raw value and its type. Flows out: the JSON value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::table::Type;
use super::wire::{Malformed, Raw, Reader};

/// A value of a type that is no message, or one that JSON writes as one value.
pub(super) fn read(kind: Type, raw: Raw<'_>) -> Result<Value, Malformed> {
    Ok(match kind {
        Type::Int => raw.int()?.into(),
        Type::Bool => (raw.int()? != 0).into(),
        Type::String => raw.text()?.into(),
        Type::Bytes => STANDARD.encode(raw.bytes()?).into(),
        Type::Time => time(raw.bytes()?, "%Y-%m-%dT%H:%M:%SZ")?,
        Type::MicroTime => time(raw.bytes()?, "%Y-%m-%dT%H:%M:%S.%6fZ")?,
        Type::Quantity => match only(raw.bytes()?)? {
            None => "0".into(),
            Some(text) => text.text()?.into(),
        },
        Type::IntOrString => int_or_string(raw.bytes()?)?,
        Type::Json => match only(raw.bytes()?)? {
            None => Value::Null,
            Some(json) => serde_json::from_slice(json.bytes()?).map_err(|_| Malformed::Json)?,
        },
        Type::Message(_) => return Err(Malformed::WireType),
    })
}

/// Whether Go takes the value for one that nobody set.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Field 1 of a message that has no other.
fn only(bytes: &[u8]) -> Result<Option<Raw<'_>>, Malformed> {
    let mut found = None;
    for field in Reader::new(bytes) {
        if let (1, raw) = field? {
            found = Some(raw);
        }
    }
    Ok(found)
}

/// Seconds and nanoseconds since 1970. An empty message is Go's zero time, which JSON writes as null.
fn time(bytes: &[u8], format: &str) -> Result<Value, Malformed> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (0, 0);
    for field in Reader::new(bytes) {
        match field? {
            (1, raw) => seconds = raw.int()?,
            (2, raw) => nanoseconds = raw.int()?,
            _ => {}
        }
    }
    let nanoseconds = i32::try_from(nanoseconds).map_err(|_| Malformed::Time)?;
    let time = jiff::Timestamp::new(seconds, nanoseconds).map_err(|_| Malformed::Time)?;
    Ok(time.strftime(format).to_string().into())
}

/// Which of the two it is, the integer, the text.
fn int_or_string(bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut is_text, mut int, mut text) = (false, 0, "");
    for field in Reader::new(bytes) {
        match field? {
            (1, raw) => is_text = raw.int()? != 0,
            (2, raw) => int = raw.int()?,
            (3, raw) => text = raw.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { int.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(kind: Type, bytes: &[u8]) -> Result<Value, Malformed> {
        read(kind, Raw::Bytes(bytes))
    }

    #[test]
    fn times() {
        assert_eq!(value(Type::Time, b""), Ok(Value::Null));
        assert_eq!(
            value(Type::Time, b"\x08\xa0\xaa\x8d\xc9\x06"),
            Ok(json!("2025-11-23T18:40:32Z"))
        );
        assert_eq!(
            value(Type::MicroTime, b"\x08\x01\x10\xc0\x84\x3d"),
            Ok(json!("1970-01-01T00:00:01.001000Z"))
        );
        let far = [&[0x08][..], &[0xff; 8], &[0x7f]].concat();
        assert_eq!(value(Type::Time, &far), Err(Malformed::Time));
    }

    #[test]
    fn messages_of_one_value() {
        assert_eq!(value(Type::Quantity, b"\x0a\x04500m"), Ok(json!("500m")));
        assert_eq!(value(Type::Quantity, b""), Ok(json!("0")));
        assert_eq!(
            value(Type::IntOrString, b"\x08\x00\x10\x50\x1a\x00"),
            Ok(json!(80))
        );
        assert_eq!(
            value(Type::IntOrString, b"\x08\x01\x10\x00\x1a\x0325%"),
            Ok(json!("25%"))
        );
        assert_eq!(value(Type::Json, b"\x0a\x07{\"a\":1}"), Ok(json!({ "a": 1 })));
        assert_eq!(value(Type::Json, b"\x0a\x01{"), Err(Malformed::Json));
        assert_eq!(value(Type::Bytes, b"hi"), Ok(json!("aGk=")));
    }

    #[test]
    fn numbers() {
        assert_eq!(read(Type::Int, Raw::Varint(u64::MAX)), Ok(json!(-1)));
        assert_eq!(read(Type::Bool, Raw::Varint(1)), Ok(json!(true)));
        assert_eq!(read(Type::Int, Raw::Fixed), Err(Malformed::WireType));
    }
}
