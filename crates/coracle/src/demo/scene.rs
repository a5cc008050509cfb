//! What the live view shows at one moment.

use std::collections::BTreeSet;
use std::time::Duration;

use super::pods::Pods;

/// One moment of the demo.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// What is going on.
    pub step: String,
    /// Since the step began.
    pub elapsed: Duration,
    /// How many pods are as they shall be.
    pub done: usize,
    /// How many pods there shall be.
    pub total: usize,
    /// The pods.
    pub pods: Pods,
    /// The version that was there first; empty while there is only that one.
    pub original: BTreeSet<String>,
    /// The traffic, once there is some.
    pub flow: Option<Flow>,
}

/// The traffic at one moment, as the strict client sees it.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Good answers of both versions in the last second.
    pub per_second: [(String, u64); 2],
    /// Requests so far.
    pub requests: u64,
    /// Dropped requests so far.
    pub dropped: u64,
}
