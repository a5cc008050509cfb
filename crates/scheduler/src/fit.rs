//! Room on the node: the plugin NodeResourcesFit with its strategy LeastAllocated, and NodeResourcesBalancedAllocation.

use crate::cluster::NodeState;
use crate::filter::Misfit;
use crate::requests::Resources;
use crate::wanted::Wanted;

/// The resources that scores look at, each with the same weight.
const SCORED: [&str; 2] = ["cpu", "memory"];

pub(crate) fn fits(wanted: &Wanted, state: &NodeState) -> Result<(), Misfit> {
    let mut reasons = Vec::new();
    let mut hopeless = false;
    let pods = i64::try_from(state.pods.len()).unwrap_or(i64::MAX);
    if pods >= state.allocatable.get("pods") {
        reasons.push("Too many pods".to_owned());
    }
    for (name, amount) in wanted.request.exact.iter().filter(|(_, amount)| *amount > 0) {
        let capacity = state.allocatable.get(name);
        if amount > capacity.saturating_sub(state.requested.get(name)) {
            reasons.push(format!("Insufficient {name}"));
            hopeless |= amount > capacity;
        }
    }
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Misfit {
            reasons,
            lasting: hopeless,
        }),
    }
}

/// The share of cpu and memory that would be left, 0 to 100.
pub(crate) fn least_allocated(wanted: &Wanted, state: &NodeState) -> i64 {
    let offered = SCORED.iter().filter(|name| state.allocatable.get(name) > 0);
    let scores = offered.map(|name| {
        let capacity = state.allocatable.get(name);
        let used = state
            .assumed
            .get(name)
            .saturating_add(wanted.request.assumed.get(name));
        capacity.saturating_sub(used).max(0).saturating_mul(100) / capacity
    });
    let (sum, count) = scores.fold((0, 0), |(sum, count), score| (sum + score, count + 1));
    if count == 0 { 0 } else { sum / count }
}

/// Whether the pod makes the used shares of cpu and memory more alike (towards 100) or less (towards 50). Pods that
/// request nothing change nothing.
pub(crate) fn balanced(wanted: &Wanted, state: &NodeState) -> i64 {
    if SCORED.iter().all(|name| wanted.request.exact.get(name) == 0) {
        return 0;
    }
    let mut with = state.requested.clone();
    with.add(&wanted.request.exact);
    50 + (50 + evenness(&with, state) - evenness(&state.requested, state)) / 2
}

/// 100 minus the standard deviation of the used shares in percent.
fn evenness(used: &Resources, state: &NodeState) -> i64 {
    let offered = SCORED.iter().filter(|name| state.allocatable.get(name) > 0);
    let shares: Vec<f64> = offered
        .map(|name| (used.get(name) as f64 / state.allocatable.get(name) as f64).min(1.0))
        .collect();
    let deviation = match shares[..] {
        [first, second] => (first - second).abs() / 2.0,
        _ => 0.0,
    };
    percent(1.0 - deviation)
}

/// A share between 0 and 1 in whole percent, rounded down.
fn percent(share: f64) -> i64 {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "clamped to 0..=100 before the cast"
    )]
    let percent = (share * 100.0).clamp(0.0, 100.0) as i64;
    percent
}
