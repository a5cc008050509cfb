//! Which pods are in service: the protocol by which a pod is never stopped while connections go to it.
//!
//! A pod is announced (condition True) before it is first routed to, and withdrawn (False) once no connection is left.
//! The API server puts the announcement and the pod's deletion in an order: announced first, the agent sees True and
//! waits; deleted first, the answer to the announcement shows the deletion, and the pod is never routed to.
//!
//! A pod whose time is nearly over is withdrawn all the same, shortly before its agent would stop it by the clock. So the
//! balancer knows of the stop before the pod does, and can tell the connections that the stop has cut from others.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::names::IN_SERVICE;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::slices::PodId;
use crate::datapath::{BackendState, BackendStatus};

/// First wait after a write that failed; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Longest such wait.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A pod is withdrawn so long before its agent stops it, whatever connections it has.
const LEAD: SignedDuration = SignedDuration::from_millis(250);

/// A condition to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The pod.
    pub pod: PodId,
    /// True: announced. False: withdrawn.
    pub value: bool,
    /// The condition's reason.
    pub reason: &'static str,
    /// The condition's message.
    pub message: String,
}

/// A pod that has left service, and what became of its connections since it was to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The pod.
    pub pod: PodId,
    /// Connections that were moved, that finished, and that were cut.
    pub ended: [u32; 3],
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is in the API.
    Done {
        /// The pod has been deleted before; it waits to be stopped.
        deleted: bool,
    },
    /// There is no such pod any more.
    Gone,
    /// It may work later.
    Failed,
}

/// What is known of the pods' service.
#[derive(Debug, Default)]
pub struct InService {
    pods: HashMap<Arc<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    id: PodId,
    /// What the API says, our own writes included that its caches do not show yet. `None`: a write is under way, or its
    /// answer was lost, so that it may be either: the pod is not routed to, and is written again.
    announced: Option<bool>,
    /// The announcement came after the pod's deletion: it must never be routed to.
    late: bool,
    /// A write is under way.
    writing: bool,
    /// When a failed write may be tried again, and how long to wait after the next failure.
    retry: Option<(Instant, Duration)>,
    /// What became of its connections: moved, finished, cut.
    ended: [u32; 3],
    /// It has been in service, and that it has left has not been told.
    serving: bool,
    /// When it is withdrawn, being deleted.
    due: Option<Timestamp>,
    /// That time has come.
    overdue: bool,
}

impl Entry {
    fn new(id: PodId, announced: bool) -> Self {
        Self {
            id,
            announced: Some(announced),
            late: false,
            writing: false,
            retry: None,
            ended: [0; 3],
            serving: announced,
            due: None,
            overdue: false,
        }
    }

    /// Whether it should be in service, being among those that the plan wants.
    fn is_wanted(&self, wanted: &BTreeSet<&PodId>) -> bool {
        wanted.contains(&self.id) && !self.late && !self.overdue
    }

    /// Whether its time matters, and is not known to be over.
    fn is_waiting(&self) -> bool {
        self.announced != Some(false) && !self.overdue
    }
}

/// What one balancer tells the next one of a pod: what a cache may not show yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEstate {
    id: PodId,
    announced: Option<bool>,
    late: bool,
    ended: [u32; 3],
    serving: bool,
    overdue: bool,
}

impl InService {
    /// Whether writes are under way.
    pub fn is_writing(&self) -> bool {
        self.pods.values().any(|entry| entry.writing)
    }

    /// What the next balancer must know; `backends` are those that the datapath has.
    pub fn estate(&self, backends: &[BackendStatus]) -> Vec<PodEstate> {
        let of = |entry: &Entry| {
            let mut ended = entry.ended;
            for backend in backends.iter().filter(|backend| backend.owner == entry.id.uid) {
                add(&mut ended, backend);
            }
            PodEstate {
                id: entry.id.clone(),
                announced: entry.announced,
                late: entry.late,
                ended,
                serving: entry.serving,
                overdue: entry.overdue,
            }
        };
        self.pods.values().map(of).collect()
    }

    /// Goes on from what another balancer knew.
    pub fn inherit(&mut self, pods: Vec<PodEstate>) {
        for pod in pods {
            let entry = Entry {
                announced: pod.announced,
                late: pod.late,
                ended: pod.ended,
                serving: pod.serving,
                overdue: pod.overdue,
                ..Entry::new(pod.id.clone(), false)
            };
            self.pods.insert(pod.id.uid, entry);
        }
    }

