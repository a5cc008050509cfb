//! `rollout undo`: writes an earlier revision's pod template into the Deployment again; the controller then finds the old
//! ReplicaSet by its template and gives it a new revision.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use super::{MANAGER, REVISION};

/// Annotations that belong to a Deployment and not to a revision of it; going back does not touch them.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

/// Goes back to revision `to`, or to the one before the present one. Returns what kubectl says of it.
///
/// # Errors
/// When the Deployment is paused, there is no such revision, or the server refuses.
pub async fn run(
    client: &Client,
    deployments: &Api<Deployment>,
    name: &str,
    to: Option<i64>,
) -> anyhow::Result<String> {
    let deployment = deployments.get(name).await?;
    let spec = deployment.spec.clone().unwrap_or_default();
    if spec.paused == Some(true) {
        bail!(
            "you cannot rollback a paused deployment; resume it first with 'coracle rollout resume deployment/{name}' and try again"
        );
    }
    let revisions = super::revisions(client, &deployment).await?;
    let (revision, set) = target(&revisions, to.filter(|revision| *revision > 0), name)?;
    let template = template_of(set);
    if without_hash(&spec.template) == template {
        return Ok(format!(
            "deployment.apps/{name} skipped rollback (current template already matches revision {revision})"
        ));
    }
    let changes = json!([
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace", "path": "/metadata/annotations", "value": annotations(&deployment, set)},
    ]);
    let patch = Patch::<Deployment>::Json(serde_json::from_value(changes)?);
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    deployments.patch(name, &params, &patch).await?;
    Ok(format!("deployment.apps/{name} rolled back"))
}

fn target<'a>(
    revisions: &'a [(i64, ReplicaSet)],
    to: Option<i64>,
    name: &str,
) -> anyhow::Result<&'a (i64, ReplicaSet)> {
    match to {
        Some(to) => revisions
            .iter()
            .find(|(revision, _)| *revision == to)
            .ok_or_else(|| anyhow!("unable to find specified revision {to} in history")),
        None => revisions
            .iter()
            .nth_back(1)
            .ok_or_else(|| anyhow!("no rollout history found for deployment \"{name}\"")),
    }
}

fn template_of(set: &ReplicaSet) -> PodTemplateSpec {
    without_hash(
        &set.spec
            .as_ref()
            .and_then(|spec| spec.template.clone())
            .unwrap_or_default(),
    )
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template
        .metadata
        .as_mut()
        .and_then(|metadata| metadata.labels.as_mut())
    {
        labels.remove(api::names::POD_TEMPLATE_HASH);
    }
    template
}

/// The Deployment's annotations after going back to `set`.
fn annotations(deployment: &Deployment, set: &ReplicaSet) -> BTreeMap<String, String> {
    let is_own = |key: &String| OWN_ANNOTATIONS.contains(&key.as_str());
    let kept = deployment.annotations().iter().filter(|(key, _)| is_own(key));
    let brought = set.annotations().iter().filter(|(key, _)| !is_own(key));
    kept.chain(brought)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(image: &str) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"annotations": {REVISION: "1", "kubernetes.io/change-cause": image}},
            "spec": {"selector": {}, "template": {"metadata": {"labels": {"app": "web", "pod-template-hash": "x"}},
                "spec": {"containers": [{"name": "c", "image": image}]}}}}))
        .expect("a replica set")
    }

    #[test]
    fn the_revision_before_the_present_one_unless_named() {
        let revisions = [(1, set("a")), (3, set("b")), (4, set("c"))];
        assert_eq!(target(&revisions, None, "web").expect("one before").0, 3);
        assert_eq!(target(&revisions, Some(1), "web").expect("named").0, 1);
        let error = target(&revisions, Some(9), "web").expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "unable to find specified revision 9 in history"
        );
        let error = target(&revisions[..1], None, "web").expect_err("nothing before");
        assert_eq!(
            error.to_string(),
            "no rollout history found for deployment \"web\""
        );
    }

    #[test]
    fn the_hash_stays_behind_and_the_cause_comes_along() {
        let labels = template_of(&set("a"))
            .metadata
            .and_then(|metadata| metadata.labels)
            .expect("labels");
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["app"]);
        let deployment: Deployment = serde_json::from_value(json!({"metadata": {"annotations": {
            REVISION: "4", "kubernetes.io/change-cause": "c", "other": "o"}}}))
        .expect("a deployment");
        let expected = [(REVISION, "4"), ("kubernetes.io/change-cause", "a")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(annotations(&deployment, &set("a")), BTreeMap::from(expected));
    }
}
