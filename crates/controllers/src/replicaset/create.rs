//! Creating pods: in batches that double, so that a quota or a bad template costs one failed request, not hundreds.

use futures::future::join_all;
use informer::Type;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Controller;
use crate::{RequestError, owner};

impl Controller {
    /// Creates pods, 1, 2, 4 ... at a time; after a batch with a failure no other begins.
    pub(super) async fn create(&self, set: &ReplicaSet, count: usize) -> Result<(), RequestError> {
        let pod = pod(set);
        for batch in batches(count) {
            let results = join_all((0..batch).map(|_| self.create_one(set, &pod))).await;
            results.into_iter().collect::<Result<(), RequestError>>()?;
        }
        Ok(())
    }

    async fn create_one(&self, set: &ReplicaSet, pod: &Pod) -> Result<(), RequestError> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        match self
            .context
            .create(&self.context.caches.pods, namespace, pod)
            .await
        {
            Ok(created) => {
                let name = created.metadata.name.unwrap_or_default();
                self.event(
                    set,
                    Type::Normal,
                    "SuccessfulCreate",
                    format!("Created pod: {name}"),
                );
                Ok(())
            }
            Err(error) if error.namespace_is_terminating() => Ok(()),
            Err(error) => {
                let message = format!("Error creating: {}", error.sentence());
                self.event(set, Type::Warning, "FailedCreate", message);
                Err(error)
            }
        }
    }
}

/// 1, 2, 4 ... that add up to `count`.
fn batches(count: usize) -> impl Iterator<Item = usize> {
    let mut left = count;
    let mut size = 1;
    std::iter::from_fn(move || {
        let batch = size.min(left);
        left -= batch;
        size *= 2;
        (batch > 0).then_some(batch)
    })
}

/// The pod that a ReplicaSet's template describes.
fn pod(set: &ReplicaSet) -> Pod {
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.clone())
        .unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![owner::reference_to(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn batches_double() {
        for (count, expected) in [
            (0, vec![]),
            (1, vec![1]),
            (4, vec![1, 2, 1]),
            (10, vec![1, 2, 4, 3]),
        ] {
            assert_eq!(batches(count).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_pod_has_what_the_template_says_and_its_owner() {
        let set = serde_json::from_value(json!({
            "metadata": { "name": "web-1", "namespace": "default", "uid": "u" },
            "spec": { "selector": {}, "template": {
                "metadata": { "labels": { "app": "web" }, "annotations": { "a": "b" } },
                "spec": { "containers": [{ "name": "c" }] },
            } },
        }))
        .unwrap();
        let pod = serde_json::to_value(pod(&set)).unwrap();
        assert_eq!(
            pod,
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "generateName": "web-1-", "namespace": "default",
                    "labels": { "app": "web" }, "annotations": { "a": "b" },
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u",
                        "controller": true, "blockOwnerDeletion": true,
                    }],
                },
                "spec": { "containers": [{ "name": "c" }] },
            })
        );
    }
}