    /// Takes in the pods of the cache and of the plan, and forgets those that are in neither. What we wrote ourselves is
    /// newer than what a cache shows.
    pub fn observe<'a>(&mut self, pods: &[Arc<Pod>], planned: impl Iterator<Item = &'a PodId>) {
        let mut seen = HashSet::new();
        for pod in pods {
            let Some(uid) = pod.metadata.uid.as_deref() else {
                continue;
            };
            let due = api::pods::stopped_at(pod).map(|at| at.checked_sub(LEAD).unwrap_or(at));
            if let Some(known) = self.pods.get_mut(uid) {
                known.due = due;
                seen.insert(known.id.uid.clone());
                continue;
            }
            let id = PodId {
                uid: uid.into(),
                namespace: pod.namespace().unwrap_or_default(),
                name: pod.name_any(),
            };
            seen.insert(id.uid.clone());
            let mut entry = Entry::new(id, is_announced(pod));
            entry.due = due;
            self.pods.insert(entry.id.uid.clone(), entry);
        }
        for id in planned {
            seen.insert(id.uid.clone());
            self.pods
                .entry(id.uid.clone())
                .or_insert_with(|| Entry::new(id.clone(), false));
        }
        self.pods
            .retain(|uid, entry| entry.writing || entry.serving || seen.contains(uid));
    }

    /// Whether connections may go to the pod.
    pub fn admits(&self, pod: &PodId) -> bool {
        self.pods
            .get(&pod.uid)
            .is_some_and(|entry| entry.announced == Some(true) && !entry.late && !entry.overdue)
    }

    /// Pods in service whose time is over.
    pub fn overdue(&mut self, now: Timestamp) -> Vec<Arc<str>> {
        for entry in self.pods.values_mut() {
            entry.overdue |= entry.is_waiting() && entry.due.is_some_and(|due| due <= now);
        }
        let over = self.pods.values().filter(|entry| entry.overdue && entry.serving);
        over.map(|entry| entry.id.uid.clone()).collect()
    }

    /// When the time of the next pod is over.
    pub fn next_due(&self) -> Option<Timestamp> {
        let waiting = self.pods.values().filter(|entry| entry.is_waiting());
        waiting.filter_map(|entry| entry.due).min()
    }

    /// Adds up what became of the connections of backends that have drained and are about to be forgotten.
    pub fn ended(&mut self, backend: &BackendStatus) {
        if let Some(entry) = self.pods.get_mut(&backend.owner) {
            add(&mut entry.ended, backend);
        }
    }

    /// The writes to be begun now; each must be answered by [`Self::written`]. `backends` are those that the datapath
    /// has, after a table was applied that has only pods which [`Self::admits`].
    pub fn writes(
        &mut self,
        wanted: &BTreeSet<&PodId>,
        backends: &[BackendStatus],
        now: Instant,
    ) -> Vec<Write> {
        let routed = routed(backends);
        let mut writes = Vec::new();
        for entry in self.pods.values_mut() {
            if entry.writing || entry.retry.is_some_and(|(at, _)| at > now) {
                continue;
            }
            let wanted = entry.is_wanted(wanted);
            let (reason, message) = match (entry.announced, wanted) {
                (Some(false) | None, true) => {
                    ("Routed", "the balancer routes connections to this pod".to_owned())
                }
                (Some(true) | None, false) if !routed.contains(&entry.id.uid) => (
                    "Drained",
                    format!("no connection is left: {}", story(entry.ended)),
                ),
                (Some(true) | None, false) if entry.overdue => (
                    "GracePeriodOver",
                    "the grace period is nearly over and connections are left: they end with the pod"
                        .to_owned(),
                ),
                _ => {
                    entry.retry = None;
                    continue;
                }
            };
            entry.writing = true;
            // From here on the agent may see either, so nothing may be routed there before the answer is known.
            entry.announced = None;
            writes.push(Write {
                pod: entry.id.clone(),
                value: wanted,
                reason,
                message,
            });
        }
        writes
    }

    /// Pods that have lost their last connection since they were to leave; each is told once.
    pub fn left(&mut self, wanted: &BTreeSet<&PodId>, backends: &[BackendStatus]) -> Vec<Left> {
        let routed = routed(backends);
        let mut all = Vec::new();
        for entry in self.pods.values_mut() {
            if entry.serving && !entry.is_wanted(wanted) && !routed.contains(&entry.id.uid) {
                entry.serving = false;
                all.push(Left {
                    pod: entry.id.clone(),
                    ended: entry.ended,
                });
            }
        }
        all
    }

    /// Takes note of how a write went.
    pub fn written(&mut self, write: &Write, written: Written, now: Instant) {
        let Some(entry) = self.pods.get_mut(&write.pod.uid) else {
            return;
        };
        entry.writing = false;
        match written {
            Written::Done { deleted } => {
                entry.announced = Some(write.value);
                if write.value && !deleted {
                    entry.serving = true;
                    entry.ended = [0; 3];
                }
                // A pod that is deleted never becomes wanted again, so late stays late.
                entry.late |= write.value && deleted;
                entry.retry = None;
            }
            Written::Gone => {
                self.pods.remove(&write.pod.uid);
            }
            Written::Failed => {
                let wait = entry.retry.map_or(FIRST_RETRY, |(_, wait)| wait);
                entry.retry = Some((now + wait, (wait * 2).min(LAST_RETRY)));
            }
        }
    }

    /// When the next failed write may be tried again.
    pub fn next_retry(&self) -> Option<Instant> {
        let waiting = self.pods.values().filter(|entry| !entry.writing);
        waiting.filter_map(|entry| entry.retry.map(|(at, _)| at)).min()
    }

    /// Who a backend's owner is.
    pub fn pod(&self, uid: &str) -> Option<&PodId> {
        self.pods.get(uid).map(|entry| &entry.id)
    }
}

fn add(ended: &mut [u32; 3], backend: &BackendStatus) {
    let ends = [backend.moved, backend.finished, backend.cut];
    *ended = std::array::from_fn(|at| ended[at] + ends[at]);
}

/// The owners of backends that have connections or may get some.
fn routed(backends: &[BackendStatus]) -> HashSet<&Arc<str>> {
    let alive = backends
        .iter()
        .filter(|backend| backend.state != BackendState::Drained);
    alive.map(|backend| &backend.owner).collect()
}

/// What became of a pod's connections.
pub fn story([moved, finished, cut]: [u32; 3]) -> String {
    format!("moved {moved}, finished {finished}, cut {cut}")
}

fn is_announced(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .filter(|condition| condition.type_ == IN_SERVICE)
        .any(|condition| condition.status == "True")
}

#[cfg(test)]
#[path = "in_service_tests.rs"]
mod tests;
