//! A played API for the planner: applies plans as the API server would, and plays the ReplicaSet controller and pods.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::conditions::PROGRESSING;
use super::limits::Limits;
use super::plan::{Action, Change, Plan, Snapshot, plan};
use super::sets::Sets;

/// The Deployment, its ReplicaSets, and the time.
pub struct Simulation {
    pub deployment: Deployment,
    pub sets: Vec<ReplicaSet>,
    pub now: Timestamp,
    /// Uids of the ReplicaSets that count as having unfinished pods beyond their status.
    pub running: BTreeSet<String>,
    created: i64,
}

impl Simulation {
    /// A Deployment of image `a` with nothing done for it yet. `strategy` is the `rollingUpdate` field; null for Recreate.
    pub fn new(replicas: i32, strategy: &Value) -> Self {
        let kind = if strategy.is_null() {
            "Recreate"
        } else {
            "RollingUpdate"
        };
        let deployment = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "d", "generation": 1 },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": "web" } },
                "strategy": { "type": kind, "rollingUpdate": strategy },
                "progressDeadlineSeconds": 600,
                "revisionHistoryLimit": 10,
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "c", "image": "a" }] },
                },
            },
        }));
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        Self {
            deployment: deployment.unwrap(),
            sets: Vec::new(),
            now,
            running: BTreeSet::new(),
            created: 0,
        }
    }

    /// A complete Deployment of image `a`.
    pub fn rolled_out(replicas: i32, strategy: &Value) -> Self {
        let mut simulation = Self::new(replicas, strategy);
        simulation.finish();
        simulation
    }

    /// Changes the Deployment's spec by a JSON merge.
    pub fn change_spec(&mut self, change: impl FnOnce(&mut k8s_openapi::api::apps::v1::DeploymentSpec)) {
        change(self.deployment.spec.as_mut().unwrap());
        *self.deployment.metadata.generation.as_mut().unwrap() += 1;
    }

    pub fn set_image(&mut self, image: &str) {
        self.change_spec(|spec| {
            spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
        });
    }

    pub fn scale(&mut self, replicas: i32) {
        self.change_spec(|spec| spec.replicas = Some(replicas));
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            deployment: Arc::new(self.deployment.clone()),
            replica_sets: self.sets.iter().cloned().map(Arc::new).collect(),
            running: self.running.clone(),
            now: self.now,
        }
    }

    /// One sync: plans and applies the plan.
    pub fn sync(&mut self) -> Plan {
        let plan = plan(&self.snapshot());
        for action in &plan.actions {
            match action {
                Action::Create(set) => self.create((**set).clone()),
                Action::Update(change) => self.update(change),
                Action::Annotate { revision } => {
                    let annotations = self.deployment.metadata.annotations.get_or_insert_default();
                    annotations.insert(super::revision::REVISION.into(), revision.clone());
                }
                Action::Delete(set) => self.sets.retain(|other| other.metadata.name != set.metadata.name),
                Action::Status(status) => self.deployment.status = Some((**status).clone()),
                Action::WarnSelectingAll => {}
            }
        }
        plan
    }

    fn create(&mut self, mut set: ReplicaSet) {
        self.created += 1;
        set.metadata.uid = set.metadata.name.clone();
        set.metadata.generation = Some(1);
        let time = Timestamp::from_second(self.now.as_second() + self.created).unwrap();
        set.metadata.creation_timestamp = Some(Time(time));
        assert!(
            self.sets
                .iter()
                .all(|other| other.metadata.name != set.metadata.name),
            "name is taken"
        );
        self.sets.push(set);
    }

    fn update(&mut self, change: &Change) {
        let name = &change.object.metadata.name;
        let set = self
            .sets
            .iter_mut()
            .find(|set| set.metadata.name == *name)
            .unwrap();
        set.metadata
            .annotations
            .get_or_insert_default()
            .extend(change.annotations.clone());
        let spec = set.spec.as_mut().unwrap();
        spec.min_ready_seconds = change.min_ready_seconds.or(spec.min_ready_seconds);
        if let Some((_, replicas)) = change.replicas {
            spec.replicas = Some(replicas);
            *set.metadata.generation.as_mut().unwrap() += 1;
        }
    }

    /// The ReplicaSet controller has seen the specs: missing pods exist, unready; superfluous ones are gone, unready first.
    pub fn pods_follow(&mut self) {
        for set in &mut self.sets {
            let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap();
            let status = set.status.get_or_insert_default();
            let available = status.available_replicas.unwrap_or(0).min(wanted);
            *status = counts(wanted, available, set.metadata.generation);
        }
    }

    /// `count` more pods of this ReplicaSet (or fewer, below 0) are available.
    pub fn make_available(&mut self, at: usize, count: i32) {
        let set = &mut self.sets[at];
        let old = set.status.get_or_insert_default();
        let available = (old.available_replicas.unwrap_or(0) + count).clamp(0, old.replicas);
        *old = counts(old.replicas, available, old.observed_generation);
    }

    /// All pods that exist become available.
    pub fn all_available(&mut self) {
        self.pods_follow();
        (0..self.sets.len()).for_each(|at| self.make_available(at, i32::MAX / 2));
    }

    /// Syncs and lets pods become available until nothing changes any more; returns the sizes (old, new) on the way.
    pub fn finish(&mut self) -> Vec<(i32, i32)> {
        let mut sizes = vec![self.sizes()];
        for _ in 0..1000 {
            let plan = self.sync();
            if self.sizes() != sizes[sizes.len() - 1] {
                sizes.push(self.sizes());
                // A pod takes longer to start than a sync: let the controller do all it can first.
                self.pods_follow();
                continue;
            }
            if plan.actions.is_empty() {
                let before = self.sets.clone();
                self.all_available();
                if before == self.sets {
                    return sizes;
                }
            }
        }
        panic!("no end: {sizes:?}");
    }

    /// Replicas that old ReplicaSets and the new one ask for.
    pub fn sizes(&self) -> (i32, i32) {
        let new = self.view().current().map_or(0, |new| new.spec);
        (self.view().total() - new, new)
    }

    pub fn view(&self) -> Sets {
        let sets: Vec<_> = self.sets.iter().cloned().map(Arc::new).collect();
        Sets::of(&self.deployment, &sets)
    }

    pub fn limits(&self) -> Limits {
        Limits::of(self.deployment.spec.as_ref().unwrap())
    }

    pub fn available(&self) -> i32 {
        self.view().all().iter().map(super::sets::Set::available).sum()
    }

    /// Status and reason of a condition.
    pub fn condition(&self, type_: &str) -> Option<(String, String)> {
        let conditions = self.deployment.status.as_ref()?.conditions.as_ref()?;
        let condition = conditions.iter().find(|condition| condition.type_ == type_)?;
        Some((condition.status.clone(), condition.reason.clone()?))
    }

    /// Reason of the condition Progressing.
    pub fn progress(&self) -> String {
        self.condition(PROGRESSING)
            .map(|(_, reason)| reason)
            .unwrap_or_default()
    }
}

fn counts(replicas: i32, available: i32, generation: Option<i64>) -> ReplicaSetStatus {
    ReplicaSetStatus {
        replicas,
        ready_replicas: Some(available),
        available_replicas: Some(available),
        observed_generation: generation,
        terminating_replicas: Some(0),
        ..ReplicaSetStatus::default()
    }
}
