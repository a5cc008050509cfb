//! Whether a configuration that is to be applied is of its type.
//!
//! Flows in: a configuration as it was sent. Flows out: what is wrong with it, in the words of upstream's typed values,
//! for kubectl prints them. Only the form is checked here: validation comes with the merged object.

use std::collections::HashSet;

use serde_json::Value;

use super::element;
use crate::merge_keys::{self, ListType};
use crate::types::{self, Shape};

/// What is wrong with a configuration of the type called `root`; empty if nothing is.
#[must_use]
pub fn check(root: &str, config: &Value) -> Vec<String> {
    let mut check = Check {
        path: String::new(),
        errors: Vec::new(),
    };
    check.value(&Shape::Object(root.to_owned()), None, config);
    check.errors
}

struct Check {
    path: String,
    errors: Vec<String>,
}

impl Check {
    fn error(&mut self, what: &str) {
        self.errors.push(format!("{}: {what}", self.path));
    }

    fn below(&mut self, element: &str, shape: &Shape, list: Option<ListType>, value: &Value) {
        let length = self.path.len();
        self.path.push_str(&element::display(element));
        self.value(shape, list, value);
        self.path.truncate(length);
    }

    fn value(&mut self, shape: &Shape, list: Option<ListType>, value: &Value) {
        match (shape, value) {
            (_, Value::Null) | (Shape::Any, _) => {}
            (Shape::Object(name), Value::Object(map)) => {
                let Some(kind) = types::by_name(name) else { return };
                for (field, value) in map {
                    match kind.fields.get(field) {
                        Some(shape) => {
                            let list = merge_keys::list_type(name, field);
                            self.below(&element::field(field), shape, list, value);
                        }
                        None => self
                            .errors
                            .push(format!("{}.{field}: field not declared in schema", self.path)),
                    }
                }
            }
            (Shape::Map(item), Value::Object(map)) => {
                for (key, value) in map {
                    self.below(&element::field(key), item, None, value);
                }
            }
            (Shape::List(item), Value::Array(items)) => self.items(item, list, items),
            (shape, value) => self.scalar(shape, value),
        }
    }

    fn items(&mut self, shape: &Shape, list: Option<ListType>, items: &[Value]) {
        let mut seen = HashSet::new();
        for (at, item) in items.iter().enumerate() {
            let element = match list {
                None => format!("i:{at}"),
                Some(ListType::Set) => element::member(item),
                Some(ListType::Map(keys)) => {
                    if let Some(key) = keys.iter().find(|key| element::key_of(item, key).is_none()) {
                        self.error(&format!(
                            "element {at}: associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                        ));
                        continue;
                    }
                    element::keyed(item, keys)
                }
            };
            if !seen.insert(element.clone()) {
                self.error(&format!(
                    "duplicate entries for key {}",
                    element::display(&element)
                ));
                continue;
            }
            self.below(&element, shape, None, item);
        }
    }

    fn scalar(&mut self, shape: &Shape, value: &Value) {
        let shown = match value {
            Value::String(text) => text.clone(),
            Value::Array(_) => "[...]".to_owned(),
            Value::Object(_) => "map[...]".to_owned(),
            other => other.to_string(),
        };
        let unstructured = format!("&value.valueUnstructured{{Value:{value}}}");
        let is_map = value.is_object() || value.is_array();
        match shape {
            Shape::String | Shape::Bytes | Shape::Time if !value.is_string() => {
                self.error(&format!("expected string, got {unstructured}"));
            }
            Shape::Int32 | Shape::Int64 | Shape::Double if !value.is_number() => {
                self.error(&format!(
                    "expected numeric (int or float), got {}",
                    go_type(value)
                ));
            }
            Shape::Bool if !value.is_boolean() => self.error(&format!("expected boolean, got {shown}")),
            Shape::Quantity | Shape::IntOrString if is_map => {
                self.error(&format!("expected scalar, got {unstructured}"));
            }
            Shape::List(_) => self.error(&format!("expected list, got {unstructured}")),
            Shape::Map(_) | Shape::Object(_) => self.error(&format!("expected map, got {unstructured}")),
            _ => {}
        }
    }
}

/// What Go calls the type of a decoded JSON value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_is_wrong_and_where() {
        let config = json!({
            "metadata": {"name": "web", "finalizers": ["a", "a"]},
            "spec": {"foo": 1, "replicas": "3", "template": {"spec": {"containers": [
                {"name": "web", "env": [{"name": "A", "value": 1}], "ports": [{"containerPort": 80}, {"containerPort": 80}]},
                {"image": "nginx"},
            ]}}},
        });
        let at = ".spec.template.spec.containers";
        let expected = [
            ".metadata.finalizers: duplicate entries for key [=\"a\"]".to_owned(),
            ".spec.foo: field not declared in schema".to_owned(),
            ".spec.replicas: expected numeric (int or float), got string".to_owned(),
            format!(
                "{at}[name=\"web\"].env[name=\"A\"].value: expected string, got &value.valueUnstructured{{Value:1}}"
            ),
            format!(
                "{at}[name=\"web\"].ports: duplicate entries for key [containerPort=80,protocol=\"TCP\"]"
            ),
            format!(
                "{at}: element 1: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)"
            ),
        ];
        assert_eq!(check("io.k8s.api.apps.v1.Deployment", &config), expected);
    }
}
