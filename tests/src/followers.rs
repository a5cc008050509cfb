//! Followers: client libraries' informers that follow a kind while much is written, and a judge of what they saw.
//!
//! Flows in: how long, and what is to happen meanwhile. Flows out: a table, one row a library. Each follower is a program
//! of its own that tells what its informer does, so that one can be stopped while the history it needs is compacted.
//! The judge knows every write that was made; it must never excuse a write that a follower missed without a fresh list.

pub mod journal;
pub mod kube_rs;
pub mod verdict;
pub mod writer;

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{Background, Cluster, programs};
pub use verdict::Verdict;
use writer::Writer;

/// Where the followed ConfigMaps are.
pub const NAMESPACE: &str = "followed";

/// How long a follower may take to begin, and to come to the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long is written at an even pace, in all.
    pub time: Duration,
    /// How many parts this is in; after each, the followers are stopped while more is written than the history holds.
    pub parts: u32,
    /// Writes in a second.
    pub pace: u32,
    /// Whether the server crashes once, in the middle.
    pub crash: bool,
}

/// Follows by every library, and judges.
///
/// # Panics
/// If the cluster or a follower does not do what the plan needs.
pub fn run(plan: &Plan) -> Vec<Verdict> {
    let mut cluster = Cluster::start();
    cluster.kubectl().ok(&["create", "namespace", NAMESPACE]);
    let mut writer = Writer::new(&cluster);
    writer.steady(Duration::from_secs(1), plan.pace);
    let mut followers = start(&cluster);
    for (_, follower) in &mut followers {
        follower.wait_for_line(PATIENCE, |line| line.starts_with("add "));
    }
    let began = writer.revision();
    for part in 0..plan.parts {
        writer.steady(plan.time / (plan.parts + 1), plan.pace);
        if plan.crash && part == plan.parts / 2 {
            cluster.crash();
            cluster.up();
        }
        followers
            .iter()
            .for_each(|(_, follower)| follower.signal(Signal::SIGSTOP));
        writer.outrun_history();
        followers
            .iter()
            .for_each(|(_, follower)| follower.signal(Signal::SIGCONT));
    }
    writer.steady(plan.time / (plan.parts + 1), plan.pace);
    writer.end();
    let fresh = writer.fresh_view();
    let journal = writer.into_journal();
    let verdicts = followers.into_iter().map(|(name, mut follower)| {
        let lines = lines_to_the_view(&mut follower);
        Verdict::new(name, &lines, &journal, began, &fresh)
    });
    let verdicts = verdicts.collect();
    cluster.stop();
    verdicts
}

/// Reads on until the follower has come to the end.
fn lines_to_the_view(follower: &mut Background) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut lines = Vec::new();
    while !lines
        .last()
        .is_some_and(|line: &String| line.starts_with("view "))
    {
        let line = follower.line(deadline);
        lines.push(line.unwrap_or_else(|| {
            panic!(
                "a follower ended early; its last lines: {:#?}",
                lines.iter().rev().take(5).collect::<Vec<_>>()
            )
        }));
    }
    lines
}

/// One follower for each library.
fn start(cluster: &Cluster) -> [(&'static str, Background); 3] {
    let mut python = programs::python_client();
    python.arg(programs::client("follow.py")).arg(NAMESPACE);
    let mut node = Command::new(programs::find("node"));
    node.arg(programs::client("follow.mjs"))
        .arg(programs::node_library())
        .arg(NAMESPACE);
    let mut kube_rs = Command::new(programs::beside("client-watch"));
    kube_rs.args(["follow", NAMESPACE]);
    [
        ("kubernetes (Python)", python),
        ("client-node", node),
        ("kube-rs", kube_rs),
    ]
    .map(|(name, mut command)| {
        command
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("HOME", cluster.home());
        (name, Background::start(&mut command))
    })
}
