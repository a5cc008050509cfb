//! The namespace controller: empties a namespace that is being deleted, then lets it go.
//!
//! Flows in: Namespaces, and the end of pods. Flows out: deletions of everything inside, pods first; conditions that say
//! what is left; and in the end the finalizer `kubernetes` taken out, after which the API server removes the namespace.

mod conditions;

use std::sync::Arc;
use std::time::Duration;

use api::pods;
use informer::{Key, Next, Queue};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectList, PartialObjectMeta, PostParams};

use crate::RequestError;
use crate::context::{Context, attempt, ignore_gone, objects};
use conditions::Left;

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
    let mut left = Left::default();
    let mut failure = None;
    for kinds in [pods, others] {
        for kind in kinds {
            if let Err(error) = empty(context, kind, &namespace, &mut left).await {
                left.failed(error.sentence());
                failure = failure.or(Some(error));
            }
        }
        if !left.is_empty() {
            break;
        }
    }
    let is_empty = left.is_empty();
    let namespace = tell(context, namespace, &left).await?;
    match failure {
        Some(error) => Err(error),
        None if is_empty => finalize(context, namespace).await.map(|()| Next::Wait),
        None => Ok(Next::After(LOOK_AGAIN)),
    }
}

/// Deletes all objects of a kind, and notes those that are still there.
async fn empty(
    context: &Context,
    kind: &api::Kind,
    namespace: &Namespace,
    left: &mut Left,
) -> Result<(), RequestError> {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let objects = objects(context.client.clone(), kind, name);
    let what = |object: &str| format!("{} {name}/{object}", kind.kind);
    let list = async || -> Result<ObjectList<PartialObjectMeta<_>>, RequestError> {
        let list = objects.list_metadata(&ListParams::default()).await;
        list.map_err(|source| RequestError::Read {
            what: what("*"),
            source,
        })
    };
    let found = list().await?.items;
    for object in &found {
        if object.metadata.deletion_timestamp.is_none() {
            let object = object.metadata.name.as_deref().unwrap_or_default();
            match objects.delete(object, &DeleteParams::background()).await {
                Ok(_) => {}
                Err(source) => ignore_gone(RequestError::Delete {
                    what: what(object),
                    source,
                })?,
            }
        }
    }
    if !found.is_empty() {
        let still = list().await?.items;
        let still: Vec<_> = still.iter().map(|object| &object.metadata).collect();
        let in_time = kind.kind == "Pod" && pods_may_stay(context, namespace);
        left.add(kind, name, &still, in_time);
    }
    Ok(())
}

/// Whether the longest grace of the namespace's pods, counted from its deletion, is not over.
fn pods_may_stay(context: &Context, namespace: &Namespace) -> bool {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let pods = context.caches.pods.in_namespace(name);
    let running = pods
        .iter()
        .filter(|pod| !matches!(pods::phase(pod), "Succeeded" | "Failed"));
    let graces = running.filter_map(|pod| pod.spec.as_ref()?.termination_grace_period_seconds);
    let grace = SignedDuration::from_secs(graces.max().unwrap_or(0));
    let deleted = namespace.metadata.deletion_timestamp.as_ref();
    deleted.is_some_and(|deleted| Timestamp::now().duration_since(deleted.0) < grace)
}

/// Says in the namespace's status what is left; returns the namespace as it is then.
async fn tell(
    context: &Context,
    namespace: Arc<Namespace>,
    left: &Left,
) -> Result<Arc<Namespace>, RequestError> {
    let old = namespace
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let Some(conditions) = left.conditions(old.unwrap_or_default(), now) else {
        return Ok(namespace);
    };
    let mut told = (*namespace).clone();
    told.status.get_or_insert_default().conditions = Some(conditions);
    let name = told.metadata.name.clone().unwrap_or_default();
    let api: Api<Namespace> = Api::all(context.client.clone());
    let written = api.replace_status(&name, &PostParams::default(), &told).await;
    let written = written.map_err(|source| RequestError::Update {
        what: format!("status of Namespace {name}"),
        source,
    })?;
    context.seen(&context.caches.namespaces, &written).await;
    Ok(Arc::new(written))
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
