//! Tests of the planner of what pods are told.

use serde_json::json;

use super::*;

fn pod(uid: &str, status: &str) -> Arc<Pod> {
    let conditions = json!([{"type": IN_SERVICE, "status": status}]);
    let pod = json!({"metadata": {"uid": uid, "name": uid, "namespace": "d"}, "status": {"conditions": conditions}});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn id(uid: &str) -> PodId {
    PodId {
        uid: uid.into(),
        namespace: "d".into(),
        name: uid.into(),
    }
}

fn backend(uid: &str, state: BackendState) -> BackendStatus {
    let addr = ([127, 0, 0, 1], 1).into();
    BackendStatus {
        addr,
        owner: uid.into(),
        state,
        open: 1,
        moved: 2,
        finished: 1,
        cut: 0,
    }
}

/// The pods that would be written, with their values.
fn values(pods: &mut InService, wanted: &[&PodId], backends: &[BackendStatus]) -> Vec<(String, bool)> {
    let writes = pods.writes(&wanted.iter().copied().collect(), backends, Instant::now());
    writes
        .into_iter()
        .map(|write| (write.pod.name, write.value))
        .collect()
}

#[test]
fn a_pod_is_announced_before_it_is_routed_to() {
    let (mut pods, a) = (InService::default(), id("a"));
    pods.observe(&[], [&a].into_iter());
    assert!(!pods.admits(&a));
    let writes = pods.writes(&BTreeSet::from([&a]), &[], Instant::now());
    assert_eq!((writes.len(), writes[0].value), (1, true));
    assert!(values(&mut pods, &[&a], &[]).is_empty(), "one write at a time");
    pods.written(&writes[0], Written::Done { deleted: false }, Instant::now());
    assert!(pods.admits(&a));
    assert!(values(&mut pods, &[&a], &[]).is_empty());
}

#[test]
fn a_pod_is_withdrawn_when_its_last_backend_has_drained() {
    let mut pods = InService::default();
    pods.observe(&[pod("a", "True")], [].into_iter());
    assert!(pods.admits(&id("a")));
    let (drained, draining) = (
        backend("a", BackendState::Drained),
        backend("a", BackendState::Draining),
    );
    assert!(values(&mut pods, &[], &[drained.clone(), draining]).is_empty());
    pods.ended(&drained);
    let writes = pods.writes(&BTreeSet::new(), &[drained], Instant::now());
    assert_eq!(
        writes[0].message,
        "no connection is left: moved 2, finished 1, cut 0"
    );
    assert!(!writes[0].value);
    pods.written(&writes[0], Written::Done { deleted: true }, Instant::now());
    assert!(!pods.admits(&id("a")));
    // The cache still shows True: what we wrote is newer.
    pods.observe(&[pod("a", "True")], [].into_iter());
    assert!(values(&mut pods, &[], &[]).is_empty());
}

#[test]
fn after_a_restart_announced_pods_are_routed_to_and_leftovers_withdrawn() {
    let (mut pods, a) = (InService::default(), id("a"));
    pods.observe(
        &[pod("a", "True"), pod("b", "True"), pod("c", "False")],
        [&a].into_iter(),
    );
    assert!(pods.admits(&a));
    assert_eq!(values(&mut pods, &[&a], &[]), [("b".to_owned(), false)]);
}

#[test]
fn a_pod_deleted_before_its_announcement_is_never_routed_to() {
    let (mut pods, a) = (InService::default(), id("a"));
    pods.observe(&[], [&a].into_iter());
    let writes = pods.writes(&BTreeSet::from([&a]), &[], Instant::now());
    pods.written(&writes[0], Written::Done { deleted: true }, Instant::now());
    assert!(!pods.admits(&a));
    assert_eq!(values(&mut pods, &[&a], &[]), [("a".to_owned(), false)]);
}

#[test]
fn an_announcement_whose_answer_was_lost_is_taken_back() {
    let (mut pods, a, now) = (InService::default(), id("a"), Instant::now());
    pods.observe(&[], [&a].into_iter());
    let write = pods.writes(&BTreeSet::from([&a]), &[], now).remove(0);
    // It may be in the API all the same, and meanwhile the pod is not wanted any more.
    pods.written(&write, Written::Failed, now);
    let writes = pods.writes(&BTreeSet::new(), &[], now + FIRST_RETRY);
    assert_eq!(
        writes.iter().map(|write| write.value).collect::<Vec<_>>(),
        [false]
    );
    pods.written(&writes[0], Written::Done { deleted: true }, now + FIRST_RETRY);
    assert!(pods.writes(&BTreeSet::new(), &[], now + LAST_RETRY).is_empty());
    assert_eq!(pods.next_retry(), None, "nothing is left to be waited for");
}

#[test]
fn a_pod_that_is_being_withdrawn_is_not_routed_to_before_it_is_announced_again() {
    let (mut pods, a, now) = (InService::default(), id("a"), Instant::now());
    pods.observe(&[pod("a", "True")], [].into_iter());
    let write = pods.writes(&BTreeSet::new(), &[], now).remove(0);
    assert!(!pods.admits(&a), "the agent may see False by now");
    // Wanted again, whatever became of the write.
    for written in [Written::Failed, Written::Done { deleted: false }] {
        pods.written(&write, written, now);
        assert!(!pods.admits(&a));
        let again = pods
            .writes(&BTreeSet::from([&a]), &[], now + LAST_RETRY)
            .remove(0);
        assert!(again.value);
    }
}

#[test]
fn a_failed_write_is_tried_again_later_and_a_lost_pod_not_at_all() {
    let (mut pods, a, now) = (InService::default(), id("a"), Instant::now());
    pods.observe(&[], [&a].into_iter());
    let wanted = BTreeSet::from([&a]);
    let write = pods.writes(&wanted, &[], now).remove(0);
    pods.written(&write, Written::Failed, now);
    assert!(pods.writes(&wanted, &[], now).is_empty());
    assert_eq!(pods.next_retry(), Some(now + FIRST_RETRY));
    assert_eq!(pods.writes(&wanted, &[], now + FIRST_RETRY).len(), 1);
    pods.written(&write, Written::Failed, now);
    assert_eq!(pods.next_retry(), Some(now + 2 * FIRST_RETRY));
    pods.written(&write, Written::Gone, now);
    assert_eq!(pods.next_retry(), None);
}

#[test]
fn a_pod_whose_time_is_over_is_withdrawn_with_its_connections_and_told_of_when_they_are_gone() {
    let (mut pods, a, now) = (InService::default(), id("a"), Instant::now());
    let mut object = (*pod("a", "True")).clone();
    let deadline = Timestamp::from_second(1_000_000).unwrap();
    object.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(deadline));
    let stopped = api::pods::stopped_at(&object).unwrap();
    pods.observe(&[Arc::new(object)], [&a].into_iter());
    assert_eq!(pods.next_due(), Some(stopped - LEAD));
    assert!(
        pods.overdue(stopped - LEAD - SignedDuration::from_millis(1))
            .is_empty()
    );
    assert!(pods.admits(&a));
    assert_eq!(pods.overdue(stopped - LEAD).len(), 1);
    assert_eq!(pods.next_due(), None);
    assert!(!pods.admits(&a), "nobody else is ready, but it ends now");
    let (draining, wanted) = (backend("a", BackendState::Draining), BTreeSet::from([&a]));
    let writes = pods.writes(&wanted, std::slice::from_ref(&draining), now);
    assert_eq!((writes[0].value, writes[0].reason), (false, "GracePeriodOver"));
    pods.written(&writes[0], Written::Done { deleted: true }, now);
    assert!(pods.left(&wanted, &[draining]).is_empty());
    // The pod's object may go before the datapath has seen its connections end.
    pods.observe(&[], [].into_iter());
    let mut drained = backend("a", BackendState::Drained);
    drained.cut = 2;
    pods.ended(&drained);
    let left = pods.left(&wanted, &[]);
    assert_eq!((left.len(), left[0].ended), (1, [2, 1, 2]));
    assert!(pods.left(&wanted, &[]).is_empty(), "it is told once");
    assert!(pods.writes(&BTreeSet::new(), &[], now).is_empty());
    pods.observe(&[], [].into_iter());
    assert!(pods.pod("a").is_none());
}

#[test]
fn each_time_a_pod_leaves_service_is_told() {
    let (mut pods, a, now) = (InService::default(), id("a"), Instant::now());
    pods.observe(&[pod("a", "True")], [].into_iter());
    for _ in 0..2 {
        assert_eq!(pods.left(&BTreeSet::new(), &[]).len(), 1);
        let write = pods.writes(&BTreeSet::new(), &[], now).remove(0);
        pods.written(&write, Written::Done { deleted: false }, now);
        let write = pods.writes(&BTreeSet::from([&a]), &[], now).remove(0);
        pods.written(&write, Written::Done { deleted: false }, now);
        assert!(pods.left(&BTreeSet::from([&a]), &[]).is_empty());
    }
}
