//! One row of the table of kinds: everything the API server must know to serve a kind.
//!
//! Flows in: untyped JSON objects. Flows out: decoded, defaulted, validated JSON objects, table cells, selectable fields.
//! The API server knows kinds only through [`Kind`]; it has no `match` on a kind's name. Never does I/O.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

/// A kind that the API server serves. Adding a kind is adding a row to the table in `kinds.rs`.
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version, `v1`.
    pub version: &'static str,
    /// `Deployment`.
    pub kind: &'static str,
    /// The resource name in paths, `deployments`.
    pub plural: &'static str,
    /// `deployment`.
    pub singular: &'static str,
    /// What kubectl also accepts, `deploy`.
    pub short_names: &'static [&'static str],
    /// Groups of kinds that kubectl can ask for at once, `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// The parts of an object that have a path of their own.
    pub subresources: &'static [Subresource],
    /// Columns of the kind's table, those of `-o wide` (priority 1) included.
    pub columns: &'static [Column],
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// Whether a DELETE without an explicit grace period leaves the object for its node agent to stop (pods only).
    pub graceful: bool,
    /// Whether objects are deleted one by one only: there is no DELETE of the collection.
    pub one_by_one: bool,
    /// What everyone who uses the kind is told: that it is deprecated, and what to use instead.
    pub deprecated: Option<&'static str>,
    /// Whether objects are only stored: nothing acts on them yet. Their creator is told.
    pub inert: bool,
    /// Which names are valid.
    pub name_rule: NameRule,
    /// Typed decoding: prunes unknown fields, which it reports, and refuses wrong types.
    pub decode: fn(Value) -> Result<Decoded, DecodeError>,
    /// Fills in what the user left out, as upstream's defaulting does. Runs on every decoded object.
    pub default: fn(&mut Value),
    /// What may not be set by the writer: upstream's `PrepareForCreate` (old is `None`) and `PrepareForUpdate`
    /// of the main resource (status is kept from `old`) or, with another [`Write`], of a part of it (all else is kept,
    /// but for the labels, annotations, finalizers and managed fields of a status, which upstream lets through).
    pub prepare: fn(&mut Value, old: Option<&Value>, Write),
    /// Upstream's validation of a new object, and with `old` of a change.
    pub validate: fn(&Value, old: Option<&Value>, Write) -> Verdict,
    /// The cells of one table row, in the order of `columns`. `now` is Unix time in seconds, for ages.
    pub cells: fn(&Value, now: i64) -> Vec<Value>,
    /// Fields that a field selector may name besides `metadata.name` and `metadata.namespace`, with their values.
    pub fields: fn(&Value) -> Vec<(&'static str, String)>,
    /// The names that `fields` yields: to refuse others with "field label not supported".
    pub field_names: &'static [&'static str],
    /// What OpenAPI calls the kind's type, `io.k8s.api.apps.v1.Deployment`: where walking its fields begins.
    pub type_name: fn() -> Cow<'static, str>,
    /// The OpenAPI schema of the kind; the types it refers to are left in the generator.
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// Where the objects are kept, if this kind is another view of the stored objects of a kind of another group.
    pub stored_as: Option<StoredAs>,
}

/// How one kind is a view of another's stored objects.
#[derive(Clone, Copy, Debug)]
pub struct StoredAs {
    /// Group of the kind whose objects are stored; empty for the core group.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its resource name.
    pub plural: &'static str,
    /// Turns an object of this kind into one of the stored kind.
    pub to_stored: fn(&mut Value),
    /// Turns a stored object into one of this kind.
    pub from_stored: fn(&mut Value),
}

/// Which part of an object is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The object at its main path.
    Main,
    /// The `/status` subresource.
    Status,
    /// The `/ephemeralcontainers` subresource (pods only).
    EphemeralContainers,
}

/// A path below an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `/status`
    Status,
    /// `/scale`, an `autoscaling/v1` Scale
    Scale,
    /// `/binding`, and the collection `bindings`
    Binding,
    /// `/eviction`
    Eviction,
    /// `/log`
    Log,
    /// `/exec`
    Exec,
    /// `/attach`
    Attach,
    /// `/portforward`
    PortForward,
    /// `/ephemeralcontainers`: the pod, of which only these may be changed there
    EphemeralContainers,
    /// `/proxy/...`
    Proxy,
    /// `/finalize`
    Finalize,
    /// `/token`, an `authentication.k8s.io/v1` TokenRequest
    Token,
}

/// A column of a kind's table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Heading as upstream spells it; kubectl prints it in upper case.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// 0: always shown; 1: shown with `-o wide`.
    pub priority: u8,
}

/// What a name may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, at most 253 characters.
    Subdomain,
    /// RFC 1123 label, at most 63 characters.
    Label,
    /// Any path segment: not `.` or `..`, no `/` and no `%`.
    PathSegment,
}

/// An object after typed decoding.
#[derive(Debug)]
pub struct Decoded {
    /// The object with unknown fields removed.
    pub object: Value,
    /// Paths of the fields that were removed, `spec.template.spec.foo`.
    pub unknown: Vec<String>,
}

/// An object that is not of its kind's type. `Display` is upstream's sentence after "cannot be handled as a X: ".
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`
    pub message: String,
    /// Path of the offending field, `spec.replicas`.
    pub field: String,
}

/// What validation finds.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Why the object is invalid; empty if it is not.
    pub causes: Vec<Cause>,
    /// What is valid but hardly meant; its writer is told.
    pub warnings: Vec<String>,
}

/// One reason why an object is invalid; becomes `details.causes[]` of an `Invalid` Status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueRequired`, `FieldValueInvalid`, `FieldValueNotSupported`, `FieldValueForbidden`, `FieldValueDuplicate`, ...
    pub reason: &'static str,
    /// The sentence as upstream prints it, without the field path: `Invalid value: -1: must be greater than or equal to 0`.
    pub message: String,
    /// `spec.template.spec.containers[0].image`
    pub field: String,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.group, self.version, self.kind)
    }
}

impl Kind {
    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}
