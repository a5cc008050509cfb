//! The disruption controller: keeps the status of PodDisruptionBudgets, which the eviction API spends from.
//!
//! Flows in: budgets, pods, and the workloads that say how many pods there should be. Flows out: the budgets' status.
//! Never deletes a pod.

mod status;

use std::sync::Arc;

use api::labels::Selector;
use api::pods::controller_of;
use informer::{Informer, Key, Next, Queue, Recorder, Type};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Api, Resource};
use tokio_util::task::TaskTracker;

use crate::RequestError;
use crate::context::{Context, attempt};
use status::Expected;

const WORKERS: usize = 2;

/// Runs the controller until the context's stop.
pub async fn run(context: Context) {
    let tasks = TaskTracker::new();
    let all = Api::all(context.client.clone());
    let budgets = Informer::start(all, |_| Vec::new(), &tasks, context.stop.clone());
    tokio::select! {
        () = budgets.synced() => {}
        () = context.stop.cancelled() => {}
    }
    let queue = Queue::new("disruption");
    watch(&context, &budgets, &queue);
    let recorder = Recorder::new(context.client.clone(), "controllermanager", "");
    let stop = context.stop.clone();
    let controller = Arc::new(Controller {
        context,
        budgets,
        recorder,
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { attempt(controller.sync(&key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
    tasks.close();
    tasks.wait().await;
}

/// Whatever a budget counts: itself, its pods, the sizes of its pods' workloads.
fn watch(context: &Context, budgets: &Informer<PodDisruptionBudget>, queue: &Queue<Key>) {
    let changed = queue.clone();
    budgets.on_change(Box::new(move |old, new| {
        new.or(old)
            .into_iter()
            .for_each(|budget| changed.add(Key::of(&**budget)));
    }));
    let (changed, all) = (queue.clone(), budgets.clone());
    context.caches.pods.on_change(Box::new(move |old, new| {
        for pod in [old, new].into_iter().flatten() {
            for budget in all.in_namespace(pod.metadata.namespace.as_deref().unwrap_or_default()) {
                if covers(selector(&budget).as_ref(), &pod.metadata) {
                    changed.add(Key::of(&*budget));
                }
            }
        }
    }));
    let (changed, all) = (queue.clone(), budgets.clone());
    let resized = move |meta: &ObjectMeta| {
        all.in_namespace(meta.namespace.as_deref().unwrap_or_default())
            .iter()
            .for_each(|budget| changed.add(Key::of(&**budget)));
    };
    let size_of_set = resized.clone();
    context.caches.replica_sets.on_change(Box::new(move |old, new| {
        let size =
            |set: &k8s_openapi::api::apps::v1::ReplicaSet| set.spec.as_ref().and_then(|spec| spec.replicas);
        match (old, new) {
            (Some(old), Some(new)) if size(old) == size(new) => {}
            (old, new) => new.or(old).into_iter().for_each(|set| size_of_set(&set.metadata)),
        }
    }));
    context.caches.deployments.on_change(Box::new(move |old, new| {
        let size =
            |one: &k8s_openapi::api::apps::v1::Deployment| one.spec.as_ref().and_then(|spec| spec.replicas);
        match (old, new) {
            (Some(old), Some(new)) if size(old) == size(new) => {}
            (old, new) => new.or(old).into_iter().for_each(|one| resized(&one.metadata)),
        }
    }));
}

fn selector(budget: &PodDisruptionBudget) -> Option<Selector> {
    let spec = budget.spec.as_ref()?;
    Selector::from_spec(spec.selector.as_ref()?).ok()
}

/// No selector covers nothing, an empty one everything.
fn covers(selector: Option<&Selector>, meta: &ObjectMeta) -> bool {
    let labels = meta.labels.as_ref();
    selector.is_some_and(|selector| selector.matches_with(|key| labels?.get(key).map(String::as_str)))
}

/// What the syncs share.
struct Controller {
    context: Context,
    budgets: Informer<PodDisruptionBudget>,
    recorder: Recorder,
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(budget) = self.budgets.get(key) else {
            return Ok(Next::Wait);
        };
        let selector = selector(&budget);
        let pods = self.context.caches.pods.in_namespace(&key.namespace);
        let covered = pods
            .into_iter()
            .filter(|pod| covers(selector.as_ref(), &pod.metadata));
        let covered: Vec<_> = covered.collect();
        if covered.is_empty()
            && budget
                .status
                .as_ref()
                .is_none_or(|status| status.observed_generation.is_none())
        {
            let message = "No matching pods found";
            self.recorder
                .event(&budget.object_ref(&()), Type::Normal, "NoPods", message);
        }
        let expected = self.expected(&covered);
        let now = Timestamp::now();
        let (wanted, again) = status::calculate(&budget, &covered, &expected, now);
        if budget.status.as_ref() != Some(&wanted) {
            let mut changed = (*budget).clone();
            changed.status = Some(wanted);
            // Whole, so that a disruption that was spent in the meantime is not given back.
            self.context.replace_status(&self.budgets, &changed).await?;
        }
        Ok(again.map_or(Next::Wait, Next::After))
    }

    /// How many pods the workloads of these pods want to have.
    fn expected(&self, pods: &[Arc<Pod>]) -> Expected {
        let mut owners = Vec::<(&OwnerReference, &str)>::new();
        let mut unknown = false;
        for pod in pods {
            match controller_of(&pod.metadata) {
                Some(owner) if owners.iter().any(|(other, _)| other.uid == owner.uid) => {}
                Some(owner) => owners.push((owner, pod.metadata.namespace.as_deref().unwrap_or_default())),
                None => unknown = true,
            }
        }
        let mut counted = Vec::new();
        let mut total = 0;
        for (owner, namespace) in owners {
            match self.size(namespace, owner) {
                Some((uid, _)) if counted.contains(&uid) => {}
                Some((uid, size)) => {
                    counted.push(uid);
                    total += size;
                }
                None => unknown = true,
            }
        }
        Expected { total, unknown }
    }

    /// The workload at the top, and its size.
    fn size(&self, namespace: &str, owner: &OwnerReference) -> Option<(String, i32)> {
        let sets = &self.context.caches.replica_sets;
        let set = sets
            .get(&Key::new(namespace, &owner.name))
            .filter(|_| owner.kind == "ReplicaSet")?;
        let own = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let above = controller_of(&set.metadata).filter(|above| above.kind == "Deployment");
        let Some(above) = above else {
            return Some((owner.uid.clone(), own));
        };
        let deployment = self
            .context
            .caches
            .deployments
            .get(&Key::new(namespace, &above.name))?;
        let size = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1);
        Some((above.uid.clone(), size))
    }
}
