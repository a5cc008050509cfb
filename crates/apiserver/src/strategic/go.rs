//! Values as Go prints them: upstream's errors have maps in them.
//!
//! Flows in: JSON. Flows out: `map[spec:map[replicas:3]]`.

use std::fmt;

use serde_json::{Map, Value};

/// A value as Go's `%v` prints it.
pub(crate) struct Printed<'a>(pub &'a Value);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("<nil>"),
            Value::Bool(value) => value.fmt(f),
            Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => float.fmt(f),
                _ => number.fmt(f),
            },
            Value::String(text) => f.write_str(text),
            Value::Array(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    let space = if at > 0 { " " } else { "" };
                    write!(f, "{space}{}", Self(item))?;
                }
                f.write_str("]")
            }
            Value::Object(fields) => print_map(fields, f),
        }
    }
}

/// A map's keys are sorted, as they are in ours.
fn print_map(fields: &Map<String, Value>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("map[")?;
    for (at, (key, value)) in fields.iter().enumerate() {
        let space = if at > 0 { " " } else { "" };
        write!(f, "{space}{key}:{}", Printed(value))?;
    }
    f.write_str("]")
}

/// What Go calls the kind of a value that was read from JSON.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

/// What Go calls the type of such a value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        scalar => kind(scalar),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_and_lists_nest() {
        let value = json!({"b": [1, 2.5, 3.0, "x y"], "a": {"c": null, "d": true}, "e": {}});
        let printed = "map[a:map[c:<nil> d:true] b:[1 2.5 3 x y] e:map[]]";
        assert_eq!(Printed(&value).to_string(), printed);
    }
}
