//! What every loop is given: the API, the caches, and the way to write so that one's own writes are seen.
//!
//! Each write waits until the cache shows it. So a sync never decides on a state from before its own last decision, and
//! no loop needs to count what it expects to see. Never decides anything itself.

use std::future::Future;
use std::time::Duration;

use informer::{Informer, Key, Next, Resource};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
    PropagationPolicy,
};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::metadata::Metadata;
use crate::{Caches, RequestError};

/// After a conflict the cache is about to show what the other one wrote.
const AFTER_CONFLICT: Duration = Duration::from_millis(2);

/// Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub caches: Caches,
    pub metadata: Metadata,
    pub stop: CancellationToken,
}

/// A kind that the loops write: namespaced, in a cache.
pub trait Written: Resource + kube::Resource<Scope = NamespaceResourceScope> + Serialize {}
impl<K: Resource + kube::Resource<Scope = NamespaceResourceScope> + Serialize> Written for K {}

impl Context {
    fn api<K: Written>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates an object.
    pub async fn create<K: Written>(
        &self,
        cache: &Informer<K>,
        namespace: &str,
        object: &K,
    ) -> Result<K, RequestError> {
        let result = self.api(namespace).create(&PostParams::default(), object).await;
        let created = result.map_err(|source| RequestError::Create {
            what: describe(object),
            source,
        })?;
        self.seen(cache, &created).await;
        Ok(created)
    }

    /// Changes an object by a JSON merge patch. Put `metadata.resourceVersion` in it where the decision depends on the version read.
    pub async fn patch<K: Written>(
        &self,
        cache: &Informer<K>,
        old: &K,
        patch: Value,
    ) -> Result<K, RequestError> {
        let key = Key::of(old);
        let api = self.api::<K>(&key.namespace);
        let result = api
            .patch(&key.name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        let written = result.map_err(|source| RequestError::Update {
            what: describe(old),
            source,
        })?;
        self.seen(cache, &written).await;
        Ok(written)
    }

    /// Writes a whole object; refused if it has been written since it was read.
    pub async fn replace<K: Written>(&self, cache: &Informer<K>, object: &K) -> Result<K, RequestError> {
        let key = Key::of(object);
        let result = self
            .api::<K>(&key.namespace)
            .replace(&key.name, &PostParams::default(), object)
            .await;
        let written = result.map_err(|source| RequestError::Update {
            what: describe(object),
            source,
        })?;
        self.seen(cache, &written).await;
        Ok(written)
    }

    /// Writes the whole status of an object; refused if the object has been written since it was read.
    pub async fn replace_status<K: Written>(
        &self,
        cache: &Informer<K>,
        object: &K,
    ) -> Result<K, RequestError> {
        let key = Key::of(object);
        let result = self
            .api::<K>(&key.namespace)
            .replace_status(&key.name, &PostParams::default(), object)
            .await;
        let written = result.map_err(|source| RequestError::Update {
            what: format!("status of {}", describe(object)),
            source,
        })?;
        self.seen(cache, &written).await;
        Ok(written)
    }

    /// Changes the status of an object by a JSON merge patch.
    pub async fn patch_status<K: Written>(
        &self,
        cache: &Informer<K>,
        old: &K,
        status: Value,
    ) -> Result<K, RequestError> {
        let key = Key::of(old);
        let patch = Patch::Merge(serde_json::json!({ "status": status }));
        let result = self
            .api::<K>(&key.namespace)
            .patch_status(&key.name, &PatchParams::default(), &patch)
            .await;
        let written = result.map_err(|source| RequestError::Update {
            what: format!("status of {}", describe(old)),
            source,
        })?;
        self.seen(cache, &written).await;
        Ok(written)
    }

    /// Deletes exactly this object, not a later one of its name. One that is gone already counts as deleted.
    pub async fn delete<K: Written>(&self, cache: &Informer<K>, object: &K) -> Result<(), RequestError> {
        let key = Key::of(object);
        let result = self
            .api::<K>(&key.namespace)
            .delete(&key.name, &delete_params(object, None))
            .await;
        match result {
            Ok(either) => match either.left() {
                // It is on its way out; or it was a pod, of which the answer has the revision of the deletion.
                Some(deleted) => self.seen(cache, &deleted).await,
                None => self.gone(cache, object).await,
            },
            Err(source) => {
                ignore_gone(RequestError::Delete {
                    what: describe(object),
                    source,
                })?;
                self.gone(cache, object).await;
            }
        }
        Ok(())
    }

    /// Waits until the cache does not show the object any more.
    async fn gone<K: Resource>(&self, cache: &Informer<K>, object: &K) {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        tokio::select! {
            () = cache.gone(&Key::of(object), uid) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Asks the API itself whether an owner still exists and stays: a cache may show one that is gone, which must not adopt
    /// anything.
    pub async fn still_exists<K: Written>(&self, owner: &K) -> Result<bool, RequestError> {
        let key = Key::of(owner);
        let live = self.api::<K>(&key.namespace).get_metadata_opt(&key.name).await;
        let live = live.map_err(|source| RequestError::Read {
            what: describe(owner),
            source,
        })?;
        Ok(live.is_some_and(|live| {
            live.metadata.uid == owner.meta().uid && live.metadata.deletion_timestamp.is_none()
        }))
    }

    /// Waits until the cache shows `written` or something later.
    pub async fn seen<K: Resource>(&self, cache: &Informer<K>, written: &K) {
        let Some(version) = &written.meta().resource_version else {
            return;
        };
        tokio::select! {
            () = cache.caught_up(&Key::of(written), version) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Parameters to delete exactly this object.
pub fn delete_params<K: kube::Resource>(object: &K, propagation: Option<PropagationPolicy>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.meta().uid.clone(),
            resource_version: None,
        }),
        propagation_policy: propagation,
        ..DeleteParams::default()
    }
}

/// Deleting what is gone, or what has been replaced by another object of that name, is done already.
pub fn ignore_gone(error: RequestError) -> Result<(), RequestError> {
    if error.is_not_found() || error.is_conflict() {
        Ok(())
    } else {
        Err(error)
    }
}

/// Runs one sync; after a conflict it is repeated as soon as the cache had time to move on, and nobody is alarmed.
pub async fn attempt(sync: impl Future<Output = Result<Next, RequestError>>) -> Result<Next, RequestError> {
    match sync.await {
        Err(error) if error.is_conflict() => {
            tracing::debug!(%error, "conflict, trying again");
            Ok(Next::After(AFTER_CONFLICT))
        }
        result => result,
    }
}

/// Kind and name, for errors.
pub fn describe<K: kube::Resource<DynamicType = ()>>(object: &K) -> String {
    let kind = K::kind(&());
    match &object.meta().generate_name {
        Some(prefix) if object.meta().name.is_none() => format!("{kind} {prefix}"),
        _ => format!("{kind} {}", Key::of(object)),
    }
}

/// The objects of a kind; in one namespace if the kind has that.
pub fn objects(client: Client, kind: &api::Kind, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    };
    if kind.namespaced {
        Api::namespaced_with(client, namespace, &resource)
    } else {
        Api::all_with(client, &resource)
    }
}
