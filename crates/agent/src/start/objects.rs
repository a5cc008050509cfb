//! The ConfigMaps and Secrets that a pod names.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, Secret, VolumeProjection};
use kube::{Api, Client};

use super::StartError;

/// What was found; a name that is absent was looked for in vain.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// By name.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// By name.
    pub secrets: BTreeMap<String, Secret>,
}

impl Objects {
    /// Gets all that a pod names, anew each time: a restarted container sees the latest, as upstream.
    pub async fn fetch(client: &Client, namespace: &str, spec: &PodSpec) -> Result<Self, StartError> {
        let mut found = Self::default();
        let (config_maps, secrets) = names(spec);
        for name in config_maps {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            if let Some(object) = api.get_opt(&name).await? {
                found.config_maps.insert(name, object);
            }
        }
        for name in secrets {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            if let Some(object) = api.get_opt(&name).await? {
                found.secrets.insert(name, object);
            }
        }
        Ok(found)
    }
}

fn names(spec: &PodSpec) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for container in api::pods::containers(spec) {
        names_of_container(&container, &mut config_maps, &mut secrets);
    }
    for volume in spec.volumes.iter().flatten() {
        config_maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
        secrets.extend(
            volume
                .secret
                .iter()
                .filter_map(|source| source.secret_name.clone()),
        );
        for source in volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten())
        {
            let VolumeProjection {
                config_map, secret, ..
            } = source;
            config_maps.extend(config_map.iter().map(|source| source.name.clone()));
            secrets.extend(secret.iter().map(|source| source.name.clone()));
        }
    }
    for list in [&mut config_maps, &mut secrets] {
        list.sort_unstable();
        list.dedup();
    }
    (config_maps, secrets)
}

fn names_of_container(container: &Container, config_maps: &mut Vec<String>, secrets: &mut Vec<String>) {
    for source in container.env_from.iter().flatten() {
        config_maps.extend(source.config_map_ref.iter().map(|source| source.name.clone()));
        secrets.extend(source.secret_ref.iter().map(|source| source.name.clone()));
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|variable| variable.value_from.as_ref())
    {
        config_maps.extend(source.config_map_key_ref.iter().map(|source| source.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|source| source.name.clone()));
    }
}
