//! Pods of a node that does not exist: nobody will ever stop them, so they are removed at once.

use std::time::Duration;

use informer::{Key, Next};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::Instant;

use super::Controller;
use crate::RequestError;
use crate::context::{delete_params, ignore_gone};

/// How long a node may be missing before its pods go: it may be about to register.
const QUARANTINE: Duration = Duration::from_secs(40);

impl Controller {
    /// Removes the pods of a node that has been missing long enough.
    pub(super) async fn delete_orphans(&self, node: &str) -> Result<Next, RequestError> {
        let orphans = self.context.caches.pods.indexed(&format!("node/{node}"));
        if orphans.is_empty() {
            self.renewals().forget(node);
            return Ok(Next::Wait);
        }
        let missing_for = self.renewals().silent_for(node, None, Instant::now());
        if missing_for < QUARANTINE {
            return Ok(Next::After(QUARANTINE - missing_for));
        }
        let nodes: Api<Node> = Api::all(self.context.client.clone());
        let live = nodes.get_metadata_opt(node).await;
        let live = live.map_err(|source| RequestError::Read {
            what: format!("Node {node}"),
            source,
        })?;
        if live.is_some() {
            return Ok(Next::Wait);
        }
        for pod in orphans {
            let key = Key::of(&*pod);
            tracing::info!(pod = %key, node, "removing a pod of a node that does not exist");
            let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                ..delete_params(&*pod, None)
            };
            if let Err(source) = api.delete(&key.name, &params).await {
                ignore_gone(RequestError::Delete {
                    what: format!("Pod {key}"),
                    source,
                })?;
            }
        }
        self.renewals().forget(node);
        Ok(Next::Wait)
    }
}
