//! Rollouts step by step, as upstream's controller does them; and what holds for every rollout.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::plan::Action;
use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS, REVISION, REVISION_HISTORY};
use super::simulation::Simulation;

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({ "maxSurge": surge, "maxUnavailable": unavailable })
}

/// The sizes (old/new) on the way of a rollout to a new image.
fn trace(replicas: i32, strategy: &Value) -> String {
    let mut simulation = Simulation::rolled_out(replicas, strategy);
    simulation.set_image("b");
    let sizes = simulation.finish();
    sizes
        .iter()
        .map(|(old, new)| format!("{old}/{new}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn golden_traces() {
    let quarter = rolling(json!("25%"), json!("25%"));
    for (replicas, strategy, expected) in [
        (4, quarter.clone(), "4/0 4/1 3/1 3/2 1/2 1/4 0/4"),
        (
            4,
            rolling(json!(1), json!(0)),
            "4/0 4/1 3/1 3/2 2/2 2/3 1/3 1/4 0/4",
        ),
        (
            4,
            rolling(json!(0), json!(1)),
            "4/0 3/0 3/1 2/1 2/2 1/2 1/3 0/3 0/4",
        ),
        (
            10,
            rolling(json!("30%"), json!("20%")),
            "10/0 10/3 8/3 8/5 3/5 3/10 0/10",
        ),
        (4, rolling(json!("100%"), json!(0)), "4/0 4/4 0/4"),
        (1, quarter, "1/0 1/1 0/1"),
        (4, Value::Null, "4/0 0/0 0/4"),
    ] {
        assert_eq!(trace(replicas, &strategy), expected, "{replicas} {strategy}");
    }
}

/// Pods become available one by one, as the real controller was recorded with.
#[test]
fn recorded_rollouts_begin_and_end_alike() {
    for (replicas, strategy, first, last) in [
        (
            4,
            rolling(json!("25%"), json!("25%")),
            ["4/0", "4/1", "3/1", "3/2"],
            "0/4",
        ),
        (
            4,
            rolling(json!(0), json!(1)),
            ["4/0", "3/0", "3/1", "2/1"],
            "0/4",
        ),
        (
            10,
            rolling(json!("30%"), json!("20%")),
            ["10/0", "10/3", "8/3", "8/5"],
            "0/10",
        ),
        (
            4,
            rolling(json!("100%"), json!(0)),
            ["4/0", "4/4", "3/4", "2/4"],
            "0/4",
        ),
    ] {
        let mut simulation = Simulation::rolled_out(replicas, &strategy);
        simulation.set_image("b");
        let mut sizes = vec![simulation.sizes()];
        for _ in 0..200 {
            while !simulation.sync().actions.is_empty() {
                simulation.pods_follow();
                sizes.push(simulation.sizes());
            }
            let new = simulation.sets.len() - 1;
            simulation.make_available(new, 1);
        }
        sizes.dedup();
        let sizes: Vec<_> = sizes.iter().map(|(old, new)| format!("{old}/{new}")).collect();
        assert_eq!(sizes[..4], first, "{replicas} {strategy}");
        assert_eq!(sizes[sizes.len() - 1], last, "{replicas} {strategy}");
    }
}

#[test]
fn a_finished_rollout_says_so() {
    let mut simulation = Simulation::rolled_out(4, &rolling(json!("25%"), json!("25%")));
    simulation.set_image("b");
    simulation.finish();
    let status = serde_json::to_value(simulation.deployment.status.clone().unwrap()).unwrap();
    assert_eq!(status["replicas"], 4);
    assert_eq!(status["updatedReplicas"], 4);
    assert_eq!(status["readyReplicas"], 4);
    assert_eq!(status["availableReplicas"], 4);
    assert_eq!(status["terminatingReplicas"], 0);
    assert_eq!(status["observedGeneration"], 2);
    assert_eq!(status.get("unavailableReplicas"), None);
    let condition = |type_| simulation.condition(type_).unwrap();
    assert_eq!(
        condition("Available"),
        ("True".into(), "MinimumReplicasAvailable".into())
    );
    assert_eq!(
        condition("Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
    assert_eq!(
        simulation.deployment.metadata.annotations.as_ref().unwrap()[REVISION],
        "2"
    );
}

#[test]
fn a_rollback_reuses_the_old_replica_set() {
    let mut simulation = Simulation::rolled_out(4, &rolling(json!(1), json!(1)));
    for image in ["b", "a"] {
        simulation.set_image(image);
        simulation.finish();
    }
    assert_eq!(simulation.sets.len(), 2);
    let annotations = simulation.sets[0].metadata.annotations.clone().unwrap();
    assert_eq!(
        (
            annotations[REVISION].as_str(),
            annotations[REVISION_HISTORY].as_str()
        ),
        ("3", "1")
    );
    assert_eq!(
        simulation.deployment.metadata.annotations.as_ref().unwrap()[REVISION],
        "3"
    );
}

#[test]
fn a_stalled_rollout_keeps_old_pods_times_out_and_can_be_undone() {
    let mut simulation = Simulation::rolled_out(4, &rolling(json!("25%"), json!("25%")));
    simulation.set_image("typo");
    for _ in 0..20 {
        simulation.sync();
        simulation.pods_follow();
    }
    assert_eq!((simulation.sizes(), simulation.available()), ((3, 2), 3));
    simulation.pass(602);
    simulation.sync();
    assert_eq!(simulation.progress(), "ProgressDeadlineExceeded");
    simulation.set_image("a");
    // The new pods never became available, so they go without any wait.
    let sizes = simulation.finish();
    assert_eq!(sizes[0], (2, 3));
    assert_eq!(simulation.sizes(), (0, 4));
    assert_eq!(simulation.progress(), "NewReplicaSetAvailable");
}

#[test]
fn a_rollover_removes_the_unready_predecessor_first() {
    let mut simulation = Simulation::rolled_out(4, &rolling(json!(1), json!(1)));
    simulation.set_image("b");
    for _ in 0..10 {
        simulation.sync();
        simulation.pods_follow();
    }
    simulation.set_image("c");
    let spec =
        |simulation: &Simulation, at: usize| simulation.sets[at].spec.as_ref().unwrap().replicas.unwrap();
    for _ in 0..3 {
        simulation.sync();
        simulation.pods_follow();
    }
    assert_eq!((spec(&simulation, 0), spec(&simulation, 1)), (3, 0));
    simulation.finish();
    assert_eq!(simulation.sizes(), (0, 4));
}

#[test]
fn scaling_in_mid_rollout_is_proportional() {
    let mut simulation = Simulation::rolled_out(10, &rolling(json!(3), json!(2)));
    simulation.set_image("b");
    for _ in 0..10 {
        simulation.sync();
        simulation.pods_follow();
    }
    assert_eq!(simulation.sizes(), (8, 5));
    simulation.scale(15);
    simulation.sync();
    assert_eq!(simulation.sizes(), (11, 7));
    for set in &simulation.sets {
        let annotations = set.metadata.annotations.as_ref().unwrap();
        let noted = (
            annotations[DESIRED_REPLICAS].as_str(),
            annotations[MAX_REPLICAS].as_str(),
        );
        assert_eq!(noted, ("15", "18"));
    }
    simulation.scale(0);
    simulation.sync();
    assert_eq!(simulation.sizes(), (0, 0));
}

#[test]
fn paused_means_scaling_only() {
    let mut simulation = Simulation::rolled_out(4, &rolling(json!(1), json!(1)));
    simulation.change_spec(|spec| spec.paused = Some(true));
    simulation.set_image("b");
    simulation.scale(6);
    simulation.finish();
    assert_eq!(
        (simulation.sets.len(), simulation.sizes(), simulation.available()),
        (1, (6, 0), 6)
    );
    assert_eq!(simulation.progress(), "DeploymentPaused");
    simulation.change_spec(|spec| spec.paused = None);
    simulation.sync();
    assert_eq!(simulation.condition("Progressing").unwrap().0, "True");
    simulation.finish();
    assert_eq!(simulation.sizes(), (0, 6));
}

#[test]
fn recreate_waits_for_old_pods() {
    let mut simulation = Simulation::rolled_out(2, &Value::Null);
    simulation.running = simulation
        .sets
        .iter()
        .filter_map(|set| set.metadata.uid.clone())
        .collect();
    simulation.set_image("b");
    for _ in 0..5 {
        simulation.sync();
        simulation.pods_follow();
    }
    assert_eq!((simulation.sets.len(), simulation.sizes()), (1, (0, 0)));
    simulation.running.clear();
    simulation.finish();
    assert_eq!(simulation.sizes(), (0, 2));
}

#[test]
fn history_is_limited() {
    let mut simulation = Simulation::rolled_out(1, &rolling(json!(1), json!(0)));
    simulation.change_spec(|spec| spec.revision_history_limit = Some(2));
    for image in ["b", "c", "d", "e"] {
        simulation.set_image(image);
        simulation.finish();
    }
    let revisions: Vec<_> = simulation
        .sets
        .iter()
        .map(|set| set.metadata.annotations.as_ref().unwrap()[REVISION].clone())
        .collect();
    assert_eq!(revisions, ["3", "4", "5"]);
}

#[test]
fn annotations_and_min_ready_seconds_reach_the_replica_set() {
    let mut simulation = Simulation::rolled_out(1, &rolling(json!(1), json!(0)));
    simulation.change_spec(|spec| spec.min_ready_seconds = Some(7));
    let annotations = simulation.deployment.metadata.annotations.get_or_insert_default();
    annotations.insert("kubernetes.io/change-cause".into(), "why".into());
    annotations.insert(
        "kubectl.kubernetes.io/last-applied-configuration".into(),
        "{}".into(),
    );
    simulation.finish();
    let set = &simulation.sets[0];
    assert_eq!(set.spec.as_ref().unwrap().min_ready_seconds, Some(7));
    let copied = set.metadata.annotations.as_ref().unwrap();
    assert_eq!(copied["kubernetes.io/change-cause"], "why");
    assert!(!copied.contains_key("kubectl.kubernetes.io/last-applied-configuration"));
}

#[test]
fn a_settled_deployment_is_left_alone() {
    let mut simulation = Simulation::rolled_out(4, &rolling(json!(1), json!(1)));
    simulation.pass(3600);
    let plan = simulation.sync();
    assert_eq!((plan.actions, plan.look_again), (vec![], None));
}

#[test]
fn old_statuses_do_not_free_pods() {
    let mut simulation = Simulation::rolled_out(4, &rolling(json!(1), json!(1)));
    simulation.set_image("b");
    // The statuses stay as they were before the first step: whatever is decided must hold for the pods that are left.
    for _ in 0..10 {
        simulation.sync();
    }
    assert!(simulation.sizes().0 >= 3, "{:?}", simulation.sizes());
}

/// What happens between two syncs.
#[derive(Clone, Debug)]
enum Happening {
    PodsFollow,
    Available(usize, i32),
    Image(u8),
    Scale(i32),
    Pass(i64),
}

fn happening(with_failures: bool) -> impl Strategy<Value = Happening> {
    let fewest = if with_failures { -3 } else { 1 };
    prop_oneof![
        4 => Just(Happening::PodsFollow),
        4 => (0usize..4, fewest..4i32).prop_map(|(at, count)| Happening::Available(at, count)),
        1 => (0u8..3).prop_map(Happening::Image),
        1 => (0i32..12).prop_map(Happening::Scale),
        1 => (1i64..400).prop_map(Happening::Pass),
    ]
}

fn apply(simulation: &mut Simulation, happening: &Happening) {
    match happening {
        Happening::PodsFollow => simulation.pods_follow(),
        Happening::Available(at, count) => {
            if *at < simulation.sets.len() {
                simulation.make_available(*at, *count);
            }
        }
        Happening::Image(image) => simulation.set_image(&format!("image-{image}")),
        Happening::Scale(replicas) => simulation.scale(*replicas),
        Happening::Pass(seconds) => simulation.pass(*seconds),
    }
}

/// Pods that would be left available if the ReplicaSet controller acted now, removing unavailable ones first.
fn left_available(simulation: &Simulation) -> i32 {
    simulation
        .view()
        .all()
        .iter()
        .map(|set| set.available().min(set.spec))
        .sum()
}

proptest! {
    #[test]
    fn a_rollout_keeps_within_its_limits(
        replicas in 1i32..12, surge in 0i32..5, unavailable in 0i32..5,
        happenings in prop::collection::vec(happening(false), 0..60),
    ) {
        let mut simulation = Simulation::rolled_out(replicas, &rolling(json!(surge), json!(unavailable)));
        simulation.set_image("b");
        let limits = simulation.limits();
        let mut size_before = simulation.sizes();
        for happening in happenings.iter().filter(|h| !matches!(h, Happening::Image(_) | Happening::Scale(_))) {
            let plan = simulation.sync();
            let (old, new) = simulation.sizes();
            prop_assert!(old + new <= limits.max_total());
            prop_assert!(left_available(&simulation) >= limits.min_available());
            prop_assert!(new >= size_before.1, "the new one shrank");
            prop_assert!(old <= size_before.0, "old ones grew");
            prop_assert!(old == size_before.0 || new == size_before.1, "both changed");
            prop_assert!(plan.actions.iter().filter(|action| matches!(action, Action::Create(_))).count() <= 1);
            size_before = (old, new);
            apply(&mut simulation, happening);
        }
    }

    #[test]
    fn whatever_happens_it_ends_well(
        replicas in 0i32..12, surge in 0i32..5, unavailable in 0i32..5,
        happenings in prop::collection::vec(happening(true), 0..60),
    ) {
        let mut simulation = Simulation::rolled_out(replicas, &rolling(json!(surge), json!(unavailable)));
        for happening in &happenings {
            simulation.sync();
            apply(&mut simulation, happening);
        }
        simulation.finish();
        let wanted = simulation.limits().replicas;
        prop_assert_eq!(simulation.sizes(), (0, wanted));
        prop_assert_eq!(simulation.available(), wanted);
        prop_assert_eq!(simulation.progress(), "NewReplicaSetAvailable");
    }
}
