//! `rollout status`: how far a rollout is.

use anyhow::bail;
use futures::TryStreamExt as _;
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::watcher::watch_object;
use kube::{Api, ResourceExt as _};

use crate::output;

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on; the sentence says what it waits for.
    Waiting(String),
    /// All pods are of the new template and available.
    Complete(String),
    /// It made no progress for too long.
    Failed(String),
}

/// Follows the rollout of `name`, prints each step and returns the last sentence.
///
/// # Errors
/// When the rollout has exceeded its progress deadline, the time is up, or there is no such Deployment.
pub async fn run(
    deployments: &Api<Deployment>,
    name: &str,
    watch: bool,
    timeout: Option<SignedDuration>,
) -> anyhow::Result<String> {
    let deployment = deployments.get(name).await?;
    if !watch {
        return match progress(&deployment) {
            Progress::Waiting(text) | Progress::Complete(text) => Ok(text),
            Progress::Failed(text) => bail!(text),
        };
    }
    match timeout.map(std::time::Duration::try_from).transpose()? {
        None => follow(deployments, name).await,
        Some(timeout) => match tokio::time::timeout(timeout, follow(deployments, name)).await {
            Ok(done) => done,
            Err(_) => bail!("timed out waiting for the condition"),
        },
    }
}

async fn follow(deployments: &Api<Deployment>, name: &str) -> anyhow::Result<String> {
    let mut states = std::pin::pin!(watch_object(deployments.clone(), name));
    let mut last = String::new();
    while let Some(state) = states.try_next().await? {
        let Some(deployment) = state else {
            bail!("object has been deleted");
        };
        match progress(&deployment) {
            Progress::Waiting(text) if text == last => {}
            Progress::Waiting(text) => {
                output::line(&text)?;
                last = text;
            }
            Progress::Complete(text) => return Ok(text),
            Progress::Failed(text) => bail!(text),
        }
    }
    bail!("the watch ended before the rollout did")
}

/// Reads the progress from a Deployment's status, in kubectl's words.
pub fn progress(deployment: &Deployment) -> Progress {
    let name = deployment.name_any();
    let status = deployment.status.clone().unwrap_or_default();
    if deployment.metadata.generation.unwrap_or_default() > status.observed_generation.unwrap_or_default() {
        return Progress::Waiting("Waiting for deployment spec update to be observed...".to_owned());
    }
    let timed_out = status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "Progressing" && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    if timed_out {
        return Progress::Failed(format!("deployment \"{name}\" exceeded its progress deadline"));
    }
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or_default();
    let available = status.available_replicas.unwrap_or_default();
    let old = status.replicas.unwrap_or_default() - updated;
    let waiting = |for_what: String| {
        Progress::Waiting(format!(
            "Waiting for deployment \"{name}\" rollout to finish: {for_what}..."
        ))
    };
    if updated < wanted {
        waiting(format!(
            "{updated} out of {wanted} new replicas have been updated"
        ))
    } else if old > 0 {
        waiting(format!("{old} old replicas are pending termination"))
    } else if available < updated {
        waiting(format!("{available} of {updated} updated replicas are available"))
    } else {
        Progress::Complete(format!("deployment \"{name}\" successfully rolled out"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(status: Value) -> Progress {
        let deployment = json!({"metadata": {"name": "web", "generation": 2},
            "spec": {"replicas": 4, "selector": {}, "template": {}}, "status": status});
        progress(&serde_json::from_value(deployment).expect("a deployment"))
    }

    fn waiting(for_what: &str) -> Progress {
        Progress::Waiting(format!(
            "Waiting for deployment \"web\" rollout to finish: {for_what}..."
        ))
    }

    #[test]
    fn each_step_has_kubectls_sentence() {
        assert!(
            matches!(at(json!({"observedGeneration": 1})), Progress::Waiting(text) if text.contains("observed"))
        );
        let status = |replicas: i32, updated: i32, available: i32| {
            at(
                json!({"observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated,
                      "availableReplicas": available}),
            )
        };
        assert_eq!(
            status(5, 2, 4),
            waiting("2 out of 4 new replicas have been updated")
        );
        assert_eq!(status(5, 4, 4), waiting("1 old replicas are pending termination"));
        assert_eq!(status(4, 4, 3), waiting("3 of 4 updated replicas are available"));
        assert_eq!(
            status(4, 4, 4),
            Progress::Complete("deployment \"web\" successfully rolled out".into())
        );
    }

    #[test]
    fn a_stalled_rollout_has_failed() {
        let stalled = at(json!({"observedGeneration": 2, "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}));
        assert_eq!(
            stalled,
            Progress::Failed("deployment \"web\" exceeded its progress deadline".into())
        );
    }
}
