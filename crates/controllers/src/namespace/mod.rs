//! The namespace controller: empties a namespace that is being deleted, then lets it go.
//!
//! Flows in: Namespaces, and the end of pods. Flows out: deletions of everything inside, pods first, and in the end the
//! finalizer `kubernetes` taken out, after which the API server removes the namespace.

use std::sync::Arc;
use std::time::Duration;

use informer::{Key, Next, Queue};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};

use crate::RequestError;
use crate::context::{Context, attempt, ignore_gone, objects};

const WORKERS: usize = 5;

/// The finalizer in `spec.finalizers` that holds a namespace until it is empty.
const FINALIZER: &str = "kubernetes";

/// When to look again for what is not gone yet and cannot be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Runs the controller until the context's stop.
pub async fn run(context: Context) {
    let queue = Queue::new("namespace");
    let changed = queue.clone();
    context.caches.namespaces.on_change(Box::new(move |_, new| {
        if let Some(namespace) = new.filter(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
            changed.add(Key::of(&**namespace));
        }
    }));
    let changed = queue.clone();
    context.caches.pods.on_change(Box::new(move |old, new| {
        if let (Some(gone), None) = (old, new) {
            changed.add(Key::new("", gone.metadata.namespace.clone().unwrap_or_default()));
        }
    }));
    let stop = context.stop.clone();
    let reconcile = move |key: Key| {
        let context = context.clone();
        async move { attempt(sync(&context, &key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

async fn sync(context: &Context, key: &Key) -> Result<Next, RequestError> {
    let Some(namespace) = context.caches.namespaces.get(key) else {
        return Ok(Next::Wait);
    };
    let finalizers = namespace
        .spec
        .iter()
        .flat_map(|spec| spec.finalizers.iter().flatten());
    let is_ours = finalizers.clone().any(|finalizer| finalizer == FINALIZER);
    if namespace.metadata.deletion_timestamp.is_none() || !is_ours {
        return Ok(Next::Wait);
    }
    let (pods, others): (Vec<_>, Vec<_>) = api::kinds::kinds()
        .iter()
        .filter(|kind| kind.namespaced && kind.stored_as.is_none())
        .partition(|kind| kind.kind == "Pod");
    for kinds in [pods, others] {
        if !empty(context, &kinds, &key.name).await? {
            return Ok(Next::After(LOOK_AGAIN));
        }
    }
    finalize(context, namespace).await?;
    Ok(Next::Wait)
}

/// Deletes all objects of these kinds; returns whether none is left.
async fn empty(context: &Context, kinds: &[&api::Kind], namespace: &str) -> Result<bool, RequestError> {
    let mut is_empty = true;
    for kind in kinds {
        let objects = objects(context.client.clone(), kind, namespace);
        let what = |name: &str| format!("{} {namespace}/{name}", kind.kind);
        let list = objects.list_metadata(&ListParams::default()).await;
        let list = list.map_err(|source| RequestError::Read {
            what: what("*"),
            source,
        })?;
        for object in &list.items {
            if object.metadata.deletion_timestamp.is_none() {
                let name = object.metadata.name.as_deref().unwrap_or_default();
                match objects.delete(name, &DeleteParams::background()).await {
                    Ok(_) => {}
                    Err(source) => ignore_gone(RequestError::Delete {
                        what: what(name),
                        source,
                    })?,
                }
            }
        }
        if !list.items.is_empty() {
            let left = objects.list_metadata(&ListParams::default().limit(1)).await;
            let left = left.map_err(|source| RequestError::Read {
                what: what("*"),
                source,
            })?;
            is_empty &= left.items.is_empty();
        }
    }
    Ok(is_empty)
}

async fn finalize(context: &Context, namespace: Arc<Namespace>) -> Result<(), RequestError> {
    let mut finalized = (*namespace).clone();
    if let Some(finalizers) = finalized.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    let name = finalized.metadata.name.clone().unwrap_or_default();
    let what = || format!("finalizers of Namespace {name}");
    let api: Api<Namespace> = Api::all(context.client.clone());
    match api
        .replace_subresource("finalize", &name, &PostParams::default(), &finalized)
        .await
    {
        Ok(_) => Ok(()),
        Err(source) => {
            let error = RequestError::Update { what: what(), source };
            if error.is_not_found() { Ok(()) } else { Err(error) }
        }
    }
}
