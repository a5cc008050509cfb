//! The way of every write: decode, default, prepare, validate, admit, store.
//!
//! Flows in: a value from a client and what is stored. Flows out: the stored object. Optimistic concurrency is the store's;
//! a change is made again on the newer version when another writer was faster, unless the client named a version.

use std::borrow::Cow;
use std::sync::Arc;

use api::kind::Write;
use api::ownership;
use serde_json::Value;
use store::{Entry, Expect};

use crate::admission;
use crate::decode::Parsed;
use crate::metadata;
use crate::object::{self, Memo, Object, has_finalizers, is_terminating, meta_str};
use crate::query::WriteOptions;
use crate::resource::Resource;
use crate::server::Core;
use crate::status::{Failure, Subject};
use crate::tracking::{self, Tracking};
use crate::typed::{self, Typed};

/// How often a change is made again because another writer was faster. Each time that one was, somebody has come
/// on; upstream (`GuaranteedUpdate`) sets no limit, and a limit that is met tells a client of a conflict that it has not.
const ATTEMPTS: usize = 10_000;

/// The outcome of a write.
#[derive(Debug)]
pub(crate) struct Written {
    /// The object as it is now, or as it would be.
    pub object: Object,
    /// What the client should be told: unknown and duplicate fields, and what is hardly meant.
    pub warnings: Vec<String>,
}

/// An object that is to be changed.
#[derive(Clone, Copy)]
pub(crate) struct Live<'a> {
    /// The object, without its managedFields.
    pub object: &'a Value,
    /// Its managedFields, as text.
    pub managers: Option<&'a [u8]>,
}

impl Live<'_> {
    /// The object with its managedFields in it.
    pub fn whole(self) -> Value {
        let mut whole = self.object.clone();
        let list = self.managers.and_then(|text| serde_json::from_slice(text).ok());
        if let Some(list) = list {
            object::metadata_mut(&mut whole).insert("managedFields".to_owned(), list);
        }
        whole
    }
}

/// A change of one object: what to read, how to change it, how to write it back.
pub(crate) struct Change<'a> {
    /// The server.
    pub core: &'a Core,
    /// The kind.
    pub resource: &'a Resource,
    /// The namespace, where the kind has one.
    pub namespace: Option<&'a str>,
    /// The object's name.
    pub name: &'a str,
    /// Which part is written.
    pub write: Write,
    /// `dryRun` and `fieldValidation`.
    pub options: WriteOptions,
    /// In whose name.
    pub tracking: Tracking,
}

impl Change<'_> {
    /// Reads the object, lets `change` make a new one of it, and writes that.
    ///
    /// `change` gets the object with its resourceVersion, and its managedFields apart. If the value it returns carries a resourceVersion, it must be
    /// the current one.
    pub async fn apply(
        &self,
        mut change: impl FnMut(Live<'_>) -> Result<Typed, Failure> + Send,
    ) -> Result<Written, Failure> {
        let Self { core, resource, .. } = *self;
        let key = resource.key(self.namespace, self.name);
        for _ in 0..ATTEMPTS {
            let entry = core.read(resource, &key, self.name).await?;
            let stored = Object::from(&*entry);
            let (old, kept) = stored.split(resource);
            let Typed {
                object: mut new,
                mut warnings,
            } = change(Live {
                object: &old,
                managers: kept,
            })?;
            self.check_identity(&old, &new)?;
            let sent = object::take_managers(&mut new);
            (resource.kind.default)(&mut new);
            admission::complete(core, resource, &mut new, Some(&old)).await?;
            (resource.kind.prepare)(&mut new, Some(&old), self.write);
            metadata::prepare_changed(&mut new, &old);
            let verdict = (resource.kind.validate)(&new, Some(&old), self.write);
            if !verdict.causes.is_empty() {
                return Err(Failure::invalid(resource, self.name, verdict.causes));
            }
            warnings.extend(verdict.warnings);
            let managers = self
                .tracking
                .record(resource, self.write, (&old, kept), (&new, sent));
            let permit = admission::admit(core, resource, &mut new, Some(&old), self.options.dry_run)?;
            let managers = self.with_times(&entry, &new, kept, managers);
            if let Some(object) = self.store(&entry, &new, managers.as_deref()).await? {
                permit.keep();
                return Ok(Written { object, warnings });
            }
        }
        Err(Failure::modified(resource, self.name))
    }

    /// Decodes what the client sent, or what is to be written, as the kind.
    pub fn decode(&self, value: impl Into<Parsed>) -> Result<Typed, Failure> {
        typed::decode(self.resource, value.into(), self.options.fields)
    }

    /// Reads the object, lets `change` make a new one of it, and stores that as it is: for the parts of an object that
    /// have a path of their own because no ordinary write may touch them.
    pub async fn apply_unchecked(
        &self,
        mut change: impl FnMut(&Value) -> Result<Value, Failure> + Send,
    ) -> Result<Object, Failure> {
        let key = self.resource.key(self.namespace, self.name);
        for _ in 0..ATTEMPTS {
            let entry = self.core.read(self.resource, &key, self.name).await?;
            let new = change(&Object::from(&*entry).to_value(self.resource))?;
            if let Some(object) = self.store(&entry, &new, None).await? {
                return Ok(object);
            }
        }
        Err(Failure::modified(self.resource, self.name))
    }

    /// An apply that changes nothing but when it was made is none: its times stay as they are.
    fn with_times<'a>(
        &self,
        entry: &Entry,
        new: &Value,
        kept: Option<&'a [u8]>,
        managers: Option<Cow<'a, [u8]>>,
    ) -> Option<Cow<'a, [u8]>> {
        let (Tracking::Applied, Some(before), Some(after)) = (&self.tracking, kept, &managers) else {
            return managers;
        };
        let same = ownership::same_but_times(&tracking::entries(before), &tracking::entries(after));
        if same && object::encode_with(self.resource, new, kept) == entry.value {
            return Some(Cow::Borrowed(before));
        }
        managers
    }

    /// What the client says about version and identity must hold.
    fn check_identity(&self, old: &Value, new: &Value) -> Result<(), Failure> {
        let version = meta_str(new, "resourceVersion");
        if !version.is_empty() && version != "0" && version != meta_str(old, "resourceVersion") {
            return Err(Failure::modified(self.resource, self.name));
        }
        let (asked, actual) = (meta_str(new, "uid"), meta_str(old, "uid"));
        if !asked.is_empty() && asked != actual {
            let why =
                format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {actual}");
            return Err(Failure::Conflict {
                subject: Subject::new(self.resource, self.name),
                why,
            });
        }
        let name = meta_str(new, "name");
        if !name.is_empty() && name != self.name {
            return Err(Failure::BadRequest(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                self.name
            )));
        }
        check_namespace(self.namespace, new)
    }

    /// Writes the new state over `entry`. `None`: another writer was faster.
    async fn store(
        &self,
        entry: &Arc<Entry>,
        new: &Value,
        managers: Option<&[u8]>,
    ) -> Result<Option<Object>, Failure> {
        let Self { core, resource, .. } = *self;
        let bytes = object::encode_with(resource, new, managers);
        if bytes == entry.value || self.options.dry_run {
            return Ok(Some(Object {
                bytes,
                revision: entry.modified,
            }));
        }
        if is_terminating(new) && is_released(new) {
            return core
                .remove(resource, entry, new)
                .await
                .map(|done| done.map(|revision| Object { bytes, revision }));
        }
        core.replace(resource, entry, new, bytes)
            .await
            .map(|stored| stored.map(|entry| Object::from(&*entry)))
    }
}

