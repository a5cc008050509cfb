//! OpenAPI v2 as protobuf: gnostic's `openapi.v2.Document`, the only form in which kubectl up to 1.28 takes it.
//!
//! Flows in: the document as JSON. Flows out: its bytes. Written are the fields that our documents have; the numbers are
//! those of gnostic's `OpenAPIv2.proto`.

use serde_json::{Map, Value};

/// Bytes of one message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.0
                .push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or_default());
    }

    fn bytes(mut self, field: usize, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len());
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: usize, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: usize, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    fn flag(mut self, field: usize, value: bool) -> Self {
        if value {
            self.varint(field << 3);
            self.varint(1);
        }
        self
    }

    /// A text of a JSON object, where it has it.
    fn text_of(self, field: usize, object: &Value, name: &str) -> Self {
        match object[name].as_str() {
            Some(text) => self.text(field, text),
            None => self,
        }
    }

    /// A message made of a member of a JSON object, where it has it.
    fn part(self, field: usize, object: &Value, name: &str, make: fn(&Value) -> Self) -> Self {
        match object.get(name) {
            Some(value) => self.message(field, &make(value)),
            None => self,
        }
    }

    /// A name (1) and a value (2), as gnostic writes the entries of maps.
    fn named(self, field: usize, name: &str, value: &Self) -> Self {
        self.message(field, &Self::default().text(1, name).message(2, value))
    }

    /// `x-...`: any value, as YAML, which JSON is.
    fn extensions(self, field: usize, object: &Value) -> Self {
        let own = members(object).filter(|(name, _)| name.starts_with("x-"));
        own.fold(self, |message, (name, value)| {
            message.named(field, name, &any(value))
        })
    }
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flat_map(Map::iter)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn any(value: &Value) -> Message {
    Message::default().text(2, &value.to_string())
}

/// The whole document.
pub(super) fn document(document: &Value) -> Vec<u8> {
    let info = &document["info"];
    let info = Message::default()
        .text_of(1, info, "title")
        .text_of(2, info, "version");
    let paths = members(&document["paths"]).fold(Message::default(), |paths, (name, item)| {
        paths.named(2, name, &path_item(item))
    });
    Message::default()
        .text_of(1, document, "swagger")
        .message(2, &info)
        .message(8, &paths)
        .message(9, &named_schemas(&document["definitions"]))
        .0
}

/// `Definitions` and `Properties`, which are alike.
fn named_schemas(schemas: &Value) -> Message {
    members(schemas).fold(Message::default(), |all, (name, value)| {
        all.named(1, name, &schema(value))
    })
}

fn schema(value: &Value) -> Message {
    let mut message = Message::default()
        .text_of(1, value, "$ref")
        .text_of(2, value, "format")
        .text_of(4, value, "description")
        .part(5, value, "default", any);
    for name in items(&value["required"]).filter_map(Value::as_str) {
        message = message.text(19, name);
    }
    for name in items(&value["enum"]) {
        message = message.message(20, &any(name));
    }
    let message = message
        .part(21, value, "additionalProperties", |value| match value {
            Value::Bool(allowed) => Message::default().flag(2, *allowed),
            value => Message::default().message(1, &schema(value)),
        })
        .part(22, value, "type", |kind| {
            Message::default().text(1, kind.as_str().unwrap_or_default())
        })
        .part(23, value, "items", |item| {
            Message::default().message(1, &schema(item))
        })
        .part(25, value, "properties", named_schemas);
    message.extensions(31, value)
}

fn path_item(item: &Value) -> Message {
    let message = [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")]
        .into_iter()
        .fold(Message::default(), |message, (field, method)| {
            message.part(field, item, method, operation)
        });
    items(&item["parameters"]).fold(message, |message, value| message.message(9, &parameter(value)))
}

fn operation(operation: &Value) -> Message {
    let message = Message::default().text_of(5, operation, "operationId");
    let parameters = items(&operation["parameters"]);
    let message = parameters.fold(message, |message, value| message.message(8, &parameter(value)));
    let responses = members(&operation["responses"]).fold(Message::default(), |all, (code, response)| {
        let schema = response.get("schema").map(schema).unwrap_or_default();
        let response = Message::default()
            .text_of(1, response, "description")
            .message(2, &Message::default().message(1, &schema));
        all.named(1, code, &Message::default().message(1, &response))
    });
    message.message(9, &responses).extensions(13, operation)
}

fn parameter(value: &Value) -> Message {
    let required = value["required"] == true;
    let body = Message::default()
        .text_of(2, value, "name")
        .text_of(3, value, "in")
        .flag(4, required);
    let plain = Message::default()
        .flag(1, required)
        .text_of(2, value, "in")
        .text_of(4, value, "name");
    let parameter = match value["in"].as_str() {
        Some("body") => Message::default().message(1, &body.part(5, value, "schema", schema)),
        Some("path") => {
            Message::default().message(2, &Message::default().message(4, &plain.text(5, "string")))
        }
        _ => Message::default().message(2, &Message::default().message(3, &plain.text(6, "string"))),
    };
    Message::default().message(1, &parameter)
}
