//! Whether everything is as it must be after a round.
//!
//! Flows in: what is wanted, and the cluster. Flows out: the figures, and every difference in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ledger::Comparison;
use super::requests::Outcome;
use super::resident::Resident;
use super::world::Wanted;
use crate::processes::{Process, marked};
use crate::{Cluster, Kubectl, pods};

/// How long what has ended may take to be cleared away.
const CLEARED: Duration = Duration::from_secs(15);

/// What came of a round.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What decided the round.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
    /// All acts with their instants.
    pub acts: Vec<String>,
    /// Acts that were done, by name.
    pub done: BTreeMap<&'static str, u64>,
    /// Acts that found nothing to be done to.
    pub missed: BTreeMap<&'static str, u64>,
    /// The requests.
    pub requests: Outcome,
    /// The objects.
    pub objects: Comparison,
    /// Processes that were found to be the wanted ones.
    pub processes: usize,
    /// Pods that were found to be the wanted ones.
    pub pods: usize,
    /// What is not as it must be.
    pub wrong: Vec<String>,
}

impl Verdict {
    /// Whether all is as it must be.
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty() && self.objects.wrong.is_empty() && self.unexplained() == 0
    }

    /// Dropped requests that no kill explains.
    pub fn unexplained(&self) -> u64 {
        let explained = self
            .requests
            .dropped
            .iter()
            .filter(|dropped| dropped.why.is_some());
        self.requests.failed - explained.count() as u64
    }

    /// Adds this round's figures to those of others.
    pub fn sum_up(&self, sums: &mut BTreeMap<&'static str, u64>) {
        let figures = [
            ("requests", self.requests.sent),
            (
                "requests dropped inside what was killed",
                self.requests.failed - self.unexplained(),
            ),
            ("requests dropped without an explanation", self.unexplained()),
            ("writes acknowledged", self.objects.acknowledged),
            ("writes refused", self.objects.refused),
            ("objects compared", self.objects.objects),
            ("objects lost or changed", self.objects.wrong.len() as u64),
        ];
        for (name, count) in figures.into_iter().chain(self.done.clone()) {
            *sums.entry(name).or_default() += count;
        }
    }

    /// Compares pods, processes, addresses and ports with what is wanted.
    pub fn look(&mut self, cluster: &Cluster, wanted: &[Wanted]) {
        let kubectl = cluster.kubectl();
        for wanted in wanted {
            self.look_at_pods(&kubectl, wanted);
        }
        self.look_at_addresses(&kubectl);
        let deadline = Instant::now() + CLEARED;
        let differences = loop {
            match processes(cluster, &kubectl) {
                Ok(count) => {
                    self.processes = count;
                    return;
                }
                Err(differences) if Instant::now() > deadline => break differences,
                // What is being cleared away has nobody who would tell.
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        };
        self.wrong.extend(differences);
    }

    fn look_at_pods(&mut self, kubectl: &Kubectl, wanted: &Wanted) {
        let deployment = kubectl.json(&["deployment", &wanted.name]);
        let spec = &deployment["spec"];
        if spec["replicas"] != wanted.replicas
            || spec["template"]["spec"]["containers"][0]["image"] != wanted.image.as_str()
        {
            self.wrong
                .push(format!("{wanted:?} was acknowledged, but there is {spec}"));
        }
        let pods = pods::list(kubectl, &format!("app={}", wanted.name));
        let good = pods
            .iter()
            .filter(|pod| pod.available() && pod.image == wanted.image)
            .count();
        self.pods += good;
        if usize::try_from(wanted.replicas) != Ok(good) || pods.len() != good {
            self.wrong
                .push(format!("{wanted:?} is wanted, but there are {pods:#?}"));
        }
    }

    fn look_at_addresses(&mut self, kubectl: &Kubectl) {
        let pods = kubectl.json(&["pods"]);
        let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for pod in pods["items"].as_array().into_iter().flatten() {
            let name = &pod["metadata"]["name"];
            if !addresses.insert(pod["status"]["podIP"].to_string()) {
                self.wrong.push(format!("{name} has another pod's address"));
            }
            let text = pod["metadata"]["annotations"]["coracle.dev/ports"].as_str();
            let given: BTreeMap<String, u16> = text
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            if given.is_empty() {
                self.wrong.push(format!("{name} has no port"));
            }
            for port in given.into_values() {
                if !ports.insert(port) {
                    self.wrong.push(format!("{name} has another pod's port {port}"));
                }
            }
        }
    }
}