/// Whether nothing holds an object back whose deletion has begun. (`spec.finalizers` is a Namespace's.)
pub(crate) fn is_released(object: &Value) -> bool {
    let grace = object["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(0);
    let held = object["spec"]["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    grace == 0 && !held && !has_finalizers(object)
}

/// An object's namespace must be the path's, if it says one.
pub(crate) fn check_namespace(namespace: Option<&str>, object: &Value) -> Result<(), Failure> {
    let said = meta_str(object, "namespace");
    match namespace {
        Some(namespace) if !said.is_empty() && said != namespace => Err(Failure::BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

impl Core {
    /// The latest version of an object.
    pub async fn read(&self, resource: &Resource, key: &str, name: &str) -> Result<Arc<Entry>, Failure> {
        self.store
            .get(key)
            .await?
            .ok_or_else(|| Failure::not_found(resource, name))
    }

    /// Stores a new object. `None`: there is one of that name.
    pub async fn insert(
        &self,
        resource: &Resource,
        key: &str,
        new: &Value,
        bytes: bytes::Bytes,
    ) -> Result<Option<Arc<Entry>>, Failure> {
        self.put(resource, key, new, bytes, Expect::Absent).await
    }

    /// Stores a new version. `None`: another writer was faster.
    pub async fn replace(
        &self,
        resource: &Resource,
        entry: &Entry,
        new: &Value,
        bytes: bytes::Bytes,
    ) -> Result<Option<Arc<Entry>>, Failure> {
        self.put(resource, &entry.key, new, bytes, Expect::Revision(entry.modified))
            .await
    }

    async fn put(
        &self,
        resource: &Resource,
        key: &str,
        new: &Value,
        bytes: bytes::Bytes,
        expect: Expect,
    ) -> Result<Option<Arc<Entry>>, Failure> {
        match self.store.put(key, bytes, expect).await {
            Ok(entry) => {
                // The object is at hand here: readers need not parse it again. Views leave that to the stored kind.
                if resource.kind.stored_as.is_none() {
                    entry.memo(|_| Memo::new(resource, new));
                }
                Ok(Some(entry))
            }
            Err(store::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes an object out of the store for good. `None`: another writer was faster.
    pub async fn remove(
        &self,
        resource: &Resource,
        entry: &Entry,
        object: &Value,
    ) -> Result<Option<u64>, Failure> {
        match self.store.delete(&entry.key, entry.modified).await {
            Ok(revision) => {
                admission::release(self, resource, object);
                Ok(Some(revision))
            }
            Err(store::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
