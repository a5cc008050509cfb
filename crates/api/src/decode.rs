//! Typed decoding: what Go's strict JSON decoder does with a body, with its words.
//!
//! Flows in: JSON as the client sent it. Flows out: an object that has only known fields of the right types, `null`s
//! dropped and quantities canonical; the paths of unknown fields; or the first field of a wrong type.

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kind::{DecodeError, Decoded};
use crate::quantity;
use crate::types::{self, Shape};

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
        let outer = std::mem::replace(&mut self.owner, short(name).to_owned());
        let mut decoded = Map::new();
        for (field, value) in fields {
            self.path.push(Segment::Field(field));
            let field = self.last_field();
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
        Ok(Value::Object(decoded))
    }

    fn last_field(&self) -> String {
        match self.path.last() {
            Some(Segment::Field(field)) => field.clone(),
            _ => String::new(),
        }
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
        if let Some(name) = field.and_then(|field| named_type(&self.owner, field, shape, in_field)) {
            return name.to_owned();
        }
        go_name(shape)
    }
}

/// Go's type for a shape that has no name of its own.
fn go_name(shape: &Shape) -> String {
    match shape {
        Shape::String => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Double => "float64".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Any => "interface {}".to_owned(),
        Shape::Object(name) => {
            let mut parts = name.rsplit('.');
            let (last, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{package}.{last}")
        }
        Shape::List(item) => format!("[]{}", go_name(item)),
        Shape::Map(item) => format!("map[string]{}", go_name(item)),
    }
}

/// Fields whose type has a name in Go though it is plain text, a plain list or a plain map in JSON.
fn named_type(owner: &str, field: &str, shape: &Shape, in_field: bool) -> Option<&'static str> {
    Some(match (owner, field, shape) {
        (_, "protocol", Shape::String) => "v1.Protocol",
        ("PodSpec", "restartPolicy", Shape::String) => "v1.RestartPolicy",
        ("Container", "restartPolicy", Shape::String) => "v1.ContainerRestartPolicy",
        ("PodSpec", "dnsPolicy", Shape::String) => "v1.DNSPolicy",
        ("PodSpec", "preemptionPolicy", Shape::String) => "v1.PreemptionPolicy",
        (_, "imagePullPolicy", Shape::String) => "v1.PullPolicy",
        (_, "terminationMessagePolicy", Shape::String) => "v1.TerminationMessagePolicy",
        (_, "scheme", Shape::String) => "v1.URIScheme",
        ("Toleration" | "Taint", "effect", Shape::String) => "v1.TaintEffect",
        ("Toleration", "operator", Shape::String) => "v1.TolerationOperator",
        ("DeploymentStrategy", "type", Shape::String) => "v1.DeploymentStrategyType",
        ("ServiceSpec", "type", Shape::String) => "v1.ServiceType",
        ("ServiceSpec", "sessionAffinity", Shape::String) => "v1.ServiceAffinity",
        ("Secret", "type", Shape::String) => "v1.SecretType",
        ("PodStatus", "phase", Shape::String) => "v1.PodPhase",
        ("LabelSelectorRequirement", "operator", Shape::String) => "v1.LabelSelectorOperator",
        (_, "capabilities", _) => return None,
        ("ResourceRequirements", "limits" | "requests", Shape::Map(_)) if in_field => "v1.ResourceList",
        (_, "capacity" | "allocatable", Shape::Map(_)) if in_field => "v1.ResourceList",
        _ => return None,
    })
}

/// The name of a type without its package.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
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
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn deployment(object: Value) -> Result<Decoded, String> {
        decode("io.k8s.api.apps.v1.Deployment", object).map_err(|error| error.message)
    }

    fn with_container(container: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    }

    #[test]
    fn says_what_go_would_say() {
        let table = [
            (
                json!({"spec": {"replicas": "3"}}),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"spec": {"replicas": 1.5}}),
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"spec": {"paused": "yes"}}),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
            ),
            (
                json!({"spec": "x"}),
                "json: cannot unmarshal string into Go struct field Deployment.spec of type v1.DeploymentSpec",
            ),
            (
                json!({"metadata": {"labels": {"a": 1}}}),
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": {}}}}}),
                "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
            ),
            (
                with_container(json!({"ports": [{"containerPort": "80"}]})),
                "json: cannot unmarshal string into Go struct field ContainerPort.spec.template.spec.containers.ports.containerPort of type int32",
            ),
            (
                with_container(json!({"env": [{"name": "A", "value": 1}]})),
                "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
            ),
            (
                with_container(json!({"resources": {"limits": {"cpu": "much"}}})),
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                json!([]),
                "json: cannot unmarshal array into Go value of type v1.Deployment",
            ),
        ];
        for (object, wanted) in table {
            assert_eq!(deployment(object).err().as_deref(), Some(wanted));
        }
    }

    #[test]
    fn removes_and_names_unknown_fields() {
        let mut object = with_container(json!({"name": "a", "foo": 1}));
        object["bar"] = json!({});
        let decoded = deployment(object).map(|decoded| (decoded.unknown, decoded.object));
        let unknown = vec![
            "bar".to_owned(),
            "spec.template.spec.containers[0].foo".to_owned(),
        ];
        assert_eq!(decoded, Ok((unknown, with_container(json!({"name": "a"})))));
    }

    #[test]
    fn is_as_lenient_as_upstream() {
        let object = json!({
            "metadata": {"annotations": {"a": null}, "labels": null},
            "spec": {
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
                "template": {"spec": {
                    "containers": [{"name": "a", "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}}}],
                    "volumes": [{"name": "v", "emptyDir": {}}],
                }},
            },
        });
        let object = deployment(object)
            .map(|decoded| decoded.object)
            .unwrap_or_default();
        assert_eq!(object["metadata"], json!({"annotations": {"a": ""}}));
        let spec = &object["spec"]["template"]["spec"];
        assert_eq!(
            spec["containers"][0]["resources"]["limits"],
            json!({"cpu": "1", "memory": "1Gi"})
        );
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z0-9]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 48, 4, |inner| {
            let key = prop_oneof![
                Just("metadata"),
                Just("spec"),
                Just("template"),
                Just("containers"),
                Just("labels"),
                Just("name"),
                Just("resources"),
                Just("limits"),
                Just("x"),
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::vec((key, inner), 0..4).prop_map(|pairs| {
                    Value::Object(
                        pairs
                            .into_iter()
                            .map(|(key, value)| (key.to_owned(), value))
                            .collect(),
                    )
                }),
            ]
        })
    }

    proptest! {
        /// Whatever passes is a Deployment for the typed code behind, too.
        #[test]
        fn what_passes_is_typed(object in any_json()) {
            if let Ok(decoded) = deployment(object) {
                let typed = k8s_openapi::api::apps::v1::Deployment::deserialize(&decoded.object);
                prop_assert!(typed.is_ok(), "{:?}", typed.err());
            }
        }
    }
}
