//! What a kind's module says about its type, and how that becomes a row of the table.
//!
//! Flows in: a typed implementation of [`Served`]. Flows out: a [`Kind`] of plain functions over JSON. What all kinds
//! share happens here once; a kind says only what is its own.

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Kind;
use crate::kind::{Column, DecodeError, Decoded, NameRule, StoredAs, Subresource, Verdict, Write};
use crate::validation::{Errors, Path, metadata};
use crate::{decode, prepare};

/// The facts about a kind that are not in its type.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `deployment`
    pub singular: &'static str,
    /// `deploy`
    pub short_names: &'static [&'static str],
    /// `all`
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Paths below an object.
    pub subresources: &'static [Subresource],
    /// Columns of the kind's table.
    pub columns: &'static [Column],
    /// Whether `metadata.generation` counts.
    pub generation: bool,
    /// Whether a DELETE leaves the object for its node agent.
    pub graceful: bool,
    /// Whether objects are deleted one by one only.
    pub one_by_one: bool,
    /// That the kind is deprecated, and what to use instead.
    pub deprecated: Option<&'static str>,
    /// Whether objects are only stored: nothing acts on them yet.
    pub inert: bool,
    /// Whether the creator may set the status.
    pub status_on_create: bool,
    /// Which names are valid.
    pub name_rule: NameRule,
    /// Selectable fields besides `metadata.name` and `metadata.namespace`.
    pub fields: &'static [&'static str],
    /// Where the objects are kept, if not under the kind itself.
    pub stored_as: Option<StoredAs>,
}

impl Row {
    /// A namespaced kind with nothing special; to be completed with `..Row::NAMESPACED`.
    pub const NAMESPACED: Self = Self {
        singular: "",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        columns: &[],
        generation: false,
        graceful: false,
        one_by_one: false,
        deprecated: None,
        inert: false,
        status_on_create: false,
        name_rule: NameRule::Subdomain,
        fields: &[],
        stored_as: None,
    };

    /// A cluster-scoped kind with nothing special.
    pub const CLUSTER: Self = Self {
        namespaced: false,
        ..Self::NAMESPACED
    };
}

/// A served kind: its type, and what upstream's server does to objects of it.
pub trait Served: Metadata<Ty = ObjectMeta> + DeserializeOwned + Serialize + JsonSchema + 'static {
    /// Names, columns and the like.
    const ROW: Row;

    /// Fills in what the user left out.
    fn default(&mut self) {}

    /// What this kind does besides [`prepare::shared`]: sets and resets what the writer may not.
    fn prepare(_object: &mut Value, _old: Option<&Value>, _write: Write) {}

    /// Checks all but the metadata; with `old`, also what may not change.
    fn validate(&self, _old: Option<&Self>, _write: Write, _errors: &mut Errors) {}

    /// One row of the table, in the order of the columns.
    fn cells(&self, now: i64) -> Vec<Value>;

    /// The value of a selectable field that is not simply the text at its path.
    fn field(_object: &Value, _name: &str) -> Option<String> {
        None
    }
}

impl Kind {
    /// The row of a kind.
    #[must_use]
    pub const fn of<T: Served>() -> Self {
        let row = T::ROW;
        Self {
            group: T::GROUP,
            version: T::VERSION,
            kind: T::KIND,
            plural: T::URL_PATH_SEGMENT,
            singular: row.singular,
            short_names: row.short_names,
            categories: row.categories,
            namespaced: row.namespaced,
            subresources: row.subresources,
            columns: row.columns,
            generation: row.generation,
            graceful: row.graceful,
            one_by_one: row.one_by_one,
            deprecated: row.deprecated,
            inert: row.inert,
            name_rule: row.name_rule,
            decode: decode::<T>,
            default: default::<T>,
            prepare: prepare::<T>,
            validate: validate::<T>,
            cells: cells::<T>,
            fields: fields::<T>,
            field_names: row.fields,
            type_name: T::schema_name,
            schema: schema::<T>,
            stored_as: row.stored_as,
        }
    }
}

fn decode<T: Served>(object: Value) -> Result<Decoded, DecodeError> {
    let mut decoded = decode::decode(&T::schema_name(), object)?;
    if let Some(fields) = decoded.object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), T::API_VERSION.into());
        fields.insert("kind".to_owned(), T::KIND.into());
    }
    Ok(decoded)
}

/// Objects come decoded; one that is not of its type all the same (stored by a later version) is left as it is.
fn default<T: Served>(object: &mut Value) {
    let Ok(mut typed) = T::deserialize(&*object) else {
        return;
    };
    typed.default();
    if let Ok(defaulted) = serde_json::to_value(&typed) {
        *object = defaulted;
    }
}

fn prepare<T: Served>(object: &mut Value, old: Option<&Value>, write: Write) {
    prepare::shared(object, old, write, &T::ROW);
    T::prepare(object, old, write);
    if T::ROW.generation {
        prepare::generation(object, old, write);
    }
}

fn validate<T: Served>(object: &Value, old: Option<&Value>, write: Write) -> Verdict {
    let mut errors = Errors::default();
    let typed = match T::deserialize(object) {
        Ok(typed) => typed,
        Err(error) => {
            errors.invalid(&Path::ROOT, &"", &error.to_string());
            return errors.into_verdict();
        }
    };
    let old = old.and_then(|old| T::deserialize(old).ok());
    metadata::validate(
        typed.metadata(),
        old.as_ref().map(Metadata::metadata),
        &T::ROW,
        &mut errors,
    );
    typed.validate(old.as_ref(), write, &mut errors);
    let mut verdict = errors.into_verdict();
    let generation = |object: &T| object.metadata().generation;
    if old.is_some_and(|old| generation(&old) == generation(&typed)) {
        // The writer was told when it was written.
        verdict.warnings.clear();
    }
    verdict
}

fn cells<T: Served>(object: &Value, now: i64) -> Vec<Value> {
    T::deserialize(object)
        .map(|typed| typed.cells(now))
        .unwrap_or_default()
}

fn fields<T: Served>(object: &Value) -> Vec<(&'static str, String)> {
    let value = |name: &str| T::field(object, name).unwrap_or_else(|| text_at(object, name));
    T::ROW.fields.iter().map(|name| (*name, value(name))).collect()
}

/// The scalar at a dotted path, as text; empty if there is none.
fn text_at(object: &Value, path: &str) -> String {
    match path
        .split('.')
        .try_fold(object, |value, segment| value.get(segment))
    {
        Some(Value::String(text)) => text.clone(),
        Some(scalar @ (Value::Bool(_) | Value::Number(_))) => scalar.to_string(),
        _ => String::new(),
    }
}

fn schema<T: Served>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
