//! The endpoints of Services: EndpointSlices, and the older Endpoints.
//!
//! Flows in: Services and pods. Flows out: EndpointSlices with each pod's address, real port and condition, and the same as
//! Endpoints. It stands between a pod's readiness and its traffic, so each change of a slice is written at once; the two kinds
//! have loops of their own, so that one never waits for the other. For a Service without selector it is the other way round:
//! Endpoints made by hand are mirrored to slices. Leaves slices of others alone.

mod backends;
mod labels;
mod legacy;
mod mirror;
mod slices;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api::names::SERVICE_NAME;
use futures::{StreamExt, stream};
use informer::{Informer, Key, Next, Queue};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;

use crate::RequestError;
use crate::context::{Context, attempt};

const WORKERS: usize = 5;

/// Slices of one Service that are written at the same time: each pod with a port of its own has one, and the store
/// commits what comes together as one group.
const WRITES: usize = 32;

/// How long changes of Endpoints are gathered. They hold all pods of a Service, so that a large rollout would write the
/// whole list once for every pod; and nothing here routes by them.
const GATHER: Duration = Duration::from_millis(100);

/// Services whose deletion was seen and whose Endpoints are to follow, whoever made them. Endpoints that were made before
/// their Service stay.
type Deleted = Mutex<HashSet<Key>>;

