//! `rollout pause`, `resume` and `restart`: one small change of the Deployment each. Each returns what kubectl says of it.

use anyhow::bail;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::MANAGER;

/// Holds the rollout where it is.
///
/// # Errors
/// When it is paused already or the server refuses.
pub async fn pause(deployments: &Api<Deployment>, name: &str) -> anyhow::Result<String> {
    if is_paused(deployments, name).await? {
        bail!("deployments.apps \"{name}\" is already paused");
    }
    change(deployments, name, json!({"spec": {"paused": true}}), "paused").await
}

/// Goes on with a paused rollout.
///
/// # Errors
/// When it is not paused or the server refuses.
pub async fn resume(deployments: &Api<Deployment>, name: &str) -> anyhow::Result<String> {
    if !is_paused(deployments, name).await? {
        bail!("deployments.apps \"{name}\" is not paused");
    }
    change(deployments, name, json!({"spec": {"paused": null}}), "resumed").await
}

/// Makes the pod template a new one by the time of day, so that all pods are replaced.
///
/// # Errors
/// When the rollout is paused or the server refuses.
pub async fn restart(deployments: &Api<Deployment>, name: &str) -> anyhow::Result<String> {
    if is_paused(deployments, name).await? {
        bail!("deployments.apps \"{name}\" can't restart paused deployment (run rollout resume first)");
    }
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    change(deployments, name, patch, "restarted").await
}

async fn is_paused(deployments: &Api<Deployment>, name: &str) -> anyhow::Result<bool> {
    Ok(deployments
        .get(name)
        .await?
        .spec
        .and_then(|spec| spec.paused)
        .unwrap_or_default())
}

async fn change(
    deployments: &Api<Deployment>,
    name: &str,
    patch: Value,
    done: &str,
) -> anyhow::Result<String> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    deployments.patch(name, &params, &Patch::Strategic(patch)).await?;
    Ok(format!("deployment.apps/{name} {done}"))
}
