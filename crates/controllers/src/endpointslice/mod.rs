//! The endpoints of Services: EndpointSlices, and the older Endpoints.
//!
//! Flows in: Services and pods. Flows out: EndpointSlices with each pod's address, real port and condition, and the same as
//! Endpoints. It stands between a pod's readiness and its traffic, so every change is written at once; the two kinds
//! have loops of their own, so that one never waits for the other. Leaves Services without selector, and slices of others, alone.

mod backends;
mod labels;
mod legacy;
mod slices;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use api::labels::Selector;
use api::names::SERVICE_NAME;
use informer::{Informer, Key, Next, Queue};
use k8s_openapi::api::core::v1::{Pod, Service};

use crate::RequestError;
use crate::context::{Context, attempt};

const WORKERS: usize = 5;

/// Runs the controller of EndpointSlices until the context's stop.
pub async fn run(context: Context) {
    let queue = Queue::new("endpointslice");
    watch(&context, &queue);
    let changed = queue.clone();
    context
        .caches
        .endpoint_slices
        .on_change(Box::new(move |old, new| {
            let slice = new.or(old);
            let labels = slice.and_then(|slice| slice.metadata.labels.as_ref());
            if let (Some(slice), Some(name)) = (slice, labels.and_then(|labels| labels.get(SERVICE_NAME))) {
                changed.add(Key::new(
                    slice.metadata.namespace.clone().unwrap_or_default(),
                    name,
                ));
            }
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
    watch(&context, &queue);
    let changed = queue.clone();
    context.caches.endpoints.on_change(Box::new(move |old, new| {
        new.or(old)
            .into_iter()
            .for_each(|endpoints| changed.add(Key::of(&**endpoints)));
    }));
    let stop = context.stop.clone();
    let reconcile = move |key: Key| {
        let context = context.clone();
        async move { attempt(sync_endpoints(&context, &key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

/// Asks for a look at a Service whenever it changes, or a pod that it selects or selected.
fn watch(context: &Context, queue: &Queue<Key>) {
    let changed = queue.clone();
    context.caches.services.on_change(Box::new(move |old, new| {
        new.or(old)
            .into_iter()
            .for_each(|service| changed.add(Key::of(&**service)));
    }));
    let (changed, services) = (queue.clone(), context.caches.services.clone());
    context.caches.pods.on_change(Box::new(move |old, new| {
        for pod in [old, new].into_iter().flatten() {
            selecting(&services, pod).for_each(|key| changed.add(key));
        }
    }));
}

/// The Services that select a pod.
fn selecting(services: &Informer<Service>, pod: &Pod) -> impl Iterator<Item = Key> {
    let labels = pod.metadata.labels.as_ref();
    let none = BTreeMap::new();
    let selects = |service: &Service| {
        let selector = service.spec.as_ref().and_then(backends::selector);
        selector.is_some_and(|selector| Selector::from_labels(selector).matches(labels.unwrap_or(&none)))
    };
    let services = services.in_namespace(pod.metadata.namespace.as_deref().unwrap_or_default());
    let keys: Vec<_> = services
        .iter()
        .filter(|service| selects(service))
        .map(|service| Key::of(&**service))
        .collect();
    keys.into_iter()
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
    if service.spec.as_ref().and_then(backends::selector).is_none() {
        return Ok(Next::Wait);
    }
    let groups = backends::groups(&service, &context.caches.pods.in_namespace(&key.namespace));
    for action in slices::plan(&service, groups, &existing) {
        match action {
            slices::Action::Create(slice) => match context.create(cache, &key.namespace, &slice).await {
                Err(error) if error.namespace_is_terminating() => return Ok(Next::Wait),
                result => drop(result?),
            },
            slices::Action::Replace(slice) => drop(context.replace(cache, &slice).await?),
            slices::Action::Delete(slice) => context.delete(cache, &*slice).await?,
        }
    }
    Ok(Next::Wait)
}

async fn sync_endpoints(context: &Context, key: &Key) -> Result<Next, RequestError> {
    let cache = &context.caches.endpoints;
    let existing = cache.get(key);
    let Some(service) = context.caches.services.get(key) else {
        if let Some(endpoints) = existing.filter(|endpoints| legacy::is_managed(endpoints)) {
            context.delete(cache, &*endpoints).await?;
        }
        return Ok(Next::Wait);
    };
    if service.spec.as_ref().and_then(backends::selector).is_none() {
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
