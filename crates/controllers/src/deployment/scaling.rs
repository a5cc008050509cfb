//! What happens when the number of wanted replicas changes, or while a rollout is paused. Pure.
//!
//! Upstream's `sync.go`, `scale`: in mid-rollout, replicas are added to and taken from all ReplicaSets in proportion to
//! their sizes, so that neither version profits.

use super::limits::Limits;
use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS};
use super::sets::{Set, Sets};

/// Whether the number of wanted replicas has changed since an active ReplicaSet was last scaled. Not so if several are
/// active under the strategy Recreate (it was changed in mid-rollout): nothing here would scale them, and the rollout,
/// which takes the old ones to 0, would wait for ever. There upstream is stuck.
pub fn is_due(limits: &Limits, sets: &Sets) -> bool {
    let active = sets.active();
    if !limits.is_rolling && active.len() > 1 {
        return false;
    }
    let desired = |set: &Set| {
        set.annotation(DESIRED_REPLICAS)
            .and_then(|text| text.parse::<i32>().ok())
    };
    active
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
    use serde_json::json;

    use super::*;

    /// Old ReplicaSets first, oldest first; the last one is new. Each of its size and the noted maximum.
    fn sets(sizes: &[(i32, Option<i32>)]) -> Sets {
        let template =
            |image: usize| json!({ "spec": { "containers": [{ "name": "c", "image": image.to_string() }] } });
        let set = |(at, (size, max)): (usize, &(i32, Option<i32>))| -> Arc<ReplicaSet> {
            let annotations = max.map(|max| json!({ MAX_REPLICAS: max.to_string() }));
            let set = json!({
                "metadata": {
                    "name": format!("set-{at}"), "annotations": annotations,
                    "creationTimestamp": format!("2026-01-01T00:00:0{at}Z"),
                },
                "spec": { "replicas": size, "selector": {}, "template": template(at) },
            });
            Arc::new(serde_json::from_value(set).unwrap())
        };
        let owned: Vec<_> = sizes.iter().enumerate().map(set).collect();
        let deployment: Deployment = serde_json::from_value(
            json!({ "metadata": {}, "spec": { "selector": {}, "template": template(sizes.len() - 1) } }),
        )
        .unwrap();
        Sets::of(&deployment, &owned)
    }

    fn scaled(replicas: i32, surge: i32, total_before: i32, sizes: &[(i32, Option<i32>)]) -> Vec<i32> {
        let limits = Limits {
            replicas,
            surge,
            unavailable: 0,
            is_rolling: true,
        };
        let mut sets = sets(sizes);
        scale(&limits, &mut sets, total_before);
        sets.all().iter().map(|set| set.spec).collect()
    }

    #[test]
    fn several_active_ones_share_in_proportion() {
        for (name, replicas, surge, before, sizes, expected) in [
            (
                "the documentation's example",
                15,
                3,
                13,
                vec![(8, Some(13)), (5, Some(13))],
                vec![11, 7],
            ),
            (
                "down again",
                10,
                3,
                18,
                vec![(11, Some(18)), (7, Some(18))],
                vec![8, 5],
            ),
            (
                "to nothing",
                0,
                0,
                13,
                vec![(8, Some(13)), (5, Some(13))],
                vec![0, 0],
            ),
            (
                "nothing noted: the status counts",
                20,
                0,
                10,
                vec![(5, None), (5, None)],
                vec![10, 10],
            ),
            (
                "nothing known: all to the largest",
                20,
                0,
                0,
                vec![(4, None), (6, None)],
                vec![4, 16],
            ),
            (
                "of equal ones the newer grows first",
                7,
                0,
                4,
                vec![(2, Some(4)), (2, Some(4))],
                vec![3, 4],
            ),
            (
                "of equal ones the older shrinks first",
                5,
                0,
                8,
                vec![(4, Some(8)), (4, Some(8))],
                vec![2, 3],
            ),
            (
                "the only one takes all",
                7,
                1,
                4,
                vec![(0, None), (4, Some(5))],
                vec![0, 7],
            ),
            (
                "none: the new one",
                3,
                1,
                0,
                vec![(0, None), (0, None)],
                vec![0, 3],
            ),
        ] {
            assert_eq!(scaled(replicas, surge, before, &sizes), expected, "{name}");
        }
    }

    #[test]
    fn rounding_is_to_the_nearest() {
        for (a, b, expected) in [(7, 2, 4), (10, 4, 3), (9, 4, 2), (144, 13, 11), (90, 13, 7)] {
            assert_eq!(divide_rounding(a, b), expected, "{a}/{b}");
        }
    }

    #[test]
    fn recreate_replaces_several_active_ones_whatever_the_size() {
        let rolling = json!({ "maxSurge": 1, "maxUnavailable": 0 });
        let mut simulation = super::super::simulation::Simulation::rolled_out(4, &rolling);
        simulation.set_image("b");
        simulation.sync();
        assert_eq!(simulation.sizes(), (4, 1));
        simulation.change_spec(|spec| {
            spec.strategy = serde_json::from_value(json!({ "type": "Recreate" })).unwrap();
            spec.replicas = Some(6);
        });
        simulation.finish();
        assert_eq!(simulation.sizes(), (0, 6));
    }
}
