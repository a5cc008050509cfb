//! Where a scenario plays: a cluster, one Deployment with its Service, and the traffic on it.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::loads::Loads;
use super::server::{Pods, Server};
use crate::pods::{self, Pod, Watch};
use crate::{Cluster, Kubectl};

/// Where a scenario plays.
pub struct Stage<'a> {
    /// The cluster.
    pub cluster: &'a mut Cluster,
    /// Name of the Deployment and of the Service, and the value of their label `app`.
    pub name: &'a str,
    /// What the pods run.
    pub server: Server,
    /// How they are kept.
    pub pods: Pods,
    /// The traffic.
    pub loads: &'a Loads,
    /// How long a request or a pod's end may take.
    pub limit: Duration,
    /// Whatever is left to chance.
    pub random: StdRng,
    /// Whether the old image is what runs.
    pub is_old: bool,
}

impl Stage<'_> {
    /// The cluster's kubectl.
    pub fn kubectl(&self) -> Kubectl {
        self.cluster.kubectl()
    }

    /// `deployment/NAME`.
    pub fn deployment(&self) -> String {
        format!("deployment/{}", self.name)
    }

    /// The label of the pods.
    pub fn selector(&self) -> String {
        format!("app={}", self.name)
    }

    /// `kubectl` with arguments that are split at blanks, `DEPLOYMENT` standing for ours.
    pub fn run(&self, command: &str) -> String {
        let deployment = self.deployment();
        let words: Vec<&str> = command
            .split(' ')
            .map(|word| if word == "DEPLOYMENT" { &deployment } else { word })
            .collect();
        self.kubectl().ok(&words)
    }

    /// The other image becomes the Deployment's; does not wait.
    pub fn switch(&mut self) {
        self.is_old = !self.is_old;
        let [old, new] = self.server.images();
        let image = if self.is_old { old } else { new };
        self.run(&format!("set image DEPLOYMENT server={image}"));
    }

    /// Waits until the roll is over and the last of the old pods is gone.
    pub fn settle(&self) {
        let kubectl = self.kubectl();
        let timeout = format!("--timeout={}s", self.limit.as_secs());
        let deployment = self.deployment();
        kubectl.ok(&["rollout", "status", &deployment, &timeout]);
        let pods = pods::list(&kubectl, &self.selector());
        let mut wait = vec!["wait", "--for=delete", "pod", &timeout];
        let ending: Vec<&str> = pods
            .iter()
            .filter(|pod| pod.terminating)
            .map(|pod| pod.name.as_str())
            .collect();
        if !ending.is_empty() {
            wait.extend(ending);
            kubectl.ok(&wait);
        }
    }

    /// Every shape gets answers.
    pub fn flow(&self) {
        self.loads.flow(1, self.limit);
    }

    /// Any pod that serves.
    pub fn any_pod(&mut self) -> Pod {
        let pods = pods::list(&self.kubectl(), &self.selector());
        let serving: Vec<Pod> = pods.into_iter().filter(Pod::available).collect();
        serving
            .choose(&mut self.random)
            .cloned()
            .expect("a pod that serves")
    }

    /// Waits for a state of the pods.
    pub fn until(&self, enough: impl Fn(&[&Pod]) -> bool) {
        let mut watch = Watch::start(&self.kubectl(), &self.selector());
        watch.until(enough, |_| {});
        watch.end();
    }

    /// Asserts that pods of a template have gone on serving through a roll that has halted.
    pub fn assert_serving(&self, hash: &str) {
        let pods = pods::list(&self.kubectl(), &self.selector());
        let serving = pods
            .iter()
            .filter(|pod| pod.hash == hash && pod.available())
            .count();
        let least = (self.pods.replicas - self.pods.unavailable) as usize;
        assert!(
            serving >= least,
            "only {serving} of the old pods serve on: {pods:#?}"
        );
    }

    /// Deletes a pod and waits until it is gone; asserts that this took no longer than it may.
    pub fn until_gone(&self, pod: &str) {
        let begin = Instant::now();
        let timeout = format!("--timeout={}s", self.limit.as_secs());
        self.kubectl().ok(&["wait", "--for=delete", "pod", pod, &timeout]);
        let grace = Duration::from_secs(self.pods.grace.into());
        let took = begin.elapsed();
        assert!(
            took < grace + Duration::from_secs(10),
            "{pod} took {took:?} to end, with a grace of {grace:?}"
        );
    }
}
