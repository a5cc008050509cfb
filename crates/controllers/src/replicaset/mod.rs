//! The ReplicaSet controller: keeps the number of its pods at the number wanted.
//!
//! Flows in: ReplicaSets and pods. Flows out: pods created and deleted, the ReplicaSet's status, Events. Each sync ends
//! only after the cache shows its own writes, so that a status never counts pods that are being deleted.

mod create;
mod ranking;
mod status;

use std::sync::Arc;

use api::pods;
use futures::future::join_all;
use informer::{Key, Next, Queue, Recorder, Type};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;

use crate::RequestError;
use crate::context::{Context, attempt};
use crate::owner::{self, Claim, Matcher};
use status::Failure;

const WORKERS: usize = 5;

/// The most pods that one sync creates or deletes.
const BURST: usize = 500;

/// Runs the controller until the context's stop.
pub async fn run(context: Context) {
    let queue = Queue::new("replicaset");
    watch(&context, &queue);
    let recorder = Recorder::new(context.client.clone(), "replicaset-controller", "");
    let stop = context.stop.clone();
    let controller = Arc::new(Controller { context, recorder });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { attempt(controller.sync(&key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

fn watch(context: &Context, queue: &Queue<Key>) {
    let changed = queue.clone();
    context.caches.replica_sets.on_change(Box::new(move |old, new| {
        new.or(old)
            .into_iter()
            .for_each(|set| changed.add(Key::of(&**set)));
    }));
    let (changed, sets) = (queue.clone(), context.caches.replica_sets.clone());
    context.caches.pods.on_change(Box::new(move |old, new| {
        for pod in [old, new].into_iter().flatten() {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            match pods::controller_of(&pod.metadata) {
                Some(owner) if owner.kind == "ReplicaSet" => changed.add(Key::new(namespace, &owner.name)),
                Some(_) => {}
                None => sets
                    .in_namespace(namespace)
                    .iter()
                    .filter(|set| matcher(set).matches(&pod.metadata))
                    .for_each(|set| changed.add(Key::of(&**set))),
            }
        }
    }));
}

fn matcher(set: &ReplicaSet) -> Matcher {
    set.spec
        .as_ref()
        .map(|spec| Matcher::new(&spec.selector))
        .unwrap_or_default()
}

/// What the syncs share.
struct Controller {
    context: Context,
    recorder: Recorder,
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(set) = self.context.caches.replica_sets.get(key) else {
            return Ok(Next::Wait);
        };
        self.claim(&set).await?;
        let result = if set.metadata.deletion_timestamp.is_none() {
            self.scale(&set).await
        } else {
            Ok(())
        };
        let failure = result.as_ref().err().map(|(failure, _)| failure);
        let now = Timestamp::now();
        let owned = self.owned(&set);
        let wanted = status::calculate(&set, &owned, failure, truncated(now));
        if set.status.as_ref() != Some(&wanted) {
            let cache = &self.context.caches.replica_sets;
            self.context
                .patch_status(cache, &*set, status::patch(&wanted))
                .await?;
        }
        match result {
            Ok(()) => Ok(status::next_available(&set, &owned, now).map_or(Next::Wait, Next::After)),
            Err((_, error)) => Err(error),
        }
    }

    fn owned(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        self.context.caches.pods.indexed(&format!("owner/{uid}"))
    }

    /// Creates missing pods, deletes superfluous ones.
    async fn scale(&self, set: &Arc<ReplicaSet>) -> Result<(), (Failure, RequestError)> {
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let wanted = usize::try_from(wanted).unwrap_or(0);
        let active: Vec<_> = self
            .owned(set)
            .into_iter()
            .filter(|pod| pods::is_active(pod))
            .collect();
        if active.len() < wanted {
            let missing = (wanted - active.len()).min(BURST);
            let result = self.create(set, missing).await;
            return result.map_err(|error| (failure("FailedCreate", &error), error));
        }
        let superfluous = (active.len() - wanted).min(BURST);
        if superfluous == 0 {
            return Ok(());
        }
        let siblings = self.siblings(set);
        let doomed = ranking::first_to_delete(active, &siblings, superfluous, Timestamp::now());
        let results = join_all(doomed.iter().map(|pod| self.delete(set, pod))).await;
        let result: Result<(), RequestError> = results.into_iter().collect();
        result.map_err(|error| (failure("FailedDelete", &error), error))
    }

    async fn delete(&self, set: &ReplicaSet, pod: &Arc<Pod>) -> Result<(), RequestError> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match self.context.delete(&self.context.caches.pods, &**pod).await {
            Ok(()) => {
                self.event(
                    set,
                    Type::Normal,
                    "SuccessfulDelete",
                    format!("Deleted pod: {name}"),
                );
                Ok(())
            }
            Err(error) => {
                let message = format!("Error deleting: {}", error.sentence());
                self.event(set, Type::Warning, "FailedDelete", message);
                Err(error)
            }
        }
    }

    /// The active pods of all ReplicaSets with the same owner.
    fn siblings(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let sets = match pods::controller_of(&set.metadata) {
            Some(owner) => self
                .context
                .caches
                .replica_sets
                .indexed(&format!("owner/{}", owner.uid)),
            None => vec![Arc::new(set.clone())],
        };
        let owned = sets.iter().flat_map(|set| self.owned(set));
        owned.filter(|pod| pods::is_active(pod)).collect()
    }

    /// Adopts and releases pods. What was adopted shows up as owned in the cache.
    async fn claim(&self, set: &Arc<ReplicaSet>) -> Result<(), RequestError> {
        let cache = &self.context.caches.pods;
        let matcher = matcher(set);
        let mut may_adopt = None;
        for pod in cache.in_namespace(set.metadata.namespace.as_deref().unwrap_or_default()) {
            match owner::claim(&set.metadata, &matcher, &pod.metadata) {
                Claim::Own | Claim::Leave => {}
                Claim::Release => {
                    let is_ours = |owner: &str| Some(owner) == set.metadata.uid.as_deref();
                    let patch = owner::without_owners(&pod.metadata, |owner| is_ours(&owner.uid));
                    self.context.patch(cache, &*pod, patch).await?;
                }
                Claim::Adopt if !pods::is_active(&pod) => {}
                Claim::Adopt => {
                    if may_adopt.is_none() {
                        may_adopt = Some(self.context.still_exists(&**set).await?);
                    }
                    if may_adopt == Some(true) {
                        let patch = owner::adoption(&pod.metadata, owner::reference_to(&**set));
                        self.context.patch(cache, &*pod, patch).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn event(&self, set: &ReplicaSet, type_: Type, reason: &str, message: String) {
        self.recorder.event(&set.object_ref(&()), type_, reason, message);
    }
}

fn failure(reason: &'static str, error: &RequestError) -> Failure {
    Failure {
        reason,
        message: error.sentence(),
    }
}

/// Times in a status are whole seconds.
fn truncated(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
