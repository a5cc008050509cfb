//! One step of a rolling update: either the new ReplicaSet changes or old ones do. Pure.
//!
//! Upstream's `rolling.go`, with one difference. What is counted are the replicas that ReplicaSets ask for; pods on their
//! way out do not count. Upstream makes room for a new pod as soon as an old ReplicaSet asks for one less, so that for a
//! moment one pod too many may be at work; here the new pod waits until the old one is on its way out.

use super::limits::Limits;
use super::sets::Sets;

/// Replicas for the new ReplicaSet, which now asks for `current`, when all together ask for `total`.
pub fn new_size(limits: &Limits, current: i32, total: i32) -> i32 {
    if !limits.is_rolling || current >= limits.replicas {
        return limits.replicas;
    }
    let room = limits.max_total() - total;
    if room <= 0 {
        current
    } else {
        current + room.min(limits.replicas - current)
    }
}

/// Takes one step, if there is one to take.
pub fn step(limits: &Limits, sets: &mut Sets) {
    let total = sets.at_work();
    let Some(new) = sets.current_mut() else { return };
    let size = new_size(limits, new.spec, total);
    if size != new.spec {
        new.spec = size;
        return;
    }
    shrink_old(limits, sets);
}

/// Scales old ReplicaSets down as far as enough replicas stay available: first those replicas that are unavailable
/// anyway, which costs nothing, then others.
fn shrink_old(limits: &Limits, sets: &mut Sets) {
    let new_unavailable = sets.current().map_or(0, |new| new.spec - new.surely_available());
    let mut budget = sets.total() - limits.min_available() - new_unavailable;
    if budget <= 0 {
        return;
    }
    // An RS whose status is older than its spec does not say which of its replicas are unavailable.
    for old in sets.old_mut().filter(|old| old.is_observed()) {
        let unavailable = (old.spec - old.available()).clamp(0, budget);
        old.spec -= unavailable;
        budget -= unavailable;
    }
    let available: i32 = sets.all().iter().map(|set| set.surely_available()).sum();
    let mut budget = available - limits.min_available();
    for old in sets.old_mut() {
        let healthy = old.spec.min(budget.max(0));
        old.spec -= healthy;
        budget -= healthy;
    }
}
