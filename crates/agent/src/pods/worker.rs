//! The worker of one pod: looks at everything, does what is due, writes the status, waits.
//!
//! Every step starts from what is so now (the latest pod, the keeper's state, the probes' verdicts, the time), so that a
//! step which fails, or an event that is lost, is made good by the next. The steps themselves are in `set_up` (a place
//! and a keeper), `run` (containers) and `stop`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::container::Run;
use crate::keeper::protocol::Attempt;
use crate::node::Node;
use crate::notes::Notes;
use crate::probes::Verdict;
use crate::sandbox::Place;
use crate::sandbox::link::Link;
use crate::status::{self, CutShort, Known};

/// How soon something that failed for a reason outside of the pod is tried again.
pub const RETRY: Duration = Duration::from_secs(1);

/// What a step leaves.
pub enum Step {
    /// Nothing is to be done until something changes, or until this moment.
    Wait(Option<Instant>),
    /// The pod is gone, and all that was its.
    Done,
}

/// What tasks of the worker tell it.
#[derive(Debug)]
pub enum Message {
    /// A postStart hook has ended.
    PostStarted {
        /// The container.
        container: String,
        /// Which attempt at running it.
        attempt: u32,
        /// What went wrong, if anything.
        result: Result<(), String>,
    },
}

/// The worker of one pod.
pub struct Worker {
    pub(super) node: Arc<Node>,
    pub(super) uid: String,
    latest: watch::Receiver<Option<Arc<Pod>>>,
    /// The last version of the pod that there was.
    pub(super) pod: Arc<Pod>,
    pub(super) notes: Notes,
    pub(super) place: Option<Arc<Place>>,
    pub(super) link: Option<Link>,
    /// Whether what an earlier agent left has been taken over.
    pub(super) is_recovered: bool,
    pub(super) containers: BTreeMap<String, Run>,
    pub(super) verdicts: (mpsc::UnboundedSender<Verdict>, mpsc::UnboundedReceiver<Verdict>),
    pub(super) messages: (mpsc::UnboundedSender<Message>, mpsc::UnboundedReceiver<Message>),
    pub(super) seen: Timestamp,
    pub(super) cut_short: Option<CutShort>,
    pub(super) is_drained: bool,
    written: Option<PodStatus>,
    /// The revision of the pod that the latest write made.
    written_at: u64,
}

impl Worker {
    /// A worker for a pod; `place` is what an earlier agent gave it.
    pub fn new(
        node: Arc<Node>,
        uid: String,
        latest: watch::Receiver<Option<Arc<Pod>>>,
        place: Option<Place>,
    ) -> Self {
        let pod = latest.borrow().clone().unwrap_or_default();
        let notes = Notes::new(node.recorder.clone(), &pod);
        let started = pod
            .status
            .as_ref()
            .and_then(|status| status.start_time.as_ref())
            .map(|time| time.0);
        Self {
            uid,
            latest,
            notes,
            place: place.map(Arc::new),
            link: None,
            is_recovered: false,
            containers: BTreeMap::new(),
            verdicts: mpsc::unbounded_channel(),
            messages: mpsc::unbounded_channel(),
            seen: started.unwrap_or_else(Timestamp::now),
            cut_short: None,
            is_drained: false,
            written: None,
            written_at: 0,
            pod,
            node,
        }
    }

    /// Looks after the pod until it is gone.
    #[tracing::instrument(name = "pod", skip_all, fields(uid = %self.uid, name = self.pod.metadata.name))]
    pub async fn run(mut self) {
        loop {
            let wake = match self.step().await {
                Step::Done => return,
                Step::Wait(wake) => wake,
            };
            self.wait(wake).await;
        }
    }

    async fn step(&mut self) -> Step {
        let latest = self.latest.borrow_and_update().clone();
        if !self.is_recovered {
            self.recover().await;
        }
        self.take_state();
        let Some(pod) = latest else {
            return self.vanish().await;
        };
        self.pod = pod;
        if self.is_overwritten() {
            self.written = None;
        }
        let step = if self.pod.metadata.deletion_timestamp.is_some() {
            self.terminate().await
        } else {
            Step::Wait(self.sync().await)
        };
        match step {
            Step::Wait(wake) => match self.write_status().await {
                Ok(()) => Step::Wait(wake),
                Err(error) => {
                    tracing::debug!(%error, "cannot write the pod's status");
                    Step::Wait(earliest(wake, Some(Instant::now() + RETRY)))
                }
            },
            Step::Done => Step::Done,
        }
    }

