//! Writing one pod's condition.

use std::time::Duration;

use api::names::IN_SERVICE;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::in_service::{Write, Written};

/// How long an answer is waited for. A server that is stopped or stuck must not keep a pod from being written again.
const ANSWER: Duration = Duration::from_secs(10);

/// Writes the condition, and nothing else of the pod.
pub async fn write(client: Client, write: &Write) -> Written {
    let pods: Api<Pod> = Api::namespaced(client, &write.pod.namespace);
    let body = json!({
        // A pod of the same name that came later is refused.
        "metadata": {"uid": &*write.pod.uid},
        "status": {"conditions": [{
            "type": IN_SERVICE,
            "status": if write.value { "True" } else { "False" },
            "reason": write.reason,
            "message": write.message,
            "lastTransitionTime": Time(Timestamp::now()),
        }]},
    });
    let (parameters, patch) = (PatchParams::default(), Patch::Strategic(body));
    let patching = pods.patch_status(&write.pod.name, &parameters, &patch);
    let Ok(answer) = tokio::time::timeout(ANSWER, patching).await else {
        tracing::warn!(
            pod = write.pod.name,
            "no answer to the write of a pod's condition"
        );
        return Written::Failed;
    };
    match answer {
        Ok(pod) if pod.metadata.uid.as_deref() != Some(&*write.pod.uid) => Written::Gone,
        Ok(pod) => {
            let pod = pod.metadata;
            tracing::info!(
                pod = write.pod.name,
                in_service = write.value,
                message = write.message,
                "pod condition"
            );
            Written::Done {
                deleted: pod.deletion_timestamp.is_some(),
            }
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Written::Gone,
        Err(error) => {
            tracing::warn!(pod = write.pod.name, %error, "cannot write a pod's condition");
            Written::Failed
        }
    }
}
