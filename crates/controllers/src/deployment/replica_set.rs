//! The ReplicaSet that a Deployment makes for its template. Pure.

use api::names::POD_TEMPLATE_HASH;
use api::template_hash::template_hash;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::limits::Limits;
use super::revision;
use crate::owner;

/// Longest name of a ReplicaSet.
const NAME_LENGTH: usize = 253;

/// The ReplicaSet for the current template, which becomes `revision`.
pub fn for_template(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    limits: &Limits,
    size: i32,
    number: i64,
) -> ReplicaSet {
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template.clone();
    let metadata = template.metadata.get_or_insert_default();
    metadata
        .labels
        .get_or_insert_default()
        .insert(POD_TEMPLATE_HASH.to_owned(), hash.clone());
    let labels = metadata.labels.clone();
    let mut selector = spec.selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(POD_TEMPLATE_HASH.to_owned(), hash.clone());
    let mut annotations = revision::copied(deployment);
    annotations.insert(revision::REVISION.to_owned(), number.to_string());
    annotations.insert(revision::DESIRED_REPLICAS.to_owned(), limits.replicas.to_string());
    annotations.insert(revision::MAX_REPLICAS.to_owned(), limits.max_total().to_string());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name(
                deployment.metadata.name.as_deref().unwrap_or_default(),
                &hash,
            )),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            annotations: Some(annotations),
            owner_references: Some(vec![owner::reference_to(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(size),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

fn name(deployment: &str, hash: &str) -> String {
    let room = NAME_LENGTH - hash.len() - 1;
    let base = deployment
        .char_indices()
        .take_while(|(at, c)| at + c.len_utf8() <= room);
    format!("{}-{hash}", base.map(|(_, c)| c).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut() {
        assert_eq!(name("web", "abc"), "web-abc");
        assert_eq!(name(&"w".repeat(260), "abc").len(), NAME_LENGTH);
    }
}
