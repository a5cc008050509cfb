//! Writing one pod's condition.

use api::names::IN_SERVICE;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::in_service::{Write, Written};

/// Writes the condition, and nothing else of the pod.
pub async fn write(client: Client, write: &Write) -> Written {
    let pods: Api<Pod> = Api::namespaced(client, &write.pod.namespace);
    let body = json!({
        // A pod of the same name that came later is refused.
        "metadata": {"uid": &*write.pod.uid},
        "status": {"conditions": [{
            "type": IN_SERVICE,
            "status": if write.value { "True" } else { "False" },
            "reason": if write.value { "Routed" } else { "Drained" },
            "message": write.message,
            "lastTransitionTime": Time(Timestamp::now()),
        }]},
    });
    match pods
        .patch_status(&write.pod.name, &PatchParams::default(), &Patch::Strategic(body))
        .await
    {
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
