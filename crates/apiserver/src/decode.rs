//! Request bodies as JSON values.
//!
//! Flows in: bytes and a content type. Flows out: a value, and where keys were given twice. Depth is bounded by the
//! parsers' recursion limits, size by the caller. Never knows a kind: protobuf's table of messages does.

use std::fmt;

use http::{HeaderMap, header};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::negotiate::Media;
use crate::protobuf;
use crate::status::Failure;

/// How many keys that were given twice a YAML document is searched for.
const MAX_LINES: usize = 16;

/// A body, parsed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Parsed {
    /// The value; of a key given twice the last one counts.
    pub value: Value,
    /// Of JSON: paths of keys that were given more than once, `spec.replicas`.
    pub duplicates: Vec<String>,
    /// Of YAML: where keys were given again, `line 6: key "replicas" already set in map`.
    pub lines: Vec<String>,
}

impl From<Value> for Parsed {
    fn from(value: Value) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }
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

/// Parses a body that is an object of a kind: JSON, YAML or protobuf.
pub(crate) fn body(headers: &HeaderMap, bytes: &[u8], kind: &str) -> Result<Parsed, Failure> {
    match media_type(headers).as_str() {
        "application/json" => json(bytes).map_err(|why| {
            let start = String::from_utf8_lossy(bytes.get(..30).unwrap_or(bytes));
            let shown = match bytes.len() {
                0 => "<empty>",
                1..=30 => &start,
                _ => &format!("{start} ..."),
            };
            Failure::BadRequest(format!(
                "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({shown})"
            ))
        }),
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(bytes),
        protobuf::MEDIA_TYPE => match protobuf::decode(bytes) {
            Ok(value) => Ok(value.into()),
            Err(error) => Err(Failure::BadRequest(error.to_string())),
        },
        _ => Err(Failure::UnsupportedMediaType(format!(
            "application/json, application/yaml, {}",
            protobuf::MEDIA_TYPE
        ))),
    }
}

/// Parses JSON. What is none is refused in the words of Go's decoder.
pub(crate) fn json(bytes: &[u8]) -> Result<Parsed, String> {
    let mut found = Found::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = found
        .read(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| api::decode::syntax::in_words_of_go(&error, bytes))?;
    let duplicates = found.twice.into_iter().map(|(path, _)| path).collect();
    Ok(Parsed {
        duplicates,
        ..value.into()
    })
}

/// Parses YAML.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Parsed, Failure> {
    let mut found = Found::default();
    let value = found
        .read(serde_yaml::Deserializer::from_slice(bytes))
        .map_err(|error| Failure::BadRequest(format!("error parsing YAML: {error}")))?;
    let keys = found.twice.into_iter().take(MAX_LINES).enumerate();
    let lines = keys.map(|(before, (_, key))| {
        let line = line_of_second(bytes, before).unwrap_or_default();
        format!("line {line}: key {key:?} already set in map")
    });
    Ok(Parsed {
        lines: lines.collect(),
        ..value.into()
    })
}

/// The line of a key that was given before, after so many others that were. Only errors know their line, so this one is
/// made an error.
fn line_of_second(yaml: &[u8], before: usize) -> Option<usize> {
    let mut found = Found {
        most: Some(before),
        ..Found::default()
    };
    let error = found.read(serde_yaml::Deserializer::from_slice(yaml)).err()?;
    Some(error.location()?.line())
}

/// The keys that were given more than once.
#[derive(Default)]
struct Found {
    /// Their paths and themselves, in the order of the document.
    twice: Vec<(String, String)>,
    /// How many there may be before it is an error.
    most: Option<usize>,
}

impl Found {
    fn read<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<Value, D::Error> {
        let root = Checked {
            path: &Place::Root,
            found: self,
        };
        root.deserialize(deserializer)
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
    found: &'a mut Found,
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
                found: self.found,
            })? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key_seed(Key {
            siblings: &map,
            path: self.path,
            found: self.found,
        })? {
            let path = Place::Key(self.path, &key);
            let value = members.next_value_seed(Checked {
                path: &path,
                found: self.found,
            })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Reads a key, and notes whether it is one of those before it. YAML has keys that are numbers or booleans; in JSON they
/// are strings.
struct Key<'a> {
    siblings: &'a Map<String, Value>,
    path: &'a Place<'a>,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        self.visit_string(key.to_owned())
    }

    fn visit_string<E: de::Error>(self, key: String) -> Result<String, E> {
        if self.siblings.contains_key(&key) {
            if self.found.most == Some(self.found.twice.len()) {
                return Err(E::custom("already set in map"));
            }
            let path = Place::Key(self.path, &key).to_string();
            self.found.twice.push((path, key.clone()));
        }
        Ok(key)
    }

    fn visit_bool<E: de::Error>(self, key: bool) -> Result<String, E> {
        self.visit_string(key.to_string())
    }

    fn visit_i64<E: de::Error>(self, key: i64) -> Result<String, E> {
        self.visit_string(key.to_string())
    }

    fn visit_u64<E: de::Error>(self, key: u64) -> Result<String, E> {
        self.visit_string(key.to_string())
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
        let parsed = yaml(b"b: {b: 1}\na: 1\nc:\n- d: 1\n  \"d\": 2\na:\n  e: 1\n").unwrap();
        assert_eq!(
            parsed.lines,
            [
                "line 5: key \"d\" already set in map",
                "line 6: key \"a\" already set in map"
            ]
        );
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
