//! Who writes what the followers follow, and keeps the journal.
//!
//! Writes at an even pace, or all at once, more than the history holds. Never loses a write's revision: a write whose
//! answer did not come is a panic, so it must not be under way while the server crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, ResourceExt as _};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tokio::runtime::Runtime;

use super::NAMESPACE;
use super::journal::{Change, Journal};
use crate::Cluster;

/// How many ConfigMaps come and go.
const NAMES: u32 = 50;

/// The ConfigMap that is written when the history is outrun.
const LARGE: &str = "large";

/// Bytes in it: 1,000 revisions of it are more than the history's 8 MiB.
const LARGE_BYTES: usize = 12 << 10;

/// How many times it is written: what the history always keeps, and a good batch beyond.
const LARGE_WRITES: usize = 1_600;

/// How many of these writes are under way at a time.
const AT_ONCE: usize = 16;

/// Writes ConfigMaps through kube-rs.
pub struct Writer {
    runtime: Runtime,
    config_maps: Api<ConfigMap>,
    exist: BTreeSet<String>,
    chance: StdRng,
    journal: Journal,
}

impl Writer {
    /// One that writes to this cluster, which it finds again after a crash.
    pub fn new(cluster: &Cluster) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).expect("the kubeconfig that `up` wrote");
        let client = runtime.block_on(async {
            let config =
                kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            Client::try_from(config.expect("a whole kubeconfig")).expect("a client")
        });
        let mut writer = Self {
            runtime,
            config_maps: Api::namespaced(client, NAMESPACE),
            exist: BTreeSet::new(),
            chance: StdRng::seed_from_u64(1),
            journal: Journal::new(),
        };
        writer.create(LARGE);
        writer
    }

    /// The latest revision written.
    pub fn revision(&self) -> u64 {
        self.journal.last_key_value().map_or(0, |(revision, _)| *revision)
    }

    /// Creates, changes and deletes for so long, at an even pace of writes in a second.
    pub fn steady(&mut self, time: Duration, pace: u32) {
        for _ in 0..time.as_secs() * u64::from(pace) {
            // The pace of the load, not a wait for something to happen.
            std::thread::sleep(Duration::from_secs(1) / pace);
            let name = format!("it-{}", self.chance.random_range(0..NAMES));
            if !self.exist.contains(&name) {
                self.create(&name);
            } else if self.chance.random_bool(0.2) {
                self.delete(&name);
            } else {
                self.change(&name);
            }
        }
    }

    /// Writes until the revision that was the latest before is compacted away.
    pub fn outrun_history(&mut self) {
        let before = self.revision();
        let config_maps = self.config_maps.clone();
        let value = "x".repeat(LARGE_BYTES);
        let revisions = self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for task in 0..AT_ONCE {
                let (config_maps, value) = (config_maps.clone(), value.clone());
                tasks.spawn(async move {
                    let mut revisions = Vec::new();
                    for round in 0..LARGE_WRITES / AT_ONCE {
                        let patch = Patch::Merge(
                            json!({"data": {"value": value, "round": format!("{task}-{round}")}}),
                        );
                        let written = config_maps.patch(LARGE, &PatchParams::default(), &patch).await;
                        revisions.push(revision_of(&written.expect("the patch is taken")));
                    }
                    revisions
                });
            }
            tasks.join_all().await
        });
        for revision in revisions.into_iter().flatten() {
            self.journal.insert(revision, (Change::Update, LARGE.to_owned()));
        }
        let read = ListParams::default()
            .at(&before.to_string())
            .matching(kube::api::VersionMatch::Exact);
        let error = self
            .runtime
            .block_on(self.config_maps.list(&read))
            .expect_err("that revision is compacted away");
        assert!(
            matches!(&error, kube::Error::Api(status) if status.code == 410),
            "{error}"
        );
    }

    /// The last write.
    pub fn end(&mut self) {
        self.create("end");
    }

    /// What is there now: each ConfigMap's revision.
    pub fn fresh_view(&self) -> BTreeMap<String, String> {
        let list = self
            .runtime
            .block_on(self.config_maps.list(&ListParams::default()));
        let items = list.expect("a list").items.into_iter();
        items
            .map(|each| (each.name_any(), each.resource_version().unwrap_or_default()))
            .collect()
    }

    /// All that was written.
    pub fn into_journal(self) -> Journal {
        self.journal
    }

    fn create(&mut self, name: &str) {
        let config_map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        let created = self
            .runtime
            .block_on(self.config_maps.create(&PostParams::default(), &config_map));
        self.note(Change::Add, name, &created.expect("it is created"));
        self.exist.insert(name.to_owned());
    }

    fn change(&mut self, name: &str) {
        let patch = Patch::Merge(json!({"data": {"number": self.chance.random::<u32>().to_string()}}));
        let changed = self
            .runtime
            .block_on(self.config_maps.patch(name, &PatchParams::default(), &patch));
        self.note(Change::Update, name, &changed.expect("the patch is taken"));
    }

    fn delete(&mut self, name: &str) {
        let deleted = self
            .runtime
            .block_on(self.config_maps.delete(name, &DeleteParams::default()));
        // The answer is a Status without the revision of the deletion. It is at most that of a list made now, and after
        // all that was written to this name before.
        deleted.expect("it is deleted");
        let list = self
            .runtime
            .block_on(self.config_maps.list_metadata(&ListParams::default().limit(1)));
        let at: u64 = list
            .expect("a list")
            .metadata
            .resource_version
            .and_then(|text| text.parse().ok())
            .expect("a revision");
        self.journal.insert(at, (Change::Delete, name.to_owned()));
        self.exist.remove(name);
    }

    fn note(&mut self, change: Change, name: &str, config_map: &ConfigMap) {
        self.journal
            .insert(revision_of(config_map), (change, name.to_owned()));
    }
}

fn revision_of(config_map: &ConfigMap) -> u64 {
    let text = config_map
        .resource_version()
        .expect("a stored object has a revision");
    text.parse().expect("our revisions are numbers")
}
