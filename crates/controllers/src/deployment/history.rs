//! Which old ReplicaSets are forgotten. Pure.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::revision;
use super::sets::Sets;

/// The lowest revisions beyond the limit that are empty. `limit` is `revisionHistoryLimit`; absent or `i32::MAX` keeps all.
pub fn superfluous(limit: Option<i32>, sets: &Sets) -> Vec<Arc<ReplicaSet>> {
    let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else {
        return Vec::new();
    };
    let mut old: Vec<_> = sets
        .old()
        .filter(|set| set.object.metadata.deletion_timestamp.is_none())
        .collect();
    // The sort is stable and `old` is oldest first.
    old.sort_by_key(|set| revision::of(set));
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    // Empty by this sync's own decisions too: one of them may have just been scaled up.
    let is_empty = |set: &&super::sets::Set| {
        set.replicas() == 0 && set.spec_before() == 0 && set.spec == 0 && set.is_observed()
    };
    old.into_iter()
        .take(excess)
        .filter(is_empty)
        .map(|set| set.object.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::simulation::Simulation;

    #[test]
    fn what_is_being_scaled_up_is_not_forgotten() {
        let mut simulation = Simulation::rolled_out(4, &json!({ "maxSurge": 1, "maxUnavailable": 0 }));
        simulation.scale(0);
        simulation.finish();
        simulation.change_spec(|spec| {
            spec.paused = Some(true);
            spec.revision_history_limit = Some(0);
            spec.replicas = Some(3);
        });
        simulation.set_image("b");
        simulation.finish();
        assert_eq!(simulation.sizes(), (3, 0));
    }
}
