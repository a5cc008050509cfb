//! Objects that are written all the time, and what the API has acknowledged of them.
//!
//! Flows in: a seed. Flows out: ConfigMaps that are created, replaced and deleted at a steady pace, and in the end every
//! difference between what was acknowledged and what is there. An object whose last write got no answer may be as before
//! or as written; it is left alone from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::world::client;
use crate::Cluster;

/// Between two writes.
const PACE: Duration = Duration::from_millis(15);

/// Characters in an object: so many that a full disk is felt before the store's journal is folded.
const LENGTH: std::ops::Range<usize> = 300..60_000;

const LABEL: (&str, &str) = ("part-of", "chaos");

/// What is known of an object.
enum Entry {
    /// It is exactly as acknowledged; `None`: it is deleted.
    Acknowledged(Option<ConfigMap>),
    /// The last write got no answer.
    Unsure {
        before: Option<ConfigMap>,
        /// What was written; `None`: it was deleted.
        data: Option<BTreeMap<String, String>>,
    },
}

/// The comparison.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes that were refused: nothing may have come of them.
    pub refused: u64,
    /// Objects that were compared.
    pub objects: u64,
    /// Those of them whose last write got no answer.
    pub unsure: u64,
    /// What is not as acknowledged.
    pub wrong: Vec<String>,
}

/// The writer's own thread.
pub struct Ledger {
    stop: CancellationToken,
    thread: std::thread::JoinHandle<Comparison>,
}

impl Ledger {
    /// Starts to write.
    pub fn start(cluster: &Cluster, seed: u64) -> Self {
        let stop = CancellationToken::new();
        let (runtime, client) = client(cluster);
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut writer = Writer {
                api: Api::default_namespaced(client),
                random: StdRng::seed_from_u64(seed),
                entries: BTreeMap::new(),
                counts: Comparison::default(),
            };
            runtime.block_on(async {
                let mut tick = tokio::time::interval(PACE);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                while stopped.run_until_cancelled(tick.tick()).await.is_some() {
                    writer.write().await;
                }
                writer.compare().await
            })
        });
        Self { stop, thread }
    }

    /// Writes no more, and compares; the server must run.
    ///
    /// # Panics
    /// If the API does not answer.
    pub fn finish(self) -> Comparison {
        self.stop.cancel();
        self.thread
            .join()
            .unwrap_or_else(|why| std::panic::resume_unwind(why))
    }
}

struct Writer {
    api: Api<ConfigMap>,
    random: StdRng,
    entries: BTreeMap<String, Entry>,
    counts: Comparison,
}

impl Writer {
    /// One write: half of them make an object, a third replace one, the others delete one.
    async fn write(&mut self) {
        let known = self.entries.values().filter_map(|entry| match entry {
            Entry::Acknowledged(Some(object)) => Some(object),
            Entry::Acknowledged(None) | Entry::Unsure { .. } => None,
        });
        let before = known.choose(&mut self.random).cloned();
        let (choice, before) = match (self.random.random_range(0..6), before) {
            (3.., Some(before)) => (self.random.random_range(3..6), Some(before)),
            _ => (0, None),
        };
        let (number, width) = (self.random.random::<u64>(), self.random.random_range(LENGTH));
        let text = format!("{number:0width$}");
        let data = Some(BTreeMap::from([("text".to_owned(), text)]));
        let (written, answer) = match before.clone() {
            None => {
                let new = new(self.entries.len(), data);
                let answer = self.api.create(&PostParams::default(), &new).await;
                (Some(new), answer.map(Some))
            }
            Some(object) if choice < 5 => {
                let written = ConfigMap { data, ..object };
                let (name, params) = (written.name_any(), PostParams::default());
                let answer = self.api.replace(&name, &params, &written).await;
                (Some(written), answer.map(Some))
            }
            Some(object) => {
                let answer = self
                    .api
                    .delete(&object.name_any(), &DeleteParams::default())
                    .await;
                (None, answer.map(|_| None))
            }
        };
        self.note(before, written, answer);
    }

    fn note(
        &mut self,
        before: Option<ConfigMap>,
        written: Option<ConfigMap>,
        answer: kube::Result<Option<ConfigMap>>,
    ) {
        let name = before.as_ref().or(written.as_ref()).map(ResourceExt::name_any);
        let name = name.unwrap_or_default();
        let entry = match answer {
            Ok(now) => {
                self.counts.acknowledged += 1;
                Entry::Acknowledged(now)
            }
            Err(kube::Error::Api(_)) => {
                self.counts.refused += 1;
                Entry::Acknowledged(before)
            }
            Err(_) => Entry::Unsure {
                before,
                data: data(written.as_ref()).cloned(),
            },
        };
        self.entries.insert(name, entry);
    }

    async fn compare(self) -> Comparison {
        let params = ListParams::default().labels(&format!("{}={}", LABEL.0, LABEL.1));
        let list = self.api.list(&params).await.expect("the API answers");
        let named = |object: ConfigMap| (object.name_any(), object);
        let mut there: BTreeMap<String, ConfigMap> = list.items.into_iter().map(named).collect();
        let mut counts = self.counts;
        for (name, entry) in self.entries {
            counts.objects += 1;
            let now = there.remove(&name);
            let is_right = match &entry {
                Entry::Acknowledged(wanted) => now == *wanted,
                Entry::Unsure {
                    before,
                    data: written,
                } => {
                    counts.unsure += 1;
                    now == *before || data(now.as_ref()) == written.as_ref()
                }
            };
            if !is_right {
                counts.wrong.push(match (entry, now) {
                    (Entry::Acknowledged(Some(_)), None) => format!("ConfigMap {name} is lost"),
                    (Entry::Acknowledged(None), Some(_)) => format!("ConfigMap {name} is back from the dead"),
                    (_, now) => format!("ConfigMap {name} is not as acknowledged: {now:?}"),
                });
            }
        }
        let made_up = there
            .into_keys()
            .map(|name| format!("nobody has made ConfigMap {name}"));
        counts.wrong.extend(made_up);
        counts
    }
}

fn data(object: Option<&ConfigMap>) -> Option<&BTreeMap<String, String>> {
    object.and_then(|object| object.data.as_ref())
}

fn new(number: usize, data: Option<BTreeMap<String, String>>) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(format!("ledger-{number}")),
            labels: Some(BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())])),
            ..ObjectMeta::default()
        },
        data,
        ..ConfigMap::default()
    }
}
