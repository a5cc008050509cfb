//! Which pods are in service: the protocol by which a pod is never stopped while connections go to it.
//!
//! A pod is announced (condition True) before it is first routed to, and withdrawn (False) once no connection is left.
//! The API server puts the announcement and the pod's deletion in an order: announced first, the agent sees True and
//! waits; deleted first, the answer to the announcement shows the deletion, and the pod is never routed to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::names::IN_SERVICE;
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

/// A condition to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The pod.
    pub pod: PodId,
    /// True: announced. False: withdrawn.
    pub value: bool,
    /// The condition's message.
    pub message: String,
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
        }
    }
}

/// What one balancer tells the next one of a pod: what a cache may not show yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEstate {
    id: PodId,
    announced: Option<bool>,
    late: bool,
    ended: [u32; 3],
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
            if let Some(known) = self.pods.get(uid) {
                seen.insert(known.id.uid.clone());
                continue;
            }
            let id = PodId {
                uid: uid.into(),
                namespace: pod.namespace().unwrap_or_default(),
                name: pod.name_any(),
            };
            seen.insert(id.uid.clone());
            self.pods
                .insert(id.uid.clone(), Entry::new(id, is_announced(pod)));
        }
        for id in planned {
            seen.insert(id.uid.clone());
            self.pods
                .entry(id.uid.clone())
                .or_insert_with(|| Entry::new(id.clone(), false));
        }
        self.pods.retain(|uid, entry| entry.writing || seen.contains(uid));
    }

    /// Whether connections may go to the pod.
    pub fn admits(&self, pod: &PodId) -> bool {
        self.pods
            .get(&pod.uid)
            .is_some_and(|entry| entry.announced == Some(true) && !entry.late)
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
        let alive = backends
            .iter()
            .filter(|backend| backend.state != BackendState::Drained);
        let routed: HashSet<&Arc<str>> = alive.map(|backend| &backend.owner).collect();
        let mut writes = Vec::new();
        for entry in self.pods.values_mut() {
            if entry.writing || entry.retry.is_some_and(|(at, _)| at > now) {
                continue;
            }
            let wanted = wanted.contains(&entry.id) && !entry.late;
            let message = match (entry.announced, wanted) {
                (Some(false) | None, true) => "the balancer routes connections to this pod".to_owned(),
                (Some(true) | None, false) if !routed.contains(&entry.id.uid) => {
                    let [moved, finished, cut] = entry.ended;
                    format!("no connection is left: moved {moved}, finished {finished}, cut {cut}")
                }
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
                message,
            });
        }
        writes
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
                if !write.value {
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
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, status: &str) -> Arc<Pod> {
        let conditions = json!([{"type": IN_SERVICE, "status": status}]);
        let pod = json!({"metadata": {"uid": uid, "name": uid, "namespace": "d"}, "status": {"conditions": conditions}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn id(uid: &str) -> PodId {
        PodId {
            uid: uid.into(),
            namespace: "d".into(),
            name: uid.into(),
        }
    }

    fn backend(uid: &str, state: BackendState) -> BackendStatus {
        let addr = ([127, 0, 0, 1], 1).into();
        BackendStatus {
            addr,
            owner: uid.into(),
            state,
            open: 1,
            moved: 2,
            finished: 1,
            cut: 0,
        }
    }

    /// The pods that would be written, with their values.
    fn values(pods: &mut InService, wanted: &[&PodId], backends: &[BackendStatus]) -> Vec<(String, bool)> {
        let writes = pods.writes(&wanted.iter().copied().collect(), backends, Instant::now());
        writes
            .into_iter()
            .map(|write| (write.pod.name, write.value))
            .collect()
    }

    #[test]
    fn a_pod_is_announced_before_it_is_routed_to() {
        let (mut pods, a) = (InService::default(), id("a"));
        pods.observe(&[], [&a].into_iter());
        assert!(!pods.admits(&a));
        let writes = pods.writes(&BTreeSet::from([&a]), &[], Instant::now());
        assert_eq!((writes.len(), writes[0].value), (1, true));
        assert!(values(&mut pods, &[&a], &[]).is_empty(), "one write at a time");
        pods.written(&writes[0], Written::Done { deleted: false }, Instant::now());
        assert!(pods.admits(&a));
        assert!(values(&mut pods, &[&a], &[]).is_empty());
    }

    #[test]
    fn a_pod_is_withdrawn_when_its_last_backend_has_drained() {
        let mut pods = InService::default();
        pods.observe(&[pod("a", "True")], [].into_iter());
        assert!(pods.admits(&id("a")));
        let (drained, draining) = (
            backend("a", BackendState::Drained),
            backend("a", BackendState::Draining),
        );
        assert!(values(&mut pods, &[], &[drained.clone(), draining]).is_empty());
        pods.ended(&drained);
        let writes = pods.writes(&BTreeSet::new(), &[drained], Instant::now());
        assert_eq!(
            writes[0].message,
            "no connection is left: moved 2, finished 1, cut 0"
        );
        assert!(!writes[0].value);
        pods.written(&writes[0], Written::Done { deleted: true }, Instant::now());
        assert!(!pods.admits(&id("a")));
        // The cache still shows True: what we wrote is newer.
        pods.observe(&[pod("a", "True")], [].into_iter());
        assert!(values(&mut pods, &[], &[]).is_empty());
    }

    #[test]
    fn after_a_restart_announced_pods_are_routed_to_and_leftovers_withdrawn() {
        let (mut pods, a) = (InService::default(), id("a"));
        pods.observe(
            &[pod("a", "True"), pod("b", "True"), pod("c", "False")],
            [&a].into_iter(),
        );
        assert!(pods.admits(&a));
        assert_eq!(values(&mut pods, &[&a], &[]), [("b".to_owned(), false)]);
    }

    #[test]
    fn a_pod_deleted_before_its_announcement_is_never_routed_to() {
        let (mut pods, a) = (InService::default(), id("a"));
        pods.observe(&[], [&a].into_iter());
        let writes = pods.writes(&BTreeSet::from([&a]), &[], Instant::now());
        pods.written(&writes[0], Written::Done { deleted: true }, Instant::now());
        assert!(!pods.admits(&a));
        assert_eq!(values(&mut pods, &[&a], &[]), [("a".to_owned(), false)]);
    }

    #[test]
    fn an_announcement_whose_answer_was_lost_is_taken_back() {
        let (mut pods, a, now) = (InService::default(), id("a"), Instant::now());
        pods.observe(&[], [&a].into_iter());
        let write = pods.writes(&BTreeSet::from([&a]), &[], now).remove(0);
        // It may be in the API all the same, and meanwhile the pod is not wanted any more.
        pods.written(&write, Written::Failed, now);
        let writes = pods.writes(&BTreeSet::new(), &[], now + FIRST_RETRY);
        assert_eq!(
            writes.iter().map(|write| write.value).collect::<Vec<_>>(),
            [false]
        );
        pods.written(&writes[0], Written::Done { deleted: true }, now + FIRST_RETRY);
        assert!(pods.writes(&BTreeSet::new(), &[], now + LAST_RETRY).is_empty());
        assert_eq!(pods.next_retry(), None, "nothing is left to be waited for");
    }

    #[test]
    fn a_pod_that_is_being_withdrawn_is_not_routed_to_before_it_is_announced_again() {
        let (mut pods, a, now) = (InService::default(), id("a"), Instant::now());
        pods.observe(&[pod("a", "True")], [].into_iter());
        let write = pods.writes(&BTreeSet::new(), &[], now).remove(0);
        assert!(!pods.admits(&a), "the agent may see False by now");
        // Wanted again, whatever became of the write.
        for written in [Written::Failed, Written::Done { deleted: false }] {
            pods.written(&write, written, now);
            assert!(!pods.admits(&a));
            let again = pods
                .writes(&BTreeSet::from([&a]), &[], now + LAST_RETRY)
                .remove(0);
            assert!(again.value);
        }
    }

    #[test]
    fn a_failed_write_is_tried_again_later_and_a_lost_pod_not_at_all() {
        let (mut pods, a, now) = (InService::default(), id("a"), Instant::now());
        pods.observe(&[], [&a].into_iter());
        let wanted = BTreeSet::from([&a]);
        let write = pods.writes(&wanted, &[], now).remove(0);
        pods.written(&write, Written::Failed, now);
        assert!(pods.writes(&wanted, &[], now).is_empty());
        assert_eq!(pods.next_retry(), Some(now + FIRST_RETRY));
        assert_eq!(pods.writes(&wanted, &[], now + FIRST_RETRY).len(), 1);
        pods.written(&write, Written::Failed, now);
        assert_eq!(pods.next_retry(), Some(now + 2 * FIRST_RETRY));
        pods.written(&write, Written::Gone, now);
        assert_eq!(pods.next_retry(), None);
    }
}
