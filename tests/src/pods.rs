//! Pods as a test sees them, at one moment or through a watch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Background, Kubectl};

/// What matters of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its label `pod-template-hash`, if its Deployment gave it one.
    pub hash: String,
    /// Its address.
    pub ip: String,
    /// Its node.
    pub node: String,
    /// The image of its first container.
    pub image: String,
    /// Restarts of its first container.
    pub restarts: u64,
    /// Its condition Ready is True.
    pub ready: bool,
    /// It has been deleted and is ending.
    pub terminating: bool,
}

impl Pod {
    fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let conditions = object["status"]["conditions"].as_array();
        let ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
        Self {
            name: text(&object["metadata"]["name"]),
            uid: text(&object["metadata"]["uid"]),
            hash: text(&object["metadata"]["labels"]["pod-template-hash"]),
            ip: text(&object["status"]["podIP"]),
            node: text(&object["spec"]["nodeName"]),
            image: text(&object["spec"]["containers"][0]["image"]),
            restarts: object["status"]["containerStatuses"][0]["restartCount"]
                .as_u64()
                .unwrap_or(0),
            ready: conditions.is_some_and(|conditions| conditions.iter().any(ready)),
            terminating: !object["metadata"]["deletionTimestamp"].is_null(),
        }
    }

    /// What a Deployment counts as available.
    pub fn available(&self) -> bool {
        self.ready && !self.terminating
    }
}

/// The pods with a label.
#[track_caller]
pub fn list(kubectl: &Kubectl, selector: &str) -> Vec<Pod> {
    let list = kubectl.json(&["pods", "-l", selector]);
    list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(Pod::of)
        .collect()
}

/// One pod.
#[track_caller]
pub fn get(kubectl: &Kubectl, name: &str) -> Pod {
    Pod::of(&kubectl.json(&["pod", name]))
}

/// The addresses of pods, each once.
pub fn addresses(pods: &[Pod]) -> BTreeSet<&str> {
    pods.iter().map(|pod| pod.ip.as_str()).collect()
}

/// Follows the pods with a label through `kubectl get -w`, state by state.
pub struct Watch {
    output: Background,
    pods: BTreeMap<String, Pod>,
}

impl Watch {
    /// Starts watching; the first states are those in which the pods appear one by one.
    pub fn start(kubectl: &Kubectl, selector: &str) -> Self {
        // One object a line: kubectl's own JSON output spreads an object over many.
        let args = [
            "get",
            "pods",
            "-l",
            selector,
            "-w",
            "--output-watch-events",
            "-o",
            "jsonpath={.type} {.object}{\"\\n\"}",
        ];
        Self {
            output: Background::start(&mut kubectl.command(&args)),
            pods: BTreeMap::new(),
        }
    }

    /// Goes from state to state until `enough`, showing each to `each`.
    ///
    /// # Panics
    /// If that is not reached within 90 s.
    #[track_caller]
    pub fn until(&mut self, enough: impl Fn(&[&Pod]) -> bool, mut each: impl FnMut(&[&Pod])) {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let pods: Vec<&Pod> = self.pods.values().collect();
            each(&pods);
            if enough(&pods) {
                return;
            }
            let line = self.output.line(deadline).expect("the watch goes on");
            let (kind, object) = line.split_once(' ').expect("type and object");
            let object: Value = serde_json::from_str(object).expect("an object");
            let pod = Pod::of(&object);
            match kind {
                "DELETED" => self.pods.remove(&pod.name),
                _ => self.pods.insert(pod.name.clone(), pod),
            };
        }
    }

    /// Ends the watch.
    pub fn end(self) {
        self.output.end(Signal::SIGTERM);
    }
}
