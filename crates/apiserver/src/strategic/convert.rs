//! What upstream says of a wrong type in an object that a strategic merge made. That object never was text, so it is not
//! the decoder who finds it, but the converter from maps to structs, which has words of its own and tells no field.
//!
//! Flows in: the patched object and the decoder's error. Flows out: the converter's.

use api::kind::DecodeError;
use api::types::{self, Shape};
use serde_json::Value;

use super::go;

/// The converter's words for what the decoder found wrong in an object of the type called `root`.
pub(crate) fn in_words_of_converter(root: &str, object: &Value, error: &DecodeError) -> String {
    let root = Shape::Object(root.to_owned());
    let (Some((shape, value)), Some((_, wanted))) =
        (misfit(&root, object), error.message.rsplit_once(" of type "))
    else {
        // Types that decode themselves do so here, too.
        return error.message.clone();
    };
    let kind = go::kind(value);
    match (shape, kind) {
        (Shape::List(_) | Shape::Bytes, kind) => format!("cannot restore slice from {kind}"),
        (Shape::Map(_), kind) => format!("cannot restore map from {kind}"),
        (Shape::Object(_), kind) => format!("cannot restore struct from: {kind}"),
        (Shape::String, "int64") | (Shape::Int32 | Shape::Int64, "float64") => {
            format!("cannot convert {kind} to {wanted}")
        }
        (Shape::String, _) => "unrecognized type: string".to_owned(),
        _ => format!("unrecognized type: {wanted}"),
    }
}

/// The first value that is not of its shape, where the converter looks at shapes.
fn misfit<'a>(shape: &'a Shape, value: &'a Value) -> Option<(&'a Shape, &'a Value)> {
    match (shape, value) {
        (Shape::Any | Shape::Time | Shape::Quantity | Shape::IntOrString, _) | (_, Value::Null) => None,
        (Shape::Object(_) | Shape::Map(_), Value::Object(fields)) => fields
            .iter()
            .find_map(|(name, value)| misfit(types::step(shape, name)?, value)),
        (Shape::List(item), Value::Array(items)) => items.iter().find_map(|value| misfit(item, value)),
        (Shape::String | Shape::Bytes, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => None,
        (Shape::Double, Value::Number(_)) => None,
        (Shape::Int32 | Shape::Int64, Value::Number(number)) if !number.is_f64() => None,
        _ => Some((shape, value)),
    }
}
