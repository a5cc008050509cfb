//! Who owns whom: every object that the caches show, by name and by the uids of its owners.
//!
//! Flows in: the caches' changes. Flows out: metadata of an object, the dependents of an owner, and what to look at again
//! after a change. Never talks to the API.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use informer::{Informer, Key, Queue, Resource};
use kube::api::ObjectMeta;

/// An object of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// `apps/v1`
    pub api_version: String,
    /// `ReplicaSet`
    pub kind: String,
    /// Its name.
    pub key: Key,
}

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// An object that may be garbage, or that waits for its dependents.
    Object(Id),
    /// The dependents of an object that is gone, by its uid.
    Gone(String),
}

/// Reads the metadata of an object from one cache.
type Lookup = Box<dyn Fn(&Key) -> Option<ObjectMeta> + Send + Sync>;

/// The graph. Complete only after all caches have been added.
#[derive(Default)]
pub struct Graph {
    caches: HashMap<(String, String), Lookup>,
    dependents: Arc<Mutex<HashMap<String, HashSet<Id>>>>,
}

impl Graph {
    /// Follows a cache; changes that may concern the collector go to `queue`.
    pub fn add<K: Resource>(&mut self, cache: &Informer<K>, queue: &Queue<Work>) {
        let kind = (K::api_version(&()).into_owned(), K::kind(&()).into_owned());
        let (dependents, queue, (api_version, name)) = (self.dependents.clone(), queue.clone(), kind.clone());
        cache.on_change(Box::new(move |old, new| {
            let Some(object) = new.or(old) else { return };
            let id = Id {
                api_version: api_version.clone(),
                kind: name.clone(),
                key: Key::of(&**object),
            };
            let (old, new) = (old.map(|object| object.meta()), new.map(|object| object.meta()));
            relink(&dependents, &id, old, new);
            look_at(&id, old, new)
                .into_iter()
                .for_each(|work| queue.add(work));
        }));
        let cache = cache.clone();
        self.caches.insert(
            kind,
            Box::new(move |key| cache.get(key).map(|object| object.meta().clone())),
        );
    }

    /// The metadata of an object, if its kind is cached and it exists.
    pub fn get(&self, id: &Id) -> Option<ObjectMeta> {
        let lookup = self.caches.get(&(id.api_version.clone(), id.kind.clone()))?;
        lookup(&id.key)
    }

    /// The objects that name the object with this uid as an owner.
    pub fn dependents(&self, uid: &str) -> Vec<Id> {
        let dependents = self.dependents.lock().unwrap_or_else(PoisonError::into_inner);
        dependents.get(uid).into_iter().flatten().cloned().collect()
    }
}

fn relink(
    dependents: &Mutex<HashMap<String, HashSet<Id>>>,
    id: &Id,
    old: Option<&ObjectMeta>,
    new: Option<&ObjectMeta>,
) {
    let owners = |meta: Option<&ObjectMeta>| -> HashSet<String> {
        let owners = meta
            .and_then(|meta| meta.owner_references.as_ref())
            .into_iter()
            .flatten();
        owners.map(|owner| owner.uid.clone()).collect()
    };
    let (before, after) = (owners(old), owners(new));
    if before == after {
        return;
    }
    let mut dependents = dependents.lock().unwrap_or_else(PoisonError::into_inner);
    for uid in before.difference(&after) {
        if let Some(ids) = dependents.get_mut(uid) {
            ids.remove(id);
            if ids.is_empty() {
                dependents.remove(uid);
            }
        }
    }
    for uid in after.difference(&before) {
        dependents.entry(uid.clone()).or_default().insert(id.clone());
    }
}

/// What a change makes worth looking at.
fn look_at(id: &Id, old: Option<&ObjectMeta>, new: Option<&ObjectMeta>) -> Vec<Work> {
    let concerns = |meta: &ObjectMeta| {
        (
            meta.owner_references.clone(),
            meta.finalizers.clone(),
            meta.deletion_timestamp.clone(),
        )
    };
    let Some(new) = new else {
        let owners = old
            .and_then(|old| old.owner_references.as_ref())
            .into_iter()
            .flatten();
        let owners = owners.map(|owner| Work::Object(owner_id(owner, &id.key.namespace)));
        let gone = old.and_then(|old| old.uid.clone()).map(Work::Gone);
        return gone.into_iter().chain(owners).collect();
    };
    if old.is_some_and(|old| concerns(old) == concerns(new)) {
        return Vec::new();
    }
    vec![Work::Object(id.clone())]
}

/// The owner that a reference names, as if it lived in `namespace`.
pub fn owner_id(
    owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference,
    namespace: &str,
) -> Id {
    let is_namespaced =
        api::kinds::by_kind(&owner.api_version, &owner.kind).is_none_or(|kind| kind.namespaced);
    let namespace = if is_namespaced { namespace } else { "" };
    Id {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        key: Key::new(namespace, &owner.name),
    }
}
