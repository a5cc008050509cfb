//! The garbage collector: deletes what only owners that are gone kept.
//!
//! Flows in: metadata of all kinds, any of which may own or be owned. Flows out: deletions, and owner references and
//! finalizers taken out. An owner that the caches do not show is asked for at the API before anything is deleted for it.

mod graph;
mod verdict;

use std::sync::Arc;

use informer::{Next, Queue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{
    DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use serde_json::{Value, json};

use crate::RequestError;
use crate::context::{Context, attempt, objects};
use crate::owner::without_owners;
use graph::{Graph, Id, Work, owner_id};
use verdict::{FOREGROUND, ORPHAN, Owner, Verdict, has_finalizer, judge, standing};

const WORKERS: usize = 20;

/// Runs the collector until the context's stop.
pub async fn run(context: Context) {
    let queue = Queue::new("garbage");
    let mut graph = Graph::default();
    let caches = &context.caches;
    graph.add(&caches.deployments, &queue);
    graph.add(&caches.replica_sets, &queue);
    graph.add(&caches.pods, &queue);
    graph.add(&caches.services, &queue);
    graph.add(&caches.endpoint_slices, &queue);
    graph.add(&caches.endpoints, &queue);
    graph.add(&caches.nodes, &queue);
    graph.add(&caches.leases, &queue);
    graph.add(&caches.namespaces, &queue);
    graph.add(&context.metadata.config_maps, &queue);
    graph.add(&context.metadata.secrets, &queue);
    graph.add(&context.metadata.service_accounts, &queue);
    let stop = context.stop.clone();
    let collector = Arc::new(Collector {
        context,
        graph,
        queue: queue.clone(),
    });
    let reconcile = move |work| {
        let collector = collector.clone();
        async move { attempt(collector.sync(work)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
}

struct Collector {
    context: Context,
    graph: Graph,
    queue: Queue<Work>,
}

impl Collector {
    async fn sync(&self, work: Work) -> Result<Next, RequestError> {
        match work {
            Work::Gone(uid) => {
                self.graph
                    .dependents(&uid)
                    .into_iter()
                    .for_each(|id| self.queue.add(Work::Object(id)));
            }
            Work::Object(id) => {
                let Some(meta) = self.graph.get(&id) else {
                    return Ok(Next::Wait);
                };
                if meta.deletion_timestamp.is_some() {
                    self.let_go(&id, &meta).await?;
                } else {
                    self.collect(&id, &meta).await?;
                }
            }
        }
        Ok(Next::Wait)
    }

    /// Does for an object that is being deleted what its finalizers ask for.
    async fn let_go(&self, id: &Id, meta: &ObjectMeta) -> Result<(), RequestError> {
        let uid = meta.uid.as_deref().unwrap_or_default();
        if has_finalizer(meta, ORPHAN) {
            for dependent in self.graph.dependents(uid) {
                if let Some(meta) = self.graph.get(&dependent) {
                    self.patch(&dependent, without_owners(&meta, |owner| owner.uid == uid))
                        .await?;
                }
            }
            return self.remove_finalizer(id, meta, ORPHAN).await;
        }
        if !has_finalizer(meta, FOREGROUND) {
            return Ok(());
        }
        let mut is_blocked = false;
        for dependent in self.graph.dependents(uid) {
            let Some(meta) = self.graph.get(&dependent) else {
                continue;
            };
            let mut owners = meta.owner_references.iter().flatten();
            is_blocked |= owners.any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true));
            self.queue.add(Work::Object(dependent));
        }
        if is_blocked {
            Ok(())
        } else {
            self.remove_finalizer(id, meta, FOREGROUND).await
        }
    }

    /// Deletes an object that nobody keeps.
    async fn collect(&self, id: &Id, meta: &ObjectMeta) -> Result<(), RequestError> {
        let mut owners = Vec::new();
        for owner in meta.owner_references.iter().flatten() {
            owners.push(self.standing(owner, &id.key.namespace).await?);
        }
        let has_dependents = !self
            .graph
            .dependents(meta.uid.as_deref().unwrap_or_default())
            .is_empty();
        match judge(meta, &owners, has_dependents) {
            Verdict::Keep => Ok(()),
            Verdict::Forget => {
                let solid: Vec<_> = meta
                    .owner_references
                    .iter()
                    .flatten()
                    .zip(&owners)
                    .filter(|(_, standing)| **standing == Owner::Solid)
                    .map(|(owner, _)| owner.uid.clone())
                    .collect();
                self.patch(id, without_owners(meta, |owner| !solid.contains(&owner.uid)))
                    .await
            }
            Verdict::Delete(propagation) => self.delete(id, meta, propagation).await,
        }
    }

    async fn standing(&self, owner: &OwnerReference, namespace: &str) -> Result<Owner, RequestError> {
        let id = owner_id(owner, namespace);
        // What is in no namespace cannot be owned by something in one: nobody knows which is meant.
        let is_namespaced =
            api::kinds::by_kind(&id.api_version, &id.kind).is_some_and(|kind| kind.namespaced);
        if is_namespaced && namespace.is_empty() {
            return Ok(Owner::Solid);
        }
        let is_it = |meta: &ObjectMeta| meta.uid.as_deref() == Some(&owner.uid);
        if let Some(cached) = self.graph.get(&id).filter(is_it) {
            return Ok(standing(&cached));
        }
        // An owner of a kind that nobody serves cannot be looked up: what it may own is kept.
        let Some(api) = self.api(&id) else {
            return Ok(Owner::Solid);
        };
        let live = api.get_metadata_opt(&id.key.name).await;
        let live = live.map_err(|source| RequestError::Read {
            what: describe(&id),
            source,
        })?;
        Ok(live
            .map(|live| live.metadata)
            .filter(is_it)
            .map_or(Owner::Absent, |meta| standing(&meta)))
    }

    /// Deletes exactly this version: one that has been written since may have been given to another owner, or to nobody
    /// (orphaned), which the caches need not show yet.
    async fn delete(
        &self,
        id: &Id,
        meta: &ObjectMeta,
        propagation: PropagationPolicy,
    ) -> Result<(), RequestError> {
        let Some(api) = self.api(id) else { return Ok(()) };
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
            }),
            propagation_policy: Some(propagation),
            ..DeleteParams::default()
        };
        tracing::debug!(object = describe(id), "deleting: its owners are gone");
        let result = api.delete(&id.key.name, &params).await;
        match result.map_err(|source| RequestError::Delete {
            what: describe(id),
            source,
        }) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn remove_finalizer(
        &self,
        id: &Id,
        meta: &ObjectMeta,
        finalizer: &str,
    ) -> Result<(), RequestError> {
        let rest: Vec<_> = meta
            .finalizers
            .iter()
            .flatten()
            .filter(|other| other.as_str() != finalizer)
            .collect();
        let patch = json!({ "metadata": {
            "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": rest,
        }});
        self.patch(id, patch).await
    }

    async fn patch(&self, id: &Id, patch: Value) -> Result<(), RequestError> {
        let Some(api) = self.api(id) else { return Ok(()) };
        let result = api
            .patch_metadata(&id.key.name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        match result.map_err(|source| RequestError::Update {
            what: describe(id),
            source,
        }) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn api(&self, id: &Id) -> Option<Api<DynamicObject>> {
        let kind = api::kinds::by_kind(&id.api_version, &id.kind)?;
        Some(objects(self.context.client.clone(), kind, &id.key.namespace))
    }
}

fn describe(id: &Id) -> String {
    format!("{} {}", id.kind, id.key)
}
