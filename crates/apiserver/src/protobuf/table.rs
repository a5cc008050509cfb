//! Which field of which message has which number.
//!
//! Flows in: `messages.txt`. Flows out: messages whose fields are found by number. A type is data here, not code, so that
//! a new kind is some lines of text.

use std::collections::HashMap;
use std::str::SplitWhitespace;
use std::sync::LazyLock;

static UPSTREAM: LazyLock<Table> = LazyLock::new(|| {
    Table::parse(include_str!("messages.txt")).expect("the tests read the file that is built in")
});

/// What one value of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// An integer of 32 or 64 bits.
    Int,
    /// A boolean.
    Bool,
    /// Text.
    String,
    /// Bytes, base64 in JSON.
    Bytes,
    /// A time in whole seconds; null in JSON if it is not set.
    Time,
    /// A time in microseconds; null in JSON if it is not set.
    MicroTime,
    /// `500m`
    Quantity,
    /// An integer or text.
    IntOrString,
    /// JSON within protobuf.
    Json,
    /// The message at this place of the table.
    Message(usize),
}

/// How a field's values are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value. What Go's JSON leaves out when zero is not `kept` then.
    One {
        /// Whether a zero is written in JSON.
        kept: bool,
    },
    /// A list.
    List,
    /// A map from text.
    Map,
    /// A message whose fields are its parent's in JSON.
    Inline,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// What JSON calls it.
    pub name: String,
    /// What one value is.
    pub kind: Type,
    /// How many there are.
    pub shape: Shape,
}

/// A message and the table that it refers into.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    table: &'a Table,
    fields: &'a HashMap<u32, Field>,
}

impl<'a> Message<'a> {
    /// The field with a number.
    pub fn field(&self, number: u32) -> Option<&'a Field> {
        self.fields.get(&number)
    }

    /// Another message of the same table.
    pub fn other(&self, place: usize) -> Option<Self> {
        self.table.at(place)
    }

    /// All fields.
    #[cfg(test)]
    pub fn fields(&self) -> impl Iterator<Item = &'a Field> {
        self.fields.values()
    }
}

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: HashMap<String, usize>,
    messages: Vec<HashMap<u32, Field>>,
}

impl Table {
    /// The messages of the kinds that are served.
    pub fn upstream() -> &'static Self {
        &UPSTREAM
    }

    /// The message of a kind. Options for deleting go with every version.
    pub fn kind(&self, version: &str, kind: &str) -> Option<Message<'_>> {
        let (group, version) = version.split_once('/').unwrap_or(("core", version));
        // `events.k8s.io` is the package `events`.
        let package = group.split('.').next().unwrap_or_default();
        match kind {
            "DeleteOptions" => self.message("meta.v1.DeleteOptions"),
            _ => self.message(&format!("{package}.{version}.{kind}")),
        }
    }

    /// The message called `apps.v1.DeploymentSpec`.
    pub fn message(&self, name: &str) -> Option<Message<'_>> {
        self.at(*self.places.get(name)?)
    }

    fn at(&self, place: usize) -> Option<Message<'_>> {
        let fields = self.messages.get(place)?;
        Some(Message { table: self, fields })
    }

    /// Reads a table; the file's head says how it is written. `None`: a line is not as it should be.
    fn parse(text: &str) -> Option<Self> {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let names = lines.clone().filter(|line| !line.contains(' '));
        let mut table = Self {
            places: names
                .zip(0..)
                .map(|(name, place)| (name.to_owned(), place))
                .collect(),
            messages: Vec::new(),
        };
        for line in lines {
            let mut words = line.split_whitespace();
            match words.next()?.parse() {
                Ok(number) => {
                    let field = table.field(words)?;
                    table.messages.last_mut()?.insert(number, field);
                }
                Err(_) => table.messages.push(HashMap::new()),
            }
        }
        Some(table)
    }

    fn field(&self, mut words: SplitWhitespace<'_>) -> Option<Field> {
        let name = words.next()?;
        let word = words.next()?;
        let (shape, word) = match (word, word.strip_prefix("[]"), word.strip_suffix('?')) {
            _ if name == "*" => (Shape::Inline, word),
            ("map", _, _) => (Shape::Map, words.next()?),
            (_, Some(item), _) => (Shape::List, item),
            (_, _, Some(kept)) => (Shape::One { kept: true }, kept),
            _ => (Shape::One { kept: false }, word),
        };
        let kind = match word {
            "int" => Type::Int,
            "bool" => Type::Bool,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "Time" => Type::Time,
            "MicroTime" => Type::MicroTime,
            "Quantity" => Type::Quantity,
            "IntOrString" => Type::IntOrString,
            "FieldsV1" | "RawExtension" => Type::Json,
            message => Type::Message(*self.places.get(message)?),
        };
        Some(Field {
            name: name.to_owned(),
            kind,
            shape,
        })
    }
}

#[cfg(test)]
mod tests;
