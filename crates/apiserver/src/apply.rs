//! PATCH with `application/apply-patch+yaml`: server-side apply.
//!
//! Flows in: a configuration, who applies it, whether by force. Flows out: 200 or 201 and the stored object, or 409 with
//! the fields that others own. What is no longer in the configuration goes, unless somebody else owns it. Merging and
//! ownership are `api::ownership`'s.

use api::kind::Write;
use api::ownership::{self, FieldSet, Manager, Part, Writing, Yielding};
use http::StatusCode;
use serde_json::{Value, json};

use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::create;
use crate::decode::{self, Parsed};
use crate::metadata;
use crate::object::{self, meta_str, metadata_mut};
use crate::query::{FieldValidation, WriteOptions};
use crate::resource::Resource;
use crate::status::Failure;
use crate::tracking::{self, Tracking};
use crate::update;
use crate::write::{Change, Live};

/// The media type of a configuration to apply.
pub(crate) const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// The manager whose applies take over from client-side apply.
const KUBECTL: &str = "kubectl";

/// What client-side apply remembers.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How often an apply is begun again because the object was made or removed meanwhile.
const ATTEMPTS: usize = 8;

/// A configuration, ready to be merged.
pub(crate) struct Configuration<'a> {
    resource: &'a Resource,
    value: Value,
    /// Where keys were given again.
    lines: Vec<String>,
    validation: FieldValidation,
    manager: Manager,
    force: bool,
    part: Part,
}

/// Serves an apply of an object or of a part of it.
pub(crate) async fn apply(call: &Call, body: Body, write: Write) -> Result<Response, Failure> {
    let sent = read(&body::collect(body).await?)?;
    let subresource = update::subresource(write);
    let configuration = Configuration::new(call, sent, subresource, tracking::part(&call.resource, write))?;
    let change = Change {
        tracking: Tracking::Applied,
        ..update::change(call, write)?
    };
    let nothing = Live {
        object: &json!({}),
        managers: None,
    };
    for _ in 0..ATTEMPTS {
        match change
            .apply(|live| change.decode(configuration.merge_into(live)?))
            .await
        {
            Err(Failure::NotFound(_)) if write == Write::Main => {}
            written => return call.respond_written(StatusCode::OK, &written?),
        }
        let new = configuration.merge_into(nothing)?;
        match create::store_new(call, new, Tracking::Applied).await {
            Err(Failure::AlreadyExists(_)) => {}
            written => return call.respond_written(StatusCode::CREATED, &written?),
        }
    }
    Err(Failure::modified(&call.resource, call.name()?))
}

/// Reads a configuration: YAML, or JSON, which is nearly YAML.
pub(crate) fn read(bytes: &[u8]) -> Result<Parsed, Failure> {
    let json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let parsed = match decode::json(bytes) {
        Ok(parsed) if json && parsed.duplicates.is_empty() => parsed,
        _ => decode::yaml(bytes)?,
    };
    if parsed.value.is_object() {
        Ok(parsed)
    } else {
        Err(Failure::BadRequest(
            "error decoding YAML: the configuration is not an object".to_owned(),
        ))
    }
}

impl<'a> Configuration<'a> {
    /// Checks a configuration and who applies it.
    pub fn new(call: &'a Call, sent: Parsed, subresource: &str, part: Part) -> Result<Self, Failure> {
        let resource = &*call.resource;
        let Parsed {
            value: mut sent,
            lines,
            ..
        } = sent;
        let Some(manager) = tracking::asked_name(call)? else {
            let why = "Required value: is required for apply patch".to_owned();
            return Err(Failure::invalid_option(
                call.options,
                "FieldValueRequired",
                "fieldManager",
                why,
            ));
        };
        check_kind(resource, &sent)?;
        if object::take_managers(&mut sent).is_some_and(|list| !list.is_null()) {
            return Err(Failure::BadRequest(
                "metadata.managedFields must be nil".to_owned(),
            ));
        }
        let (named, name) = (meta_str(&sent, "name").to_owned(), call.name()?);
        if !named.is_empty() && named != name {
            return Err(Failure::BadRequest(format!(
                "the name of the object ({named}) does not match the name on the URL ({name})"
            )));
        }
        metadata_mut(&mut sent).insert("name".to_owned(), name.into());
        Ok(Self {
            resource,
            value: typed(resource, call.namespace(), name, sent)?,
            lines,
            validation: WriteOptions::of(call)?.fields,
            manager: tracking::manager(resource, manager.to_owned(), subresource),
            force: call.query.flag("force"),
            part,
        })
    }

