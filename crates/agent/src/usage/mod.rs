//! What the node's containers use: processor time over the last seconds, memory now.
//!
//! Flows in: `/proc`, for the process trees of the containers that run. Flows out: the kubelet's `/stats/summary`, as far
//! as somebody reads it. A container has no figure before it has been looked at twice. Never touches a process.

mod window;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use informer::Informer;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::keeper::record;
use crate::process;
use window::Window;

/// How often the containers are looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// A container: its pod's uid, its name.
type Id = (String, String);

/// The figures of one node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Usage {
    windows: Arc<Mutex<HashMap<Id, Window>>>,
}

impl Usage {
    /// Looks at the node's containers again and again until `stop`.
    pub async fn run(self, pods: Informer<Pod>, node: String, pods_dir: PathBuf, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let all = pods.list();
            let here = all.iter().filter(|pod| api::pods::node_name(pod) == Some(&node));
            let uids: Vec<_> = here.filter_map(|pod| pod.metadata.uid.clone()).collect();
            let (usage, pods_dir) = (self.clone(), pods_dir.clone());
            // Thousands of small files, perhaps. What it finds is not lost if nobody waits for it.
            let looked = tokio::task::spawn_blocking(move || usage.look(&pods_dir, &uids));
            if let Err(error) = looked.await {
                tracing::warn!(%error, "cannot measure what containers use");
            }
        }
    }

    fn look(&self, pods_dir: &Path, uids: &[String]) {
        let mut found = HashMap::new();
        for uid in uids {
            for attempt in record::attempts(&pods_dir.join(uid)) {
                let runs = attempt.exit.is_none() && process::is_alive(attempt.pid, attempt.started);
                if runs {
                    let used = process::tree(attempt.pid).into_iter().filter_map(process::used);
                    let total = used.fold(process::Used::default(), process::Used::and);
                    found.insert((uid.clone(), attempt.container), (attempt.started, total));
                }
            }
        }
        let now = Instant::now();
        let mut windows = self.windows.lock();
        windows.retain(|id, _| found.contains_key(id));
        for (id, (started, used)) in found {
            windows.entry(id).or_default().add(now, started, used);
        }
    }

    /// The kubelet's summary, less what nobody asks for.
    pub fn summary(&self, pods: &Informer<Pod>) -> Value {
        let windows = self.windows.lock();
        let all = pods.list();
        let of_pod = |pod: &Arc<Pod>| {
            let metadata = &pod.metadata;
            let uid = metadata.uid.clone()?;
            let spec = pod.spec.as_ref()?;
            let containers = api::pods::containers(spec).filter_map(|container| {
                let rate = windows.get(&(uid.clone(), container.name.clone()))?.rate()?;
                Some(json!({
                    "name": container.name,
                    "cpu": { "usageNanoCores": rate.nano_cores },
                    "memory": { "workingSetBytes": rate.bytes },
                }))
            });
            let containers: Vec<Value> = containers.collect();
            let about = json!({ "name": metadata.name, "namespace": metadata.namespace, "uid": uid });
            (!containers.is_empty()).then(|| json!({ "podRef": about, "containers": containers }))
        };
        let pods: Vec<Value> = all.iter().filter_map(of_pod).collect();
        json!({ "time": Timestamp::now().to_string(), "windowSeconds": window::LENGTH.as_secs(), "pods": pods })
    }
}