/// How many processes there are, if they are those that are wanted: the server, the balancer, and for each pod a keeper
/// and a program. All others that carry a mark of this cluster are too many: its folder's name, or an address of its pods.
fn processes(cluster: &Cluster, kubectl: &Kubectl) -> Result<usize, Vec<String>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = kubectl.json(&["pods"]);
    let items = list["items"].as_array().into_iter().flatten();
    let mut missing: BTreeMap<String, String> = items
        .map(|pod| (text(&pod["metadata"]["uid"]), text(&pod["metadata"]["name"])))
        .collect();
    let mut wanted = BTreeSet::from([cluster.server_pid(), cluster.balancer_pid()]);
    let mut wrong = Vec::new();
    for resident in Resident::all(&cluster.data_dir()) {
        let program = resident.program();
        if missing.remove(&resident.uid).is_none() {
            wrong.push(format!("{} is gone, but not its folder", resident.name));
        } else if program.is_empty() {
            wrong.push(format!("{} has no process", resident.name));
        } else {
            wanted.insert(resident.keeper);
            wanted.extend(program);
        }
    }
    wrong.extend(missing.into_values().map(|pod| format!("{pod} has no keeper")));
    let marks = [
        cluster.data_dir().to_string_lossy().into_owned(),
        format!("POD_IP=127.{}.", cluster.pod_block()),
    ];
    let found: BTreeMap<i32, Process> = marked(&marks)
        .into_iter()
        .map(|process| (process.pid, process))
        .collect();
    let lacking = wanted.iter().filter(|pid| !is_alive(**pid));
    wrong.extend(lacking.map(|pid| format!("process {pid} is not there any more")));
    let others = found.values().filter(|process| !wanted.contains(&process.pid));
    wrong.extend(others.map(|process| format!("left behind: {process}")));
    if wrong.is_empty() {
        Ok(wanted.len())
    } else {
        Err(wrong)
    }
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<&str, u64>| {
            let parts = counts.iter().map(|(name, count)| format!("{count} x {name}"));
            parts.collect::<Vec<_>>().join(", ")
        };
        writeln!(
            f,
            "seed {}, {:.0} s: {}",
            self.seed,
            self.took.as_secs_f64(),
            list(&self.done)
        )?;
        if !self.missed.is_empty() {
            writeln!(f, "  found nothing to be done to: {}", list(&self.missed))?;
        }
        let (requests, objects) = (&self.requests, &self.objects);
        writeln!(
            f,
            "  {} requests, {} dropped, {} of them unexplained; the longest answer took {:.1} s",
            requests.sent,
            requests.failed,
            self.unexplained(),
            requests.longest.as_secs_f64(),
        )?;
        writeln!(
            f,
            "  {} writes acknowledged, {} refused; {} objects compared, {} of them written without an answer",
            objects.acknowledged, objects.refused, objects.objects, objects.unsure,
        )?;
        writeln!(
            f,
            "  {} pods and {} processes, each the wanted one",
            self.pods, self.processes
        )?;
        for dropped in &requests.dropped {
            write!(f, "  web-{} {}: ", dropped.service, dropped.failure)?;
            match &dropped.why {
                Some(harm) => {
                    let before = dropped.at.saturating_duration_since(harm.at);
                    writeln!(f, "{} {:.3} s before", harm.killed, before.as_secs_f64())?;
                }
                None => writeln!(f, "UNEXPLAINED")?,
            }
        }
        if !self.is_good() {
            self.acts.iter().try_for_each(|act| writeln!(f, "  {act}"))?;
        }
        for wrong in self.wrong.iter().chain(&objects.wrong) {
            writeln!(f, "  WRONG: {wrong}")?;
        }
        Ok(())
    }
}
