//! Request bodies as JSON values.
//!
//! Flows in: bytes and a content type. Flows out: a value, and the keys that were given twice. Depth is bounded by the
//! parsers' recursion limits, size by the caller. Never knows a kind: protobuf's table of messages does.

use std::fmt;

use http::{HeaderMap, header};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::negotiate::Media;
use crate::protobuf;
use crate::status::Failure;

/// A body, parsed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parsed {
    /// The value; of a key given twice the last one counts.
    pub value: Value,
    /// Paths of keys that were given more than once, `spec.replicas`.
    pub duplicates: Vec<String>,
}

/// The body's media type; JSON where the client does not say.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match Media::parse(value).name {
        name if name.is_empty() => "application/json".to_owned(),
        name => name,
    }
}

/// Parses a body that is an object: JSON, YAML or protobuf.
pub(crate) fn body(headers: &HeaderMap, bytes: &[u8]) -> Result<Parsed, Failure> {
    match media_type(headers).as_str() {
        "application/json" => json(bytes),
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(bytes),
        protobuf::MEDIA_TYPE => match protobuf::decode(bytes) {
            Ok(value) => Ok(Parsed {
                value,
                duplicates: Vec::new(),
            }),
            Err(error) => Err(Failure::BadRequest(error.to_string())),
        },
        _ => Err(Failure::UnsupportedMediaType(format!(
            "application/json, application/yaml, {}",
            protobuf::MEDIA_TYPE
        ))),
    }
}

/// Parses JSON.
pub(crate) fn json(bytes: &[u8]) -> Result<Parsed, Failure> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Checked {
        path: &Place::Root,
        duplicates: &mut duplicates,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value))
    .map_err(|error| Failure::BadRequest(format!("error parsing JSON: {error}")))?;
    Ok(Parsed { value, duplicates })
}

/// Parses YAML. A key given twice is an error here, for it is nearly always a mistake of a person.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Parsed, Failure> {
    let mut duplicates = Vec::new();
    let deserializer = serde_yaml::Deserializer::from_slice(bytes);
    let value = Checked {
        path: &Place::Root,
        duplicates: &mut duplicates,
    }
    .deserialize(deserializer)
    .map_err(|error| Failure::BadRequest(format!("error parsing YAML: {error}")))?;
    match duplicates.first() {
        None => Ok(Parsed { value, duplicates }),
        Some(path) => Err(Failure::BadRequest(format!(
            "error parsing YAML: key {path:?} already set in map"
        ))),
    }
}

/// Where in the document the parser is: a list from leaf to root on the stack.
enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Place::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Builds a [`Value`] and notes duplicate keys, which `Value`'s own deserialisation drops silently.
struct Checked<'a> {
    path: &'a Place<'a>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = Place::Index(self.path, list.len());
            match items.next_element_seed(Checked {
                path: &path,
                duplicates: self.duplicates,
            })? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(Key(key)) = members.next_key()? {
            let path = Place::Key(self.path, &key);
            let value = members.next_value_seed(Checked {
                path: &path,
                duplicates: self.duplicates,
            })?;
            if map.contains_key(&key) {
                self.duplicates.push(path.to_string());
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A key. YAML has keys that are numbers or booleans; in JSON they are strings.
struct Key(String);

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyKey;
        impl Visitor<'_> for AnyKey {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(Key(key.to_owned()))
            }

            fn visit_string<E>(self, key: String) -> Result<Key, E> {
                Ok(Key(key))
            }

            fn visit_bool<E>(self, key: bool) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }

            fn visit_i64<E>(self, key: i64) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }

            fn visit_u64<E>(self, key: u64) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
        }
        deserializer.deserialize_any(AnyKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_noted_with_their_path() {
        let parsed = json(br#"{"spec":{"a":1,"list":[{"b":1,"b":2}],"a":3}}"#).unwrap();
        assert_eq!(parsed.value, serde_json::json!({"spec":{"a":3,"list":[{"b":2}]}}));
        assert_eq!(parsed.duplicates, ["spec.list[0].b", "spec.a"]);
    }

    #[test]
    fn yaml_errors_say_where() {
        let error = yaml(b"kind: Pod\nspec:\n  - a\n b: 1\n").unwrap_err().to_string();
        assert!(error.contains("line 4"), "{error}");
        let error = yaml(b"a: 1\na: 2\n").unwrap_err().to_string();
        assert!(error.contains("\"a\" already set"), "{error}");
        let parsed = yaml(b"data:\n  80: x\n  t: 1.5\n  n: ~\n").unwrap();
        assert_eq!(
            parsed.value,
            serde_json::json!({"data":{"80":"x","t":1.5,"n":null}})
        );
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(json(deep.as_bytes()).is_err());
        assert!(yaml(deep.as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = json(&bytes);
            let _ = yaml(&bytes);
        }
    }
}
