//! A Deployment's ReplicaSets as one sync sees and changes them.
//!
//! Flows in: the ReplicaSets it owns. Flows out: which one is new, which are old, and what is to be written to each. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::template_hash::same_template;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::revision;

/// One ReplicaSet with the changes decided on so far.
#[derive(Clone, Debug)]
pub struct Set {
    /// As the cache shows it.
    pub object: Arc<ReplicaSet>,
    /// Replicas it asks for, changes included.
    pub spec: i32,
    /// Annotations to write.
    pub annotations: BTreeMap<String, String>,
    /// minReadySeconds to write.
    pub min_ready_seconds: Option<i32>,
}

impl Set {
    fn new(object: Arc<ReplicaSet>) -> Self {
        let spec = spec_replicas(&object);
        Self {
            object,
            spec,
            annotations: BTreeMap::new(),
            min_ready_seconds: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// The replicas it asked for before this sync.
    pub fn spec_before(&self) -> i32 {
        spec_replicas(&self.object)
    }

    /// Whether its status tells of its latest spec.
    pub fn is_observed(&self) -> bool {
        let observed = self
            .object
            .status
            .as_ref()
            .and_then(|status| status.observed_generation);
        observed.unwrap_or(0) >= self.object.metadata.generation.unwrap_or(0)
    }

    /// Pods of it, as its status says.
    pub fn replicas(&self) -> i32 {
        self.object.status.as_ref().map_or(0, |status| status.replicas)
    }

    /// Ready pods, as its status says.
    pub fn ready(&self) -> i32 {
        self.object
            .status
            .as_ref()
            .and_then(|status| status.ready_replicas)
            .unwrap_or(0)
    }

    /// Available pods, as its status says.
    pub fn available(&self) -> i32 {
        self.object
            .status
            .as_ref()
            .and_then(|status| status.available_replicas)
            .unwrap_or(0)
    }

    /// Available pods that can be relied upon: where the status is older than the spec, those of its pods that are about
    /// to be deleted may be among the available ones.
    pub fn surely_available(&self) -> i32 {
        if self.is_observed() {
            return self.available();
        }
        let leaving = (self.replicas() - self.spec_before()).max(0);
        (self.available() - leaving).max(0)
    }

    /// The value of an annotation, changes included.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        let written = self.object.metadata.annotations.as_ref();
        self.annotations
            .get(name)
            .or_else(|| written.and_then(|annotations| annotations.get(name)))
            .map(String::as_str)
    }

    /// Sets an annotation, if it is not set to this already.
    pub fn annotate(&mut self, name: &str, value: String) {
        if self.annotation(name) != Some(&value) {
            self.annotations.insert(name.to_owned(), value);
        }
    }

    /// Whether anything is to be written.
    pub fn is_changed(&self) -> bool {
        self.spec != self.spec_before() || !self.annotations.is_empty() || self.min_ready_seconds.is_some()
    }
}

fn spec_replicas(object: &ReplicaSet) -> i32 {
    object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// All ReplicaSets of a Deployment, oldest first.
#[derive(Clone, Debug)]
pub struct Sets {
    all: Vec<Set>,
    new: Option<usize>,
}

impl Sets {
    /// Sorts them by age; new is the oldest one whose template is the Deployment's.
    pub fn of(deployment: &Deployment, owned: &[Arc<ReplicaSet>]) -> Self {
        let mut all: Vec<Set> = owned.iter().cloned().map(Set::new).collect();
        all.sort_by(|a, b| age(a).cmp(&age(b)));
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        let new = template.and_then(|wanted| {
            all.iter().position(|set| {
                let template = set.object.spec.as_ref().and_then(|spec| spec.template.as_ref());
                template.is_some_and(|template| same_template(template, wanted))
            })
        });
        Self { all, new }
    }

    /// All, oldest first.
    pub fn all(&self) -> &[Set] {
        &self.all
    }

    /// The one with the Deployment's template.
    pub fn current(&self) -> Option<&Set> {
        self.new.map(|at| &self.all[at])
    }

    /// The one with the Deployment's template.
    pub fn current_mut(&mut self) -> Option<&mut Set> {
        self.new.map(|at| &mut self.all[at])
    }

    /// All others, oldest first.
    pub fn old(&self) -> impl DoubleEndedIterator<Item = &Set> {
        self.all
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != self.new)
            .map(|(_, set)| set)
    }

    /// All others, oldest first.
    pub fn old_mut(&mut self) -> impl Iterator<Item = &mut Set> {
        let new = self.new;
        self.all
            .iter_mut()
            .enumerate()
            .filter(move |(at, _)| Some(*at) != new)
            .map(|(_, set)| set)
    }

    /// All, oldest first.
    pub fn all_mut(&mut self) -> &mut [Set] {
        &mut self.all
    }

    /// One of them by its position in [`Sets::all`].
    pub fn at_mut(&mut self, position: usize) -> &mut Set {
        &mut self.all[position]
    }

    /// Position of the new one in [`Sets::all`].
    pub fn current_position(&self) -> Option<usize> {
        self.new
    }

    /// Positions of those that ask for replicas.
    pub fn active(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|at| self.all[*at].spec > 0).collect()
    }

    /// Replicas that all ask for, or still have though they ask for less.
    pub fn at_work(&self) -> i32 {
        self.all().iter().map(|set| set.spec.max(set.replicas())).sum()
    }

    /// Replicas that all ask for together.
    pub fn total(&self) -> i32 {
        self.all.iter().map(|set| set.spec).sum()
    }

    /// The revision that a ReplicaSet becomes when it becomes the new one.
    pub fn next_revision(&self) -> i64 {
        self.old().map(revision::of).max().unwrap_or(0) + 1
    }
}

fn age(set: &Set) -> (Option<jiff::Timestamp>, &str) {
    (
        set.object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        set.name(),
    )
}