    /// The object with the configuration in it, and with who owns what.
    pub fn merge_into(&self, live: Live<'_>) -> Result<Parsed, Failure> {
        let entries = live.managers.map(tracking::entries).unwrap_or_default();
        let live = live.object;
        let writing = Writing {
            root: &self.resource.type_name,
            manager: &self.manager,
            part: self.part,
            now: &metadata::now(),
        };
        let handed_over = self.handed_over(live);
        let yielding = match &handed_over {
            _ if self.force => Yielding::Everybody,
            Some(fields) => Yielding::For(fields),
            None => Yielding::Nobody,
        };
        let applied = ownership::apply(&writing, live, &self.value, &entries, yielding);
        let applied = applied.map_err(Failure::ApplyConflict)?;
        let mut object = applied.object;
        if handed_over.is_some() {
            self.remember(&mut object);
        }
        if !applied.entries.is_empty() {
            metadata_mut(&mut object).insert("managedFields".to_owned(), json!(applied.entries));
        }
        if self.validation == FieldValidation::Strict && !self.lines.is_empty() {
            return Err(Failure::BadRequest(format!(
                "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
                self.lines.join("\n  ")
            )));
        }
        Ok(Parsed {
            lines: self.lines.clone(),
            ..object.into()
        })
    }

    /// Where an object was applied by the client before, kubectl's first apply by the server takes over the fields that
    /// the client had set and that are still as it had set them.
    fn handed_over(&self, live: &Value) -> Option<FieldSet> {
        if self.manager.name != KUBECTL {
            return None;
        }
        let annotation = live["metadata"]["annotations"][LAST_APPLIED].as_str()?;
        let last = decode::json(annotation.as_bytes()).ok()?.value;
        let last = (self.resource.kind.decode)(last).ok()?.object;
        let mut fields = ownership::agreed(&self.resource.type_name, &last, live);
        let annotation = ["f:metadata", "f:annotations", &format!("f:{LAST_APPLIED}")].map(str::to_owned);
        fields.insert(&annotation);
        Some(fields)
    }

    /// Keeps the annotation of client-side apply as kubectl would, so that one can go back to it.
    fn remember(&self, object: &mut Value) {
        let mut config = self.value.clone();
        if let Some(annotations) = config["metadata"]["annotations"].as_object_mut() {
            annotations.remove(LAST_APPLIED);
        }
        object["metadata"]["annotations"][LAST_APPLIED] = format!("{config}\n").into();
    }
}

fn check_kind(resource: &Resource, sent: &Value) -> Result<(), Failure> {
    let version = sent["apiVersion"].as_str().unwrap_or_default();
    let kind = sent["kind"].as_str().unwrap_or_default();
    if version == resource.api_version && kind == resource.kind.kind {
        return Ok(());
    }
    let version = if version.contains('/') || version.is_empty() {
        version.to_owned()
    } else {
        format!("/{version}")
    };
    Err(Failure::BadRequest(format!(
        "invalid object type: {version}, Kind={kind}"
    )))
}

/// The configuration with its values in their canonical form, if it is of its type.
fn typed(resource: &Resource, namespace: Option<&str>, name: &str, sent: Value) -> Result<Value, Failure> {
    let mut errors = ownership::check(&resource.type_name, &sent);
    let decoded = if errors.is_empty() {
        (resource.kind.decode)(sent)
            .map_err(|error| errors.push(format!(".{}: {}", error.field, error.message)))
    } else {
        Err(())
    };
    if let Ok(decoded) = decoded {
        return Ok(decoded.object);
    }
    if errors.len() > 1 {
        errors.insert(0, "errors:".to_owned());
    }
    let namespace = namespace
        .map(|namespace| format!("{namespace}/"))
        .unwrap_or_default();
    Err(Failure::Untyped(format!(
        "failed to create typed patch object ({namespace}{name}; {}, Kind={}): {}",
        resource.api_version,
        resource.kind.kind,
        errors.join("\n  ")
    )))
}