/// Runs the controller of EndpointSlices until the context's stop.
pub async fn run(context: Context) {
    let queue = Queue::new("endpointslice");
    let changed = queue.clone();
    watch(&context, move |key| changed.add(key));
    let changed = queue.clone();
    context
        .caches
        .endpoint_slices
        .on_change(Box::new(move |old, new| {
            let key = new.or(old).and_then(|slice| service_of(slice));
            key.into_iter().for_each(|key| changed.add(key));
        }));
    let stop = context.stop.clone();
    let reconcile = move |key: Key| {
        let context = context.clone();
        async move { attempt(sync_slices(&context, &key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

/// Runs the controller of Endpoints until the context's stop.
pub async fn run_endpoints(context: Context) {
    let queue = Queue::new("endpoints");
    let changed = queue.clone();
    watch(&context, move |key| changed.add_after(key, GATHER));
    let changed = queue.clone();
    context.caches.endpoints.on_change(Box::new(move |old, new| {
        let keys = new.or(old).into_iter().map(|endpoints| Key::of(&**endpoints));
        keys.for_each(|key| changed.add_after(key, GATHER));
    }));
    let deleted = Arc::new(Deleted::default());
    let (seen, changed) = (deleted.clone(), queue.clone());
    context.caches.services.on_change(Box::new(move |old, new| {
        if let (Some(service), None) = (old, new) {
            let key = Key::of(&**service);
            seen.lock().insert(key.clone());
            changed.add(key);
        }
    }));
    let stop = context.stop.clone();
    let reconcile = move |key: Key| {
        let (context, deleted) = (context.clone(), deleted.clone());
        async move { attempt(sync_endpoints(&context, &deleted, &key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

/// Runs the controller that mirrors Endpoints until the context's stop.
pub async fn run_mirror(context: Context) {
    let queue = Queue::new("endpointslicemirroring");
    let changed = queue.clone();
    context.caches.endpoints.on_change(Box::new(move |old, new| {
        let keys = new.or(old).into_iter().map(|endpoints| Key::of(&**endpoints));
        keys.for_each(|key| changed.add(key));
    }));
    let changed = queue.clone();
    context.caches.services.on_change(Box::new(move |old, new| {
        let keys = new.or(old).into_iter().map(|service| Key::of(&**service));
        keys.for_each(|key| changed.add(key));
    }));
    let changed = queue.clone();
    let slices = &context.caches.endpoint_slices;
    slices.on_change(Box::new(move |old, new| {
        let slice = new.or(old).filter(|slice| mirror::is_managed(slice));
        slice
            .and_then(|slice| service_of(slice))
            .into_iter()
            .for_each(|key| changed.add(key));
    }));
    let stop = context.stop.clone();
    let reconcile = move |key: Key| {
        let context = context.clone();
        async move { attempt(sync_mirror(&context, &key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

/// The Service that a slice is about.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(Key::new(
        slice.metadata.namespace.clone().unwrap_or_default(),
        name,
    ))
}

/// Asks for a look at a Service whenever it changes, or a pod that it selects or selected.
fn watch(context: &Context, ask: impl Fn(Key) + Clone + Send + Sync + 'static) {
    let changed = ask.clone();
    context.caches.services.on_change(Box::new(move |old, new| {
        new.or(old)
            .into_iter()
            .for_each(|service| changed(Key::of(&**service)));
    }));
    let services = context.caches.services.clone();
    context.caches.pods.on_change(Box::new(move |old, new| {
        if !backends::is_relevant(old.map(|pod| &**pod), new.map(|pod| &**pod)) {
            return;
        }
        let pods = [old, new].into_iter().flatten();
        pods.for_each(|pod| selecting(&services, pod).for_each(&ask));
    }));
}

/// The Services that select a pod.
fn selecting(services: &Informer<Service>, pod: &Pod) -> impl Iterator<Item = Key> {
    let services = services.in_namespace(pod.metadata.namespace.as_deref().unwrap_or_default());
    services
        .into_iter()
        .filter(|service| backends::selects(service, pod))
        .map(|service| Key::of(&*service))
}

async fn sync_slices(context: &Context, key: &Key) -> Result<Next, RequestError> {
    let cache = &context.caches.endpoint_slices;
    let mut existing = cache.indexed(&format!("service/{}/{}", key.namespace, key.name));
    existing.retain(|slice| slices::is_managed(slice) && slice.metadata.deletion_timestamp.is_none());
    let Some(service) = context.caches.services.get(key) else {
        for slice in existing {
            context.delete(cache, &*slice).await?;
        }
        return Ok(Next::Wait);
    };
    if backends::selector(&service).is_none() {
        return Ok(Next::Wait);
    }
    let groups = backends::groups(&service, &context.caches.pods.in_namespace(&key.namespace));
    write_slices(context, &key.namespace, slices::plan(&service, groups, &existing)).await?;
    Ok(Next::Wait)
}

async fn sync_mirror(context: &Context, key: &Key) -> Result<Next, RequestError> {
    let caches = &context.caches;
    let mut existing = caches
        .endpoint_slices
        .indexed(&format!("service/{}/{}", key.namespace, key.name));
    existing.retain(|slice| mirror::is_managed(slice) && slice.metadata.deletion_timestamp.is_none());
    let (service, endpoints) = (caches.services.get(key), caches.endpoints.get(key));
    let actions = mirror::plan(service.as_deref(), endpoints.as_deref(), &existing);
    write_slices(context, &key.namespace, actions).await?;
    Ok(Next::Wait)
}

async fn write_slices(
    context: &Context,
    namespace: &str,
    actions: Vec<slices::Action>,
) -> Result<(), RequestError> {
    let (deletions, writes): (Vec<_>, Vec<_>) = actions
        .into_iter()
        .partition(|action| matches!(action, slices::Action::Delete(_)));
    // Deletions last: what moves to another slice is there before it is not here.
    for step in [writes, deletions] {
        let results: Vec<_> = stream::iter(step)
            .map(|action| write_slice(context, namespace, action))
            .buffer_unordered(WRITES)
            .collect()
            .await;
        // One that fails holds up no other.
        results.into_iter().collect::<Result<(), RequestError>>()?;
    }
    Ok(())
}

async fn write_slice(context: &Context, namespace: &str, action: slices::Action) -> Result<(), RequestError> {
    let cache = &context.caches.endpoint_slices;
    match action {
        slices::Action::Create(slice) => match context.create(cache, namespace, &slice).await {
            Err(error) if error.namespace_is_terminating() => Ok(()),
            result => result.map(drop),
        },
        slices::Action::Replace(slice) => context.replace(cache, &slice).await.map(drop),
        slices::Action::Delete(slice) => context.delete(cache, &*slice).await,
    }
}

async fn sync_endpoints(context: &Context, deleted: &Deleted, key: &Key) -> Result<Next, RequestError> {
    let cache = &context.caches.endpoints;
    let existing = cache.get(key);
    let Some(service) = context.caches.services.get(key) else {
        let goes = |endpoints: &Endpoints| legacy::is_managed(endpoints) || deleted.lock().contains(key);
        if let Some(endpoints) = existing.filter(|endpoints| goes(endpoints)) {
            context.delete(cache, &*endpoints).await?;
        }
        deleted.lock().remove(key);
        return Ok(Next::Wait);
    };
    deleted.lock().remove(key);
    if backends::selector(&service).is_none() {
        return Ok(Next::Wait);
    }
    let groups = backends::groups(&service, &context.caches.pods.in_namespace(&key.namespace));
    match legacy::plan(&service, &groups, existing.as_deref()) {
        Some(legacy::Action::Create(endpoints)) => {
            match context.create(cache, &key.namespace, &endpoints).await {
                Err(error) if error.namespace_is_terminating() => {}
                result => drop(result?),
            }
        }
        Some(legacy::Action::Replace(endpoints)) => drop(context.replace(cache, &endpoints).await?),
        None => {}
    }
    Ok(Next::Wait)
}
