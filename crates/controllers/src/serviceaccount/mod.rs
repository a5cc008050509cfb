//! What every namespace is born with: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.
//!
//! Flows in: Namespaces, deletions of these objects, and the CA certificate. Flows out: both objects, in namespaces that
//! lack them.

use std::sync::Arc;

use informer::{Informer, Key, Next, Queue, Resource};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::{Metadata, NamespaceResourceScope};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RequestError;
use crate::context::{Context, attempt, describe};

const WORKERS: usize = 2;

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const NOTE: &str = "Contains a CA bundle that can be used to verify the kube-apiserver.";

/// Runs the controller until the context's stop.
pub async fn run(context: Context, authority: String) {
    let authority: Arc<str> = authority.into();
    let queue = Queue::new("serviceaccount");
    let changed = queue.clone();
    context.caches.namespaces.on_change(Box::new(move |_, new| {
        new.into_iter()
            .for_each(|namespace| changed.add(Key::of(&**namespace)));
    }));
    restore(&context.metadata.service_accounts, ACCOUNT, &queue);
    restore(&context.metadata.config_maps, ROOT_CA, &queue);
    let stop = context.stop.clone();
    let reconcile = move |key: Key| {
        let (context, authority) = (context.clone(), authority.clone());
        async move { attempt(sync(&context, &authority, &key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

/// Asks for a look at the namespace in which an object of this name was deleted.
fn restore<K: Resource>(cache: &Informer<K>, name: &'static str, queue: &Queue<Key>) {
    let queue = queue.clone();
    cache.on_change(Box::new(move |old, new| {
        let gone = old.filter(|gone| new.is_none() && gone.meta().name.as_deref() == Some(name));
        let namespace = gone.and_then(|gone| gone.meta().namespace.clone());
        namespace
            .into_iter()
            .for_each(|namespace| queue.add(Key::new("", namespace)));
    }));
}

async fn sync(context: &Context, authority: &str, key: &Key) -> Result<Next, RequestError> {
    let is_there = |namespace: &Arc<Namespace>| namespace.metadata.deletion_timestamp.is_none();
    if context.caches.namespaces.get(key).filter(is_there).is_none() {
        return Ok(Next::Wait);
    }
    let metadata = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(key.name.clone()),
        ..ObjectMeta::default()
    };
    ensure(
        context,
        ServiceAccount {
            metadata: metadata(ACCOUNT),
            ..ServiceAccount::default()
        },
    )
    .await?;
    let mut root_ca = ConfigMap {
        metadata: metadata(ROOT_CA),
        data: Some([("ca.crt".to_owned(), authority.to_owned())].into()),
        ..ConfigMap::default()
    };
    root_ca.metadata.annotations = Some([("kubernetes.io/description".to_owned(), NOTE.to_owned())].into());
    ensure(context, root_ca).await?;
    Ok(Next::Wait)
}

/// Creates an object unless one of its name exists.
async fn ensure<K>(context: &Context, object: K) -> Result<(), RequestError>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let namespace = object.metadata().namespace.as_deref().unwrap_or_default();
    let name = object.metadata().name.as_deref().unwrap_or_default();
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let existing = api.get_metadata_opt(name).await;
    let what = || describe(&object);
    if existing
        .map_err(|source| RequestError::Read { what: what(), source })?
        .is_some()
    {
        return Ok(());
    }
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(source) => {
            let error = RequestError::Create { what: what(), source };
            let is_fine = error.already_exists() || error.namespace_is_terminating();
            if is_fine { Ok(()) } else { Err(error) }
        }
    }
}