    async fn wait(&mut self, wake: Option<Instant>) {
        let link = &mut self.link;
        let keeper = async {
            match link {
                Some(link) => link.changed().await,
                None => std::future::pending().await,
            }
        };
        let alarm = async {
            match wake {
                Some(wake) => tokio::time::sleep_until(wake).await,
                None => std::future::pending().await,
            }
        };
        let (mut verdict, mut message) = (None, None);
        tokio::select! {
            // An error means that the agent is about to end.
            _ = self.latest.changed() => {}
            is_there = keeper => if !is_there {
                self.link = None;
                self.is_recovered = false;
            },
            taken = self.verdicts.1.recv() => verdict = taken,
            taken = self.messages.1.recv() => message = taken,
            () = alarm => {}
        }
        // Before what was told about an attempt, what became of the attempt.
        self.take_state();
        if let Some(verdict) = verdict {
            self.take_verdict(&verdict);
        }
        if let Some(message) = message {
            self.take_message(message);
        }
    }

    fn take_state(&mut self) {
        let Some(link) = &self.link else { return };
        let attempts = link.state().containers;
        self.take_attempts(&attempts);
    }

    /// Takes attempts as the keeper, or what it left on disk, tells of them.
    pub(super) fn take_attempts(&mut self, attempts: &[Attempt]) {
        for attempt in attempts {
            let run = self.containers.entry(attempt.container.clone()).or_default();
            let was_starting = run.starting.is_some();
            if run.take(attempt) {
                self.tell_start(attempt, was_starting);
            }
        }
    }

    /// The pod's spec.
    pub(super) fn spec(&self) -> PodSpec {
        self.pod.spec.clone().unwrap_or_default()
    }

    /// A container of the pod by name.
    pub(super) fn container(&self, name: &str) -> Option<Container> {
        let spec = self.pod.spec.as_ref()?;
        let found = api::pods::containers(spec).find(|container| container.name == name);
        found.map(Cow::into_owned)
    }

    /// The status as it is now.
    pub(super) fn status(&self) -> PodStatus {
        let containers = self
            .containers
            .iter()
            .map(|(name, run)| (name.clone(), run.known.clone()))
            .collect();
        status::status(&Known {
            pod: &self.pod,
            written: self.written.as_ref(),
            node_ip: self.node.ip,
            ip: self.place.as_ref().map(|place| place.ip),
            is_set_up: self.link.is_some() || self.containers.values().any(|run| run.known.attempt.is_some()),
            seen: self.seen,
            containers: &containers,
            cut_short: self.cut_short.as_ref(),
            now: Timestamp::now(),
        })
    }

    /// Whether any container of it runs, or is about to.
    pub(super) fn is_alive(&self) -> bool {
        self.containers.values().any(Run::is_alive)
    }

    /// Whether the pod has ended for good.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.status().phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Writes the status if it is news. An object that is gone is no error: the informer will say so too.
    pub(super) async fn write_status(&mut self) -> kube::Result<()> {
        let status = self.status();
        if self.written.as_ref() == Some(&status) {
            return Ok(());
        }
        let ports = self
            .place
            .as_ref()
            .map(|place| place.ports.clone())
            .unwrap_or_default();
        let body = status::patch(&self.uid, &status, &ports);
        let result = self
            .api()
            .patch_status(self.name(), &PatchParams::default(), &Patch::Strategic(body))
            .await;
        match result {
            Ok(pod) => self.written_at = revision(&pod),
            Err(kube::Error::Api(answer)) if answer.code == 404 => tracing::debug!("the pod is gone"),
            // A conflict too: if the pod is another by now, the informer will say so; if not, it is to be written still.
            Err(error) => return Err(error),
        }
        self.written = Some(status);
        Ok(())
    }

    /// Whether somebody has changed a condition that was written here, as the node controller does while an agent is
    /// silent, and leaves it to the agent to put it right.
    fn is_overwritten(&self) -> bool {
        let ours = self
            .written
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        revision(&self.pod) > self.written_at
            && ours
                .map(|ours| (ours, api::pods::condition(&self.pod, &ours.type_)))
                .any(|(ours, theirs)| theirs.is_none_or(|theirs| theirs.status != ours.status))
    }

    pub(super) fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn api(&self) -> Api<Pod> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
        Api::namespaced(self.node.client.clone(), namespace)
    }
}

/// The revision of a version of a pod; 0 if it has none.
fn revision(pod: &Pod) -> u64 {
    let text = pod.metadata.resource_version.as_deref();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The earlier of two moments, where there are any.
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// The moment on tokio's clock that a time of day is at.
pub fn instant(time: Timestamp) -> Instant {
    let left = time.duration_since(Timestamp::now());
    Instant::now() + Duration::try_from(left).unwrap_or_default()
}
