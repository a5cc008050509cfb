//! POST: making an object.
//!
//! Flows in: a body. Flows out: 201 and the stored object. Retries only names that it generated itself.

use api::kind::{Cause, Verdict, Write};
use http::StatusCode;
use serde_json::Value;

use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::decode::{self, Parsed};
use crate::metadata;
use crate::object::{self, Memo, Object, meta_str};
use crate::query::WriteOptions;
use crate::resource::Resource;
use crate::server::Core;
use crate::status::{Failure, Subject};
use crate::tracking::Tracking;
use crate::typed::{self, Typed};
use crate::write::{self, Written};
use crate::{admission, bootstrap};

/// How many names are tried for an object with a `generateName`.
const NAMES_TRIED: usize = 8;

/// Serves a POST on a collection.
pub(crate) async fn create(call: &Call, body: Body) -> Result<Response, Failure> {
    if call.resource.kind.namespaced && call.path.namespace.is_none() {
        return Err(Failure::MethodNotAllowed);
    }
    let bytes = body::collect(body).await?;
    let parsed = decode::body(&call.headers, &bytes, call.resource.kind.kind)?;
    let written = store_new(call, parsed, Tracking::of(call, "")?).await?;
    call.respond_written(StatusCode::CREATED, &written)
}

/// Makes a new object, and what comes with every object of its kind.
pub(crate) async fn store_new(call: &Call, parsed: Parsed, tracking: Tracking) -> Result<Written, Failure> {
    let options = WriteOptions::of(call)?;
    let written = call
        .core
        .create(&call.resource, call.namespace(), parsed, options, &tracking)
        .await?;
    if call.resource.is("", "namespaces") && !options.dry_run {
        let namespace = written.object.to_value(&call.resource);
        bootstrap::furnish(&call.core, meta_str(&namespace, "name")).await?;
    }
    Ok(written)
}

impl Core {
    /// Makes a new object of what a client sent.
    pub async fn create(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        parsed: Parsed,
        options: WriteOptions,
        tracking: &Tracking,
    ) -> Result<Written, Failure> {
        let Typed {
            mut object,
            mut warnings,
        } = typed::decode(resource, parsed, options.fields)?;
        if resource.kind.inert {
            let kind = resource.kind.kind;
            warnings.push(format!("this {kind} is stored, but nothing acts on it yet"));
        }
        write::check_namespace(namespace, &object)?;
        if !matches!(meta_str(&object, "resourceVersion"), "" | "0") {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(Failure::BadRequest(why.to_owned()));
        }
        let sent = object::take_managers(&mut object);
        metadata::prepare_new(&mut object, namespace);
        if let Some(namespace) = namespace {
            self.check_open(resource, namespace, &object).await?;
        }
        let generated = meta_str(&object, "name").is_empty() && !meta_str(&object, "generateName").is_empty();
        for _ in 0..if generated { NAMES_TRIED } else { 1 } {
            if generated {
                metadata::generate_name(&mut object);
            }
            let new = (object.clone(), sent.clone());
            if let Some(mut written) = self
                .create_once(resource, namespace, new, options, tracking)
                .await?
            {
                warnings.append(&mut written.warnings);
                return Ok(Written { warnings, ..written });
            }
        }
        Err(Failure::AlreadyExists(Subject::new(
            resource,
            meta_str(&object, "name"),
        )))
    }

    /// Completes, validates, admits and stores. `None`: the name is taken.
    async fn create_once(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        (mut object, sent): (Value, Option<Value>),
        options: WriteOptions,
        tracking: &Tracking,
    ) -> Result<Option<Written>, Failure> {
        let name = meta_str(&object, "name").to_owned();
        (resource.kind.default)(&mut object);
        admission::complete(self, resource, &mut object, None).await?;
        (resource.kind.prepare)(&mut object, None, Write::Main);
        let Verdict { causes, warnings } = (resource.kind.validate)(&object, None, Write::Main);
        if !causes.is_empty() {
            return Err(Failure::invalid(resource, &name, causes));
        }
        let nothing = Value::Object(serde_json::Map::new());
        let managers = tracking.record(resource, Write::Main, (&nothing, None), (&object, sent));
        let key = resource.key(namespace, &name);
        if self.store.get(&key).await?.is_some() {
            return Ok(None);
        }
        let permit = admission::admit(self, resource, &mut object, None, options.dry_run)?;
        let bytes = object::encode_with(resource, &object, managers.as_deref());
        if options.dry_run {
            let object = Object { bytes, revision: 0 };
            return Ok(Some(Written { object, warnings }));
        }
        let Some(entry) = self.insert(resource, &key, &object, bytes).await? else {
            return Ok(None);
        };
        permit.keep();
        let object = Object::from(&*entry);
        Ok(Some(Written { object, warnings }))
    }

    /// New objects need a namespace that exists and is not on its way out.
    async fn check_open(&self, resource: &Resource, namespace: &str, object: &Value) -> Result<(), Failure> {
        let namespaces = self.registry.get("", "namespaces")?;
        let entry = self
            .read(&namespaces, &namespaces.key(None, namespace), namespace)
            .await?;
        if Memo::of(&namespaces, &entry).field("status.phase") != Some("Terminating") {
            return Ok(());
        }
        Err(Failure::Forbidden {
            subject: Subject::new(resource, meta_str(object, "name")),
            why: format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            ),
            causes: vec![Cause {
                reason: "NamespaceTerminating",
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".to_owned(),
            }],
        })
    }
}
