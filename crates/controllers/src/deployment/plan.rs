//! One sync of a Deployment, decided: what to write, given what the caches show. Pure.
//!
//! Follows the order of upstream's `syncDeployment`: pause bookkeeping, then scaling, then one step of the rollout; each
//! plan changes either the new ReplicaSet or old ones, never both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};

use super::conditions::{self, Conditions, PAUSED, PROGRESSING, TIMED_OUT};
use super::limits::Limits;
use super::sets::{Set, Sets};
use super::{history, replica_set, revision, rolling, scaling, status};

/// What one sync looks at.
pub struct Snapshot {
    /// The Deployment.
    pub deployment: Arc<Deployment>,
    /// The ReplicaSets it owns.
    pub replica_sets: Vec<Arc<ReplicaSet>>,
    /// The uids of those of them that have a pod that has not finished, one on its way out included. Asked for by the
    /// strategy Recreate only.
    pub running: BTreeSet<String>,
    /// The time, in whole seconds.
    pub now: Timestamp,
}

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates the new ReplicaSet.
    Create(Box<ReplicaSet>),
    /// Changes a ReplicaSet.
    Update(Box<Change>),
    /// Sets the Deployment's own revision.
    Annotate {
        /// Value of [`revision::REVISION`].
        revision: String,
    },
    /// Deletes an old ReplicaSet.
    Delete(Arc<ReplicaSet>),
    /// Writes the Deployment's status.
    Status(Box<DeploymentStatus>),
    /// Tells the user that the selector selects everything.
    WarnSelectingAll,
}

/// What changes of a ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// As it was read.
    pub object: Arc<ReplicaSet>,
    /// Replicas before and after, if they change.
    pub replicas: Option<(i32, i32)>,
    /// Annotations to set.
    pub annotations: BTreeMap<String, String>,
    /// minReadySeconds to set.
    pub min_ready_seconds: Option<i32>,
}

/// What to do, in order, and when to look again if nothing changes.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Writes, in order; the rest is dropped if one fails.
    pub actions: Vec<Action>,
    /// When to plan again.
    pub look_again: Option<Duration>,
}

/// Decides.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let Some(spec) = &snapshot.deployment.spec else {
        return Plan::default();
    };
    let selector = &spec.selector;
    let selects_all = selector.match_labels.iter().flatten().next().is_none()
        && selector.match_expressions.iter().flatten().next().is_none();
    if selects_all {
        return selecting_all(&snapshot.deployment);
    }
    let mut draft = Draft::new(snapshot, spec);
    if snapshot.deployment.metadata.deletion_timestamp.is_some() {
        return draft.finish(Report::Counts);
    }
    draft.note_pause();
    let is_paused = spec.paused == Some(true);
    if is_paused || scaling::is_due(&draft.limits, &draft.sets) {
        draft.refresh_new();
        let total_before = snapshot
            .deployment
            .status
            .as_ref()
            .and_then(|status| status.replicas)
            .unwrap_or(0);
        scaling::scale(&draft.limits, &mut draft.sets, total_before);
        if is_paused {
            draft.clean_up();
        }
        return draft.finish(Report::Counts);
    }
    if draft.limits.is_rolling {
        draft.roll();
    } else {
        draft.recreate();
    }
    draft.finish(Report::Progress)
}

fn selecting_all(deployment: &Deployment) -> Plan {
    let mut status = deployment.status.clone().unwrap_or_default();
    let mut actions = vec![Action::WarnSelectingAll];
    if status.observed_generation < deployment.metadata.generation {
        status.observed_generation = deployment.metadata.generation;
        actions.push(Action::Status(Box::new(status)));
    }
    Plan {
        actions,
        look_again: None,
    }
}

/// How much the status says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Report {
    /// Counts and availability.
    Counts,
    /// Also how the rollout goes.
    Progress,
}

/// A plan in the making.
struct Draft<'a> {
    snapshot: &'a Snapshot,
    spec: &'a DeploymentSpec,
    limits: Limits,
    sets: Sets,
    conditions: Conditions,
    create: Option<ReplicaSet>,
    delete: Vec<Arc<ReplicaSet>>,
}

impl<'a> Draft<'a> {
    fn new(snapshot: &'a Snapshot, spec: &'a DeploymentSpec) -> Self {
        let status = snapshot.deployment.status.as_ref();
        Self {
            snapshot,
            spec,
            limits: Limits::of(spec),
            sets: Sets::of(&snapshot.deployment, &snapshot.replica_sets),
            conditions: Conditions::of(status.and_then(|status| status.conditions.as_ref())),
            create: None,
            delete: Vec::new(),
        }
    }

    /// Notes pausing and resuming, which keeps the deadline's clock from running meanwhile.
    fn note_pause(&mut self) {
        if status::deadline(&self.snapshot.deployment).is_none()
            || self.conditions.reason(PROGRESSING) == TIMED_OUT
        {
            return;
        }
        let was_paused = self.conditions.reason(PROGRESSING) == PAUSED;
        let (reason, message) = match (self.spec.paused == Some(true), was_paused) {
            (true, false) => (PAUSED, "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        self.conditions.set(conditions::new(
            PROGRESSING,
            "Unknown",
            reason,
            message,
            self.snapshot.now,
        ));
    }

