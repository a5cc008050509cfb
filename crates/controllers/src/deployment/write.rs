//! Carries out a plan for a Deployment.

use std::sync::Arc;

use informer::Type;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kube::{Api, Resource};
use serde_json::{Value, json};

use super::conditions::{self, Conditions, PROGRESSING};
use super::plan::{Action, Change, Snapshot};
use super::{Controller, revision, status};
use crate::RequestError;

impl Controller {
    /// Carries out the actions in order, up to the first that fails.
    pub(super) async fn write(&self, snapshot: &Snapshot, actions: Vec<Action>) -> Result<(), RequestError> {
        let deployment = &snapshot.deployment;
        for action in actions {
            match action {
                Action::Create(set) => self.create(deployment, &set, snapshot.now).await?,
                Action::Update(change) => self.update(deployment, &change).await?,
                Action::Delete(set) => {
                    self.context
                        .delete(&self.context.caches.replica_sets, &*set)
                        .await?;
                }
                Action::Annotate { revision } => {
                    let patch = json!({ "metadata": { "annotations": { revision::REVISION: revision } } });
                    self.context
                        .patch(&self.context.caches.deployments, &**deployment, patch)
                        .await?;
                }
                Action::Status(status) => self.write_status(deployment, &status).await?,
                Action::WarnSelectingAll => self.event(
                    deployment,
                    Type::Warning,
                    "SelectingAll",
                    "This deployment is selecting all pods. A non-empty selector is required.",
                ),
            }
        }
        Ok(())
    }

    async fn create(
        &self,
        deployment: &Arc<Deployment>,
        set: &ReplicaSet,
        now: Timestamp,
    ) -> Result<(), RequestError> {
        let cache = &self.context.caches.replica_sets;
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        match self.context.create(cache, namespace, set).await {
            Ok(created) => {
                let size = created.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
                if size > 0 {
                    self.scaled(deployment, &created, (0, size));
                }
                Ok(())
            }
            Err(error) if error.namespace_is_terminating() => Ok(()),
            Err(error) if error.already_exists() => self.collided(deployment, set, error).await,
            Err(error) => {
                let name = set.metadata.name.as_deref().unwrap_or_default();
                let message = format!("Failed to create new replica set {name:?}: {}", error.sentence());
                self.event(deployment, Type::Warning, "ReplicaSetCreateError", &message);
                if status::deadline(deployment).is_some() {
                    let mut status = deployment.status.clone().unwrap_or_default();
                    let mut list = Conditions::of(status.conditions.as_ref());
                    list.set(conditions::new(
                        PROGRESSING,
                        "False",
                        "ReplicaSetCreateError",
                        message,
                        now,
                    ));
                    status.conditions = list.into_list();
                    self.write_status(deployment, &status).await?;
                }
                Err(error)
            }
        }
    }

    /// The name is taken. If by our own ReplicaSet for this template, which the cache has not shown, all is well;
    /// otherwise the next hash is tried.
    async fn collided(
        &self,
        deployment: &Arc<Deployment>,
        set: &ReplicaSet,
        error: RequestError,
    ) -> Result<(), RequestError> {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), namespace);
        let what = || format!("ReplicaSet {namespace}/{name}");
        let other = api
            .get_opt(name)
            .await
            .map_err(|source| RequestError::Read { what: what(), source })?;
        if let Some(other) = other {
            let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
            let templates = (template(&other), template(set));
            let is_same = matches!(templates, (Some(a), Some(b)) if api::template_hash::same_template(a, b));
            if is_same && api::pods::is_controlled_by(&other.metadata, uid) {
                self.context.seen(&self.context.caches.replica_sets, &other).await;
                return Ok(());
            }
            let mut status = deployment.status.clone().unwrap_or_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            self.write_status(deployment, &status).await?;
        }
        Err(error)
    }

    async fn update(&self, deployment: &Arc<Deployment>, change: &Change) -> Result<(), RequestError> {
        let patch = patch(change);
        let written = self
            .context
            .patch(&self.context.caches.replica_sets, &*change.object, patch)
            .await?;
        if let Some(sizes) = change.replicas {
            self.scaled(deployment, &written, sizes);
        }
        Ok(())
    }

    async fn write_status(
        &self,
        deployment: &Deployment,
        status: &DeploymentStatus,
    ) -> Result<(), RequestError> {
        let cache = &self.context.caches.deployments;
        self.context
            .patch_status(cache, deployment, status_patch(status))
            .await
            .map(drop)
    }

    fn scaled(&self, deployment: &Deployment, set: &ReplicaSet, (from, to): (i32, i32)) {
        let direction = if to > from { "up" } else { "down" };
        let name = set.metadata.name.as_deref().unwrap_or_default();
        tracing::info!(replica_set = name, from, to, "scaled");
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.event(deployment, Type::Normal, "ScalingReplicaSet", &message);
    }

    fn event(&self, deployment: &Deployment, type_: Type, reason: &str, message: &str) {
        self.recorder
            .event(&deployment.object_ref(&()), type_, reason, message);
    }
}

fn template(set: &ReplicaSet) -> Option<&k8s_openapi::api::core::v1::PodTemplateSpec> {
    set.spec.as_ref()?.template.as_ref()
}

/// The merge patch of a change; refused if the ReplicaSet has been written since it was read.
fn patch(change: &Change) -> Value {
    let mut spec = serde_json::Map::new();
    if let Some((_, replicas)) = change.replicas {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    if let Some(seconds) = change.min_ready_seconds {
        spec.insert("minReadySeconds".to_owned(), seconds.into());
    }
    let mut patch = json!({ "metadata": { "resourceVersion": change.object.metadata.resource_version } });
    if !change.annotations.is_empty() {
        patch["metadata"]["annotations"] = json!(change.annotations);
    }
    if !spec.is_empty() {
        patch["spec"] = Value::Object(spec);
    }
    patch
}

/// The merge patch of a status: what is absent is taken out.
fn status_patch(status: &DeploymentStatus) -> Value {
    json!({
        "observedGeneration": status.observed_generation,
        "replicas": status.replicas,
        "updatedReplicas": status.updated_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "unavailableReplicas": status.unavailable_replicas,
        "terminatingReplicas": status.terminating_replicas,
        "collisionCount": status.collision_count,
        "conditions": status.conditions,
    })
}
