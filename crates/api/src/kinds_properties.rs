//! What holds for every object of every kind: objects are made up from the kinds' own types.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::kind::Write;
use crate::types::{self, Shape};

/// Makes values of the right shape out of a stream of choices, which is empty sooner or later.
struct Inventor {
    choices: std::vec::IntoIter<u8>,
}

impl Inventor {
    fn choose(&mut self, of: u8) -> u8 {
        self.choices.next().unwrap_or(0) % of
    }

    fn text(&mut self) -> String {
        let words = [
            "",
            "a",
            "Always",
            "TCP",
            "RollingUpdate",
            "NodePort",
            "127.0.0.1",
            "x.io/y",
            "A b",
            "25%",
            "nginx:1",
        ];
        let at = usize::from(self.choose(11));
        words[at].to_owned()
    }

    fn value(&mut self, shape: &Shape, depth: u8) -> Value {
        match shape {
            Shape::String => json!(self.text()),
            Shape::Bytes => json!("YQ=="),
            Shape::Int32 | Shape::Int64 => json!(i32::from(self.choose(200)) - 100),
            Shape::Double => json!(0.5),
            Shape::Bool => json!(self.choose(2) == 0),
            Shape::Time => json!("2024-01-01T00:00:00Z"),
            Shape::Quantity => [json!("1500m"), json!("1Gi"), json!(2)][usize::from(self.choose(3))].clone(),
            Shape::IntOrString => [json!(0), json!("0%"), json!("http")][usize::from(self.choose(3))].clone(),
            Shape::Any => json!({"f:a": {}}),
            Shape::List(item) => (0..self.choose(3)).map(|_| self.value(item, depth)).collect(),
            Shape::Map(item) => {
                let keys = (0..self.choose(3)).map(|_| self.text()).collect::<Vec<_>>();
                Value::Object(
                    keys.into_iter()
                        .map(|key| (key, self.value(item, depth)))
                        .collect(),
                )
            }
            Shape::Object(name) => self.object(name, depth),
        }
    }

    fn object(&mut self, name: &str, depth: u8) -> Value {
        let fields = types::by_name(name)
            .map(|kind| &kind.fields)
            .into_iter()
            .flatten();
        let mut object = Map::new();
        for (field, shape) in fields {
            let is_wanted = depth < 2 || (depth < 9 && self.choose(4) == 1);
            if is_wanted && !matches!(field.as_str(), "apiVersion" | "kind") {
                object.insert(field.clone(), self.value(shape, depth + 1));
            }
        }
        Value::Object(object)
    }
}

fn objects() -> impl Strategy<Value = (&'static Kind, Value)> {
    (0..KINDS.len(), proptest::collection::vec(any::<u8>(), 0..4000)).prop_map(|(at, choices)| {
        let kind = &KINDS[at];
        (
            kind,
            Inventor {
                choices: choices.into_iter(),
            }
            .object(&(kind.type_name)(), 0),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// What decoding lets pass is complete and stays: doing it again, or defaulting again, changes nothing. Nothing panics.
    #[test]
    fn the_way_of_an_object_is_stable((kind, object) in objects()) {
        let decoded = (kind.decode)(object);
        prop_assert!(decoded.is_ok(), "{:?}", decoded.err());
        let Ok(decoded) = decoded else { return Ok(()) };
        prop_assert!(decoded.unknown.is_empty());
        let mut once = decoded.object;
        (kind.default)(&mut once);
        let again = (kind.decode)(once.clone()).map(|again| (again.unknown, again.object));
        prop_assert_eq!(again.map_err(|error| error.message), Ok((vec![], once.clone())));
        let mut twice = once.clone();
        (kind.default)(&mut twice);
        prop_assert_eq!(&twice, &once);

        let mut created = once.clone();
        (kind.prepare)(&mut created, None, Write::Main);
        (kind.validate)(&created, None, Write::Main);
        for write in [Write::Main, Write::Status, Write::EphemeralContainers] {
            let mut updated = once.clone();
            (kind.prepare)(&mut updated, Some(&created), write);
            (kind.validate)(&updated, Some(&created), write);
        }
        prop_assert_eq!((kind.cells)(&created, 0).len(), kind.columns.len());
        prop_assert_eq!((kind.fields)(&created).len(), kind.field_names.len());
    }

    /// Writing an object back unchanged changes nothing, and no rule about changes objects.
    #[test]
    fn an_unchanged_object_is_unchanged((kind, object) in objects()) {
        let Ok(decoded) = (kind.decode)(object) else { return Ok(()) };
        let mut stored = decoded.object;
        (kind.default)(&mut stored);
        (kind.prepare)(&mut stored, None, Write::Main);
        let mut again = stored.clone();
        (kind.default)(&mut again);
        (kind.prepare)(&mut again, Some(&stored), Write::Main);
        prop_assert_eq!(&again, &stored);
        let complaints = |old: Option<&Value>| {
            (kind.validate)(&stored, old, Write::Main).causes.into_iter().filter(|cause| {
                cause.message.contains("immutable") || cause.message.contains("may not change")
            }).count()
        };
        prop_assert_eq!(complaints(Some(&stored)), complaints(None));
    }

    /// Both views of an event's stored object convert without loss.
    #[test]
    fn views_convert_without_loss((kind, object) in objects()) {
        let (Some(stored_as), Ok(decoded)) = (kind.stored_as, (kind.decode)(object)) else { return Ok(()) };
        let mut converted = decoded.object.clone();
        (stored_as.to_stored)(&mut converted);
        (stored_as.from_stored)(&mut converted);
        prop_assert_eq!(converted, decoded.object);
    }
}