    fn roll(&mut self) {
        if self.sets.current().is_none() {
            let size = rolling::new_size(&self.limits, 0, self.sets.at_work());
            self.create(size);
            return;
        }
        self.refresh_new();
        rolling::step(&self.limits, &mut self.sets);
        self.clean_up_if_complete();
    }

    /// First all old replicas go, then the new ones come.
    fn recreate(&mut self) {
        self.refresh_new();
        let limits = self.limits;
        if self.sets.old().any(|old| old.spec > 0) {
            self.sets
                .old_mut()
                .filter(|old| old.spec > 0)
                .for_each(|old| scaling::resize(&limits, old, 0));
            return;
        }
        if self.old_pods_run() {
            return;
        }
        match self.sets.current_mut() {
            None => self.create(self.limits.replicas),
            Some(new) if new.spec != limits.replicas => scaling::resize(&limits, new, limits.replicas),
            Some(_) => self.clean_up_if_complete(),
        }
    }

    fn old_pods_run(&self) -> bool {
        let uid = |set: &Set| set.object.metadata.uid.clone();
        let new = self.sets.current().and_then(uid);
        self.sets.old().any(|old| old.replicas() > 0)
            || self
                .snapshot
                .running
                .iter()
                .any(|running| Some(running) != new.as_ref())
    }

    fn create(&mut self, size: i32) {
        let revision = self.sets.next_revision();
        let created =
            replica_set::for_template(&self.snapshot.deployment, self.spec, &self.limits, size, revision);
        if status::deadline(&self.snapshot.deployment).is_some() {
            let name = created.metadata.name.as_deref().unwrap_or_default();
            let message = format!("Created new replica set {name:?}");
            let now = self.snapshot.now;
            self.conditions.set(conditions::new(
                PROGRESSING,
                "True",
                "NewReplicaSetCreated",
                message,
                now,
            ));
        }
        self.create = Some(created);
    }

    /// Brings annotations and minReadySeconds of an existing new ReplicaSet up to date.
    fn refresh_new(&mut self) {
        let next = self.sets.next_revision();
        let Some(new) = self.sets.current_mut() else {
            return;
        };
        revision::annotate(&self.snapshot.deployment, new, next);
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let current = new
            .object
            .spec
            .as_ref()
            .and_then(|spec| spec.min_ready_seconds)
            .unwrap_or(0);
        new.min_ready_seconds = (current != min_ready).then_some(min_ready);
        let has_deadline = status::deadline(&self.snapshot.deployment).is_some();
        if has_deadline && self.conditions.get(PROGRESSING).is_none() {
            let message = format!("Found new replica set {:?}", new.name());
            let now = self.snapshot.now;
            self.conditions.set(conditions::new(
                PROGRESSING,
                "True",
                "FoundNewReplicaSet",
                message,
                now,
            ));
        }
    }

    fn clean_up_if_complete(&mut self) {
        let status = self.snapshot.deployment.status.as_ref();
        if status.is_some_and(|status| status::is_complete(&self.snapshot.deployment, status)) {
            self.clean_up();
        }
    }

    fn clean_up(&mut self) {
        self.delete = history::superfluous(self.spec.revision_history_limit, &self.sets);
    }

    fn finish(mut self, report: Report) -> Plan {
        let deployment = &self.snapshot.deployment;
        for set in self
            .sets
            .all_mut()
            .iter_mut()
            .filter(|set| set.spec != set.spec_before())
        {
            scaling::resize(&self.limits, set, set.spec);
        }
        let mut wanted = status::calculate(
            deployment,
            &self.limits,
            &self.sets,
            self.conditions.clone(),
            self.snapshot.now,
        );
        if report == Report::Progress {
            status::judge_progress(
                deployment,
                &self.sets,
                &self.conditions,
                &mut wanted,
                self.snapshot.now,
            );
        }
        let look_again = status::look_again(deployment, &wanted, self.snapshot.now);
        let is_new_status = deployment.status.as_ref() != Some(&wanted);
        let mut actions = self.writes();
        if is_new_status {
            actions.push(Action::Status(Box::new(wanted)));
        }
        Plan { actions, look_again }
    }

    /// The writes to ReplicaSets, and the Deployment's revision, which is its new ReplicaSet's.
    fn writes(self) -> Vec<Action> {
        let created = self
            .create
            .as_ref()
            .and_then(|created| created.metadata.annotations.as_ref());
        let revision = match created {
            Some(annotations) => annotations.get(revision::REVISION).map(String::as_str),
            None => self
                .sets
                .current()
                .and_then(|new| new.annotation(revision::REVISION)),
        };
        let written = self.snapshot.deployment.metadata.annotations.as_ref();
        let written = written.and_then(|annotations| annotations.get(revision::REVISION));
        let annotate = revision
            .filter(|revision| written.is_none_or(|written| written != revision))
            .map(|revision| Action::Annotate {
                revision: revision.to_owned(),
            });
        let create = self.create.map(|created| Action::Create(Box::new(created)));
        let updates = self.sets.all().iter().filter(|set| set.is_changed()).map(update);
        create
            .into_iter()
            .chain(updates)
            .chain(annotate)
            .chain(self.delete.into_iter().map(Action::Delete))
            .collect()
    }
}

fn update(set: &Set) -> Action {
    let before = set.spec_before();
    Action::Update(Box::new(Change {
        object: set.object.clone(),
        replicas: (set.spec != before).then_some((before, set.spec)),
        annotations: set.annotations.clone(),
        min_ready_seconds: set.min_ready_seconds,
    }))
}
