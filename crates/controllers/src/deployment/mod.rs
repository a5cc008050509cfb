//! The Deployment controller: moves pods from one template to the next through ReplicaSets.
//!
//! Flows in: Deployments, their ReplicaSets, and (for the strategy Recreate) pods. Flows out: ReplicaSets created, scaled
//! and deleted; the Deployment's revision and status; Events. `plan` decides, this module reads and `write` writes.
//! Never creates or deletes a pod.

mod conditions;
mod history;
mod limits;
mod plan;
mod replica_set;
mod revision;
mod rolling;
mod scaling;
mod sets;
mod status;
mod write;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod traces;

use std::collections::BTreeSet;
use std::sync::Arc;

use api::pods;
use informer::{Key, Next, Queue, Recorder};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use crate::RequestError;
use crate::context::{Context, attempt};
use crate::owner::{self, Claim, Matcher};
use plan::{Snapshot, plan};

const WORKERS: usize = 5;

/// Runs the controller until the context's stop.
pub async fn run(context: Context) {
    let queue = Queue::new("deployment");
    watch(&context, &queue);
    let recorder = Recorder::new(context.client.clone(), "deployment-controller", "");
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
    context.caches.deployments.on_change(Box::new(move |old, new| {
        new.or(old)
            .into_iter()
            .for_each(|deployment| changed.add(Key::of(&**deployment)));
    }));
    let (changed, deployments) = (queue.clone(), context.caches.deployments.clone());
    context.caches.replica_sets.on_change(Box::new(move |old, new| {
        for set in [old, new].into_iter().flatten() {
            match owner_key(set) {
                Some(key) => changed.add(key),
                None => deployments
                    .in_namespace(set.metadata.namespace.as_deref().unwrap_or_default())
                    .iter()
                    .filter(|deployment| matcher(deployment).matches(&set.metadata))
                    .for_each(|deployment| changed.add(Key::of(&**deployment))),
            }
        }
    }));
    let (changed, sets) = (queue.clone(), context.caches.replica_sets.clone());
    context.caches.pods.on_change(Box::new(move |old, new| {
        let ended = new.is_none_or(|pod| pods::is_finished(pod));
        if let (Some(pod), true) = (old, ended)
            && let Some(key) = set_key(pod).and_then(|key| owner_key(&*sets.get(&key)?))
        {
            changed.add(key);
        }
    }));
}

/// The Deployment that controls a ReplicaSet.
fn owner_key(set: &ReplicaSet) -> Option<Key> {
    controller_key(&set.metadata, "Deployment")
}

/// The ReplicaSet that controls a pod.
fn set_key(pod: &Pod) -> Option<Key> {
    controller_key(&pod.metadata, "ReplicaSet")
}

fn controller_key(metadata: &kube::api::ObjectMeta, kind: &str) -> Option<Key> {
    let owner = pods::controller_of(metadata).filter(|owner| owner.kind == kind)?;
    Some(Key::new(
        metadata.namespace.clone().unwrap_or_default(),
        owner.name.clone(),
    ))
}

fn matcher(deployment: &Deployment) -> Matcher {
    deployment
        .spec
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
        let Some(deployment) = self.context.caches.deployments.get(key) else {
            return Ok(Next::Wait);
        };
        let replica_sets = self.claim(&deployment).await?;
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        // Only the strategy Recreate asks; the others need not look.
        let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
        let is_recreate = strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate");
        let running = if is_recreate {
            self.running(&replica_sets)
        } else {
            BTreeSet::new()
        };
        let snapshot = Snapshot {
            deployment,
            replica_sets,
            running,
            now,
        };
        let plan = plan(&snapshot);
        self.write(&snapshot, plan.actions).await?;
        Ok(plan.look_again.map_or(Next::Wait, Next::After))
    }

    /// The ReplicaSets that are this Deployment's, after adopting and releasing what is to be.
    async fn claim(&self, deployment: &Arc<Deployment>) -> Result<Vec<Arc<ReplicaSet>>, RequestError> {
        let cache = &self.context.caches.replica_sets;
        let matcher = matcher(deployment);
        let mut owned = Vec::new();
        let mut may_adopt = None;
        for set in cache.in_namespace(deployment.metadata.namespace.as_deref().unwrap_or_default()) {
            match owner::claim(&deployment.metadata, &matcher, &set.metadata) {
                Claim::Own => owned.push(set),
                Claim::Leave => {}
                Claim::Release => {
                    let is_ours = |owner: &str| Some(owner) == deployment.metadata.uid.as_deref();
                    let patch = owner::without_owners(&set.metadata, |owner| is_ours(&owner.uid));
                    self.context.patch(cache, &*set, patch).await?;
                }
                Claim::Adopt => {
                    if may_adopt.is_none() {
                        may_adopt = Some(self.context.still_exists(&**deployment).await?);
                    }
                    if may_adopt == Some(true) {
                        let patch = owner::adoption(&set.metadata, owner::reference_to(&**deployment));
                        owned.push(Arc::new(self.context.patch(cache, &*set, patch).await?));
                    }
                }
            }
        }
        Ok(owned)
    }

    /// The uids of those ReplicaSets that have a pod that has not finished.
    fn running(&self, sets: &[Arc<ReplicaSet>]) -> BTreeSet<String> {
        let uids = sets.iter().filter_map(|set| set.metadata.uid.clone());
        uids.filter(|uid| {
            let pods = self.context.caches.pods.indexed(&format!("owner/{uid}"));
            pods.iter().any(|pod| !pods::is_finished(pod))
        })
        .collect()
    }
}
