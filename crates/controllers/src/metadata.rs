//! Metadata of the kinds that have no cache of their own: they too may own, be owned, or be missed where they belong.
//!
//! Flows in: their metadata only, not what they contain. Flows out: caches of it.

use informer::Informer;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The caches.
#[derive(Clone)]
pub struct Metadata {
    pub config_maps: Informer<PartialObjectMeta<ConfigMap>>,
    pub secrets: Informer<PartialObjectMeta<Secret>>,
    pub service_accounts: Informer<PartialObjectMeta<ServiceAccount>>,
}

impl Metadata {
    /// Starts to follow them.
    pub fn start(client: &Client, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        Self {
            config_maps: start(client, tasks, stop),
            secrets: start(client, tasks, stop),
            service_accounts: start(client, tasks, stop),
        }
    }

    /// Resolves once all are complete.
    pub async fn synced(&self) {
        tokio::join!(
            self.config_maps.synced(),
            self.secrets.synced(),
            self.service_accounts.synced()
        );
    }
}

fn start<K>(client: &Client, tasks: &TaskTracker, stop: &CancellationToken) -> Informer<PartialObjectMeta<K>>
where
    PartialObjectMeta<K>: informer::Resource,
{
    Informer::start(Api::all(client.clone()), |_| Vec::new(), tasks, stop.clone())
}
