//! Typed decoding: what Go's strict JSON decoder does with a body, with its words.
//!
//! Flows in: JSON as the client sent it. Flows out: an object that has only known fields of the right types, `null`s
//! dropped and quantities canonical; the paths of unknown fields; or the first field of a wrong type.

mod go_types;
pub mod syntax;

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kind::{DecodeError, Decoded};
use crate::quantity;
use crate::types::{self, Shape, ZERO_TIME};

/// Decodes `object` as the type called `root`.
///
/// # Errors
/// If a field has a wrong type.
pub fn decode(root: &str, object: Value) -> Result<Decoded, DecodeError> {
    let mut decoder = Decoder {
        unknown: Vec::new(),
        path: Vec::new(),
        owner: String::new(),
    };
    let shape = Shape::Object(root.to_owned());
    let object = decoder.value(&shape, object)?;
    Ok(Decoded {
        object,
        unknown: decoder.unknown,
    })
}

struct Decoder {
    unknown: Vec<String>,
    path: Vec<Segment>,
    /// The struct whose field is being read, `DeploymentSpec`.
    owner: String,
}

enum Segment {
    Field(String),
    Key(String),
    Index(usize),
}

impl Decoder {
    fn value(&mut self, shape: &Shape, value: Value) -> Result<Value, DecodeError> {
        match (shape, value) {
            (Shape::Any, value) => Ok(value),
            (Shape::Object(name), Value::Object(fields)) => self.fields(name, fields),
            (Shape::List(item), Value::Array(items)) => self.items(item, items),
            (Shape::Map(item), Value::Object(entries)) => self.entries(item, entries),
            (shape, value) => self.scalar(shape, value),
        }
    }

    fn fields(&mut self, name: &str, fields: Map<String, Value>) -> Result<Value, DecodeError> {
        let Some(kind) = types::by_name(name) else {
            return Ok(Value::Object(fields));
        };
        let outer = std::mem::replace(&mut self.owner, go_types::short(name).to_owned());
        let mut decoded = Map::new();
        for (field, value) in fields {
            self.path.push(Segment::Field(field.clone()));
            match kind.fields.get(&field) {
                None => self.unknown.push(self.pointer()),
                Some(_) if value.is_null() => {}
                Some(shape) => {
                    let value = self.value(shape, value)?;
                    decoded.insert(field, value);
                }
            }
            self.path.pop();
        }
        self.owner = outer;
        for time in &kind.times {
            decoded.entry(time.as_str()).or_insert_with(|| ZERO_TIME.into());
        }
        Ok(Value::Object(decoded))
    }

    fn items(&mut self, item: &Shape, items: Vec<Value>) -> Result<Value, DecodeError> {
        let mut decoded = Vec::with_capacity(items.len());
        for (index, value) in items.into_iter().enumerate() {
            self.path.push(Segment::Index(index));
            decoded.push(if value.is_null() {
                zero(item)
            } else {
                self.value(item, value)?
            });
            self.path.pop();
        }
        Ok(Value::Array(decoded))
    }

    fn entries(&mut self, item: &Shape, entries: Map<String, Value>) -> Result<Value, DecodeError> {
        let mut decoded = Map::new();
        for (key, value) in entries {
            self.path.push(Segment::Key(key.clone()));
            decoded.insert(
                key,
                if value.is_null() {
                    zero(item)
                } else {
                    self.value(item, value)?
                },
            );
            self.path.pop();
        }
        Ok(Value::Object(decoded))
    }

    fn scalar(&self, shape: &Shape, value: Value) -> Result<Value, DecodeError> {
        match (shape, &value) {
            (Shape::String, Value::String(_)) | (Shape::Bool, Value::Bool(_)) | (Shape::Double, Value::Number(_)) => {
                Ok(value)
            }
            (Shape::Int32 | Shape::IntOrString, Value::Number(n)) if as_int32(n).is_some() => Ok(value),
            (Shape::Int64, Value::Number(number)) if number.is_i64() => Ok(value),
            (Shape::IntOrString, Value::String(_)) => Ok(value),
            (Shape::Quantity, Value::String(text)) => self.quantity(text),
            (Shape::Quantity, other) => self.quantity(&other.to_string()),
            (Shape::Bytes, Value::String(_)) => match ByteString::deserialize(&value) {
                Ok(_) => Ok(value),
                Err(_) => Err(self.error("illegal base64 data at input byte 0".to_owned())),
            },
            (Shape::Time, Value::String(text)) => match text.parse::<jiff::Timestamp>() {
                Ok(_) => Ok(value),
                Err(_) => Err(self.error(format!(
                    "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
                ))),
            },
            _ => Err(self.mismatch(shape, &value)),
        }
    }

    fn quantity(&self, text: &str) -> Result<Value, DecodeError> {
        quantity::canonical(text)
            .map(Value::String)
            .map_err(|error| self.error(error.to_string()))
    }

    /// A value of the wrong type, in the words of Go's decoder.
    fn mismatch(&self, shape: &Shape, value: &Value) -> DecodeError {
        let found = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) if matches!(shape, Shape::Int32 | Shape::Int64 | Shape::IntOrString) => {
                format!("number {number}")
            }
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        // Types that decode themselves do not know where they are.
        let wanted = match shape {
            Shape::IntOrString => {
                return self.error(format!(
                    "json: cannot unmarshal {found} into Go value of type int32"
                ));
            }
            Shape::Time => {
                return self.error(format!(
                    "json: cannot unmarshal {found} into Go value of type string"
                ));
            }
            shape => self.go_type(shape),
        };
        let fields = self.path.iter().filter_map(|segment| match segment {
            Segment::Field(field) => Some(field.as_str()),
            Segment::Key(_) | Segment::Index(_) => None,
        });
        let fields = fields.collect::<Vec<_>>().join(".");
        self.error(if fields.is_empty() {
            format!("json: cannot unmarshal {found} into Go value of type {wanted}")
        } else {
            format!(
                "json: cannot unmarshal {found} into Go struct field {}.{fields} of type {wanted}",
                self.owner
            )
        })
    }

    fn error(&self, message: String) -> DecodeError {
        DecodeError {
            message,
            field: self.pointer(),
        }
    }

    /// Where the decoder is, `spec.template.spec.containers[0].foo`.
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for segment in &self.path {
            match segment {
                Segment::Field(name) | Segment::Key(name) => {
                    if !pointer.is_empty() {
                        pointer.push('.');
                    }
                    pointer.push_str(name);
                }
                Segment::Index(index) => pointer.push_str(&format!("[{index}]")),
            }
        }
        pointer
    }

    /// What Go calls the type of the value being read.
    fn go_type(&self, shape: &Shape) -> String {
        let field = self.path.iter().rev().find_map(|segment| match segment {
            Segment::Field(field) => Some(field.as_str()),
            Segment::Key(_) | Segment::Index(_) => None,
        });
        let in_field = matches!(self.path.last(), Some(Segment::Field(_)));
        if let Some(name) = field.and_then(|field| go_types::named(&self.owner, field, shape, in_field)) {
            return name.to_owned();
        }
        go_types::name(shape)
    }
}

fn as_int32(number: &serde_json::Number) -> Option<i32> {
    i32::try_from(number.as_i64()?).ok()
}

/// What Go makes of a `null` among the items of a list or map.
fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => Value::String(String::new()),
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => Value::from(0),
        Shape::Bool => Value::Bool(false),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::Any | Shape::Time => Value::Null,
        Shape::Object(_) | Shape::Map(_) => Value::Object(Map::new()),
        Shape::List(_) => Value::Array(Vec::new()),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
