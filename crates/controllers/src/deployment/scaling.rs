//! What happens when the number of wanted replicas changes, or while a rollout is paused. Pure.
//!
//! Upstream's `sync.go`, `scale`: in mid-rollout, replicas are added to and taken from all ReplicaSets in proportion to
//! their sizes, so that neither version profits.

use super::limits::Limits;
use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS};
use super::sets::{Set, Sets};

/// Whether the number of wanted replicas has changed since an active ReplicaSet was last scaled.
pub fn is_due(limits: &Limits, sets: &Sets) -> bool {
    let desired = |set: &Set| {
        set.annotation(DESIRED_REPLICAS)
            .and_then(|text| text.parse::<i32>().ok())
    };
    sets.active()
        .into_iter()
        .any(|at| desired(&sets.all()[at]).is_some_and(|size| size != limits.replicas))
}

/// Sets the size of a ReplicaSet and notes what it is a part of.
pub fn resize(limits: &Limits, set: &mut Set, size: i32) {
    set.spec = size;
    set.annotate(DESIRED_REPLICAS, limits.replicas.to_string());
    set.annotate(MAX_REPLICAS, limits.max_total().to_string());
}

/// Brings the ReplicaSets together to the wanted size. `total_before` is `status.replicas` of the Deployment.
pub fn scale(limits: &Limits, sets: &mut Sets, total_before: i32) {
    if let Some(only) = only_active_or_latest(sets) {
        resize(limits, sets.at_mut(only), limits.replicas);
    } else if sets.current().is_some_and(|new| is_saturated(limits, new)) {
        for old in sets.old_mut().filter(|old| old.spec > 0) {
            resize(limits, old, 0);
        }
    } else if limits.is_rolling {
        scale_proportionally(limits, sets, total_before);
    }
}

/// The only ReplicaSet that asks for replicas; if none does, the new one, else the latest. `None` if several do.
fn only_active_or_latest(sets: &Sets) -> Option<usize> {
    match sets.active()[..] {
        [] => sets.current_position().or(sets.all().len().checked_sub(1)),
        [only] => Some(only),
        _ => None,
    }
}

/// Whether the rollout is over but for the old replicas.
fn is_saturated(limits: &Limits, new: &Set) -> bool {
    new.spec == limits.replicas
        && new.annotation(DESIRED_REPLICAS) == Some(&limits.replicas.to_string())
        && new.available() == limits.replicas
}

fn scale_proportionally(limits: &Limits, sets: &mut Sets, total_before: i32) {
    let allowed = if limits.replicas > 0 {
        limits.max_total()
    } else {
        0
    };
    let delta = allowed - sets.total();
    let mut active = sets.active();
    // `active` is oldest first and the sort is stable: of equal sizes the newer grow first and the older shrink first.
    if delta > 0 {
        active.reverse();
    }
    active.sort_by_key(|at| std::cmp::Reverse(sets.all()[*at].spec));
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for at in &active {
        let set = &sets.all()[*at];
        let share = share(limits, set, total_before, delta - added);
        sizes.push(set.spec + share);
        added += share;
    }
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + delta - added).max(0);
    }
    for (at, size) in active.into_iter().zip(sizes) {
        resize(limits, sets.at_mut(at), size);
    }
}

/// How much one ReplicaSet grows (or shrinks, below 0), of `left` that are to be distributed yet.
fn share(limits: &Limits, set: &Set, total_before: i32, left: i32) -> i32 {
    if left == 0 {
        return 0;
    }
    let fraction = fraction(limits, set, total_before);
    if left > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}

/// The size that keeps the ReplicaSet's proportion, as a difference to its size now.
fn fraction(limits: &Limits, set: &Set, total_before: i32) -> i32 {
    if limits.replicas == 0 {
        return -set.spec;
    }
    let annotated = set
        .annotation(MAX_REPLICAS)
        .and_then(|text| text.parse::<i32>().ok());
    let max_before = annotated.filter(|max| *max > 0).unwrap_or(total_before);
    if max_before <= 0 {
        return 0;
    }
    let size = divide_rounding(
        i64::from(set.spec) * i64::from(limits.max_total()),
        i64::from(max_before),
    );
    i32::try_from(size).unwrap_or(i32::MAX).saturating_sub(set.spec)
}

/// `a / b` rounded to nearest, half up. Neither is negative; `b` is not 0.
fn divide_rounding(a: i64, b: i64) -> i64 {
    (2 * a + b) / (2 * b)
}
