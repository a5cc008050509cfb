//! From Services and pods to EndpointSlices and Endpoints: what is written, and what is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::slices::Action;
use super::{backends, legacy, slices};

fn service(patch: &Value) -> Service {
    let mut service = json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "s", "labels": { "team": "a" } },
        "spec": {
            "selector": { "app": "web" },
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http" }],
        },
    });
    json_patch::merge(&mut service, patch);
    serde_json::from_value(service).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Starting,
    Ready,
    Stopping,
    Finished,
}

/// A pod with its real port, 0 for the declared one.
fn pod(name: &str, real_port: u16, state: State) -> Arc<Pod> {
    let ready = if matches!(state, State::Ready | State::Stopping) {
        "True"
    } else {
        "False"
    };
    let mut pod = json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": { "app": "web" },
            "annotations": {},
        },
        "spec": { "nodeName": "node-1", "containers": [
            { "name": "c", "ports": [{ "name": "named", "containerPort": 8080 }] }] },
        "status": {
            "phase": if state == State::Finished { "Succeeded" } else { "Running" },
            "podIP": format!("127.10.1.{}", name.len()),
            "conditions": [
                { "type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        },
    });
    if real_port > 0 {
        let ports = json!({ "80/TCP": real_port, "8080/TCP": real_port }).to_string();
        pod["metadata"]["annotations"][api::names::POD_PORTS] = ports.into();
    }
    if state == State::Stopping {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:01Z".into();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// A played API that holds the slices of one Service.
#[derive(Default)]
struct Played {
    slices: BTreeMap<String, Arc<EndpointSlice>>,
    created: usize,
}

impl Played {
    /// Plans and applies; returns how many slices were created, replaced and deleted.
    fn sync(&mut self, service: &Service, pods: &[Arc<Pod>]) -> (usize, usize, usize) {
        let existing: Vec<_> = self.slices.values().cloned().collect();
        let mut writes = (0, 0, 0);
        for action in slices::plan(service, backends::groups(service, pods), &existing) {
            match action {
                Action::Create(mut slice) => {
                    self.created += 1;
                    let name = format!("web-{:03}", self.created);
                    slice.metadata.name = Some(name.clone());
                    self.slices.insert(name, Arc::new(slice));
                    writes.0 += 1;
                }
                Action::Replace(slice) => {
                    let name = slice.metadata.name.clone().unwrap();
                    assert!(self.slices.insert(name, Arc::new(slice)).is_some());
                    writes.1 += 1;
                }
                Action::Delete(slice) => {
                    assert!(
                        self.slices
                            .remove(slice.metadata.name.as_ref().unwrap())
                            .is_some()
                    );
                    writes.2 += 1;
                }
            }
        }
        writes
    }

    /// `pod:port conditions` of every endpoint, in the order of the pods' names.
    fn shown(&self) -> Vec<String> {
        let mut shown = Vec::new();
        for slice in self.slices.values() {
            let port = slice
                .ports
                .iter()
                .flatten()
                .find_map(|port| port.port)
                .unwrap_or(0);
            for endpoint in slice.endpoints.iter().flatten() {
                let name = endpoint
                    .target_ref
                    .as_ref()
                    .and_then(|target| target.name.clone())
                    .unwrap();
                let conditions = endpoint.conditions.clone().unwrap();
                let flag = |value: Option<bool>, name: &'static str| if value.unwrap() { name } else { "" };
                shown.push(format!(
                    "{name}:{port} {}{}{}",
                    flag(conditions.ready, "r"),
                    flag(conditions.serving, "s"),
                    flag(conditions.terminating, "t")
                ));
            }
        }
        shown.sort();
        shown
    }
}

#[test]
fn conditions_follow_the_pod() {
    let mut played = Played::default();
    let pods = [
        pod("a", 20001, State::Starting),
        pod("b", 20002, State::Ready),
        pod("c", 20003, State::Stopping),
        pod("d", 20004, State::Finished),
    ];
    played.sync(&service(&json!({})), &pods);
    assert_eq!(played.shown(), ["a:20001 ", "b:20002 rs", "c:20003 st"]);
    let publish = service(&json!({ "spec": { "publishNotReadyAddresses": true } }));
    played.sync(&publish, &pods);
    assert_eq!(played.shown(), ["a:20001 r", "b:20002 rs", "c:20003 rst"]);
}

#[test]
fn only_slices_that_change_are_written() {
    let mut played = Played::default();
    let service = service(&json!({}));
    let (a, b) = (pod("a", 20001, State::Ready), pod("b", 20002, State::Ready));
    assert_eq!(
        played.sync(&service, &[]),
        (1, 0, 0),
        "an empty one to begin with"
    );
    assert_eq!(played.sync(&service, &[]), (0, 0, 0));
    assert_eq!(
        played.sync(&service, &[a.clone(), b.clone()]),
        (1, 1, 0),
        "the empty one is used"
    );
    assert_eq!(
        played.sync(&service, &[b.clone(), a.clone()]),
        (0, 0, 0),
        "order does not matter"
    );
    let stopping = pod("b", 20002, State::Stopping);
    assert_eq!(played.sync(&service, &[a.clone(), stopping]), (0, 1, 0));
    assert_eq!(played.sync(&service, std::slice::from_ref(&a)), (0, 0, 1));
    assert_eq!(played.sync(&service, &[]), (0, 1, 0), "the last one stays, empty");
    assert_eq!((played.slices.len(), played.shown().len()), (1, 0));
}

#[test]
fn pods_of_one_port_share_slices_of_a_hundred() {
    let mut played = Played::default();
    let service = service(&json!({}));
    let mut pods: Vec<_> = (0..250)
        .map(|at| pod(&format!("p{at}"), 0, State::Ready))
        .collect();
    assert_eq!(played.sync(&service, &pods), (3, 0, 0));
    let sizes = |played: &Played| {
        played
            .slices
            .values()
            .map(|slice| slice.endpoints.as_ref().unwrap().len())
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(&played), [100, 100, 50]);
    pods.remove(0);
    assert_eq!(played.sync(&service, &pods), (0, 1, 0));
    pods.push(pod("late", 0, State::Ready));
    assert_eq!(played.sync(&service, &pods), (0, 1, 0));
    assert_eq!(played.shown().len(), 250);
}

#[test]
fn a_slice_says_whose_it_is() {
    let mut played = Played::default();
    let headless = service(&json!({ "spec": { "clusterIP": "None" } }));
    played.sync(&headless, &[pod("a", 20001, State::Ready)]);
    let slice = serde_json::to_value(&**played.slices.values().next().unwrap()).unwrap();
    assert_eq!(
        slice["metadata"]["labels"],
        json!({
            "team": "a",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "service.kubernetes.io/headless": "",
        })
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["uid"], "s");
    let changed = &slice["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"];
    assert_eq!(changed, "2026-01-01T00:00:00Z");
    assert_eq!(
        slice["ports"],
        json!([
        { "name": "http", "protocol": "TCP", "port": 20001, "appProtocol": "http" }])
    );
    assert_eq!(
        slice["endpoints"][0]["targetRef"],
        json!({
        "kind": "Pod", "namespace": "default", "name": "a", "uid": "uid-a" })
    );
    assert_eq!(slice["endpoints"][0]["nodeName"], "node-1");
}

#[test]
fn named_ports_are_found_per_pod() {
    let mut played = Played::default();
    let port = |target: &str| json!({ "spec": { "ports": [{ "port": 80, "targetPort": target }] } });
    let pods = [pod("a", 20001, State::Ready), pod("b", 0, State::Ready)];
    played.sync(&service(&port("named")), &pods);
    assert_eq!(played.shown(), ["a:20001 rs", "b:8080 rs"]);
    played.sync(&service(&port("unknown")), &pods);
    assert_eq!(played.shown(), ["a:0 rs", "b:0 rs"], "no port, but still there");
}

#[test]
fn endpoints_hold_what_stays() {
    let service = service(&json!({}));
    let pods = [
        pod("a", 20001, State::Starting),
        pod("bb", 0, State::Ready),
        pod("ccc", 0, State::Starting),
        pod("dddd", 0, State::Stopping),
    ];
    let groups = backends::groups(&service, &pods);
    let Some(legacy::Action::Create(created)) = legacy::plan(&service, &groups, None) else {
        panic!("nothing created");
    };
    let ips = |addresses: &Value| -> Vec<String> {
        let addresses = addresses.as_array().cloned().unwrap_or_default();
        addresses
            .iter()
            .map(|address| address["ip"].as_str().unwrap().to_owned())
            .collect()
    };
    let value = serde_json::to_value(&created).unwrap();
    let subsets = value["subsets"].as_array().unwrap();
    assert_eq!(subsets.len(), 2);
    assert_eq!(subsets[0]["ports"][0]["port"], 80);
    assert_eq!(ips(&subsets[0]["addresses"]), ["127.10.1.2"]);
    assert_eq!(ips(&subsets[0]["notReadyAddresses"]), ["127.10.1.3"]);
    assert_eq!(ips(&subsets[1]["notReadyAddresses"]), ["127.10.1.1"]);
    assert_eq!(legacy::plan(&service, &groups, Some(&created)), None);
    let emptied = legacy::plan(&service, &backends::groups(&service, &[]), Some(&created));
    assert!(matches!(
        emptied,
        Some(legacy::Action::Replace(Endpoints { subsets: None, .. }))
    ));
}

/// Every pair of versions of a pod, absent ones included.
#[test]
fn whatever_changes_backends_is_relevant() {
    let states = [State::Starting, State::Ready, State::Stopping, State::Finished];
    let mut versions: Vec<Option<Arc<Pod>>> = vec![None];
    for (port, state) in [0, 20_001]
        .into_iter()
        .flat_map(|port| states.map(|state| (port, state)))
    {
        let with_address = pod("a", port, state);
        let mut without = (*with_address).clone();
        without.status.as_mut().unwrap().pod_ip = None;
        let mut of_others = (*with_address).clone();
        of_others.metadata.labels = None;
        versions.extend([Arc::new(without), Arc::new(of_others), with_address].map(Some));
    }
    let service = service(&json!({}));
    let groups = |pod: &Option<Arc<Pod>>| format!("{:?}", backends::groups(&service, pod.as_slice()));
    let mut irrelevant = 0;
    for (old, new) in versions
        .iter()
        .flat_map(|old| versions.iter().map(move |new| (old, new)))
    {
        let is_relevant = backends::is_relevant(old.as_deref(), new.as_deref());
        irrelevant += usize::from(!is_relevant);
        assert!(is_relevant || groups(old) == groups(new), "{old:?} {new:?}");
    }
    assert!(irrelevant > versions.len(), "{irrelevant}");
}

fn any_pods() -> impl Strategy<Value = Vec<Arc<Pod>>> {
    let state = prop_oneof![
        Just(State::Starting),
        Just(State::Ready),
        Just(State::Stopping),
        Just(State::Finished)
    ];
    prop::collection::btree_map("[a-h]{1,2}", (0u16..4, state), 0..12).prop_map(|pods| {
        pods.into_iter()
            .map(|(name, (port, state))| pod(&name, port, state))
            .collect()
    })
}

proptest! {
    /// Whatever the slices were, one sync shows the pods, and the next has nothing to do.
    #[test]
    fn slices_always_show_the_pods(steps in prop::collection::vec(any_pods(), 1..8)) {
        let mut played = Played::default();
        let service = service(&json!({}));
        for pods in steps {
            played.sync(&service, &pods);
            let mut fresh = Played::default();
            fresh.sync(&service, &pods);
            prop_assert_eq!(played.shown(), fresh.shown());
            prop_assert_eq!(played.sync(&service, &pods), (0, 0, 0));
            prop_assert!(!played.slices.is_empty());
        }
    }
}
