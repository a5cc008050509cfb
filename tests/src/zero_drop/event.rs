//! What is done to a Deployment, or to the machine under it, while traffic flows.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::stage::Stage;
use crate::pods::{self, Pod};
use crate::processes::marked;

/// One event; a scenario repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing for a second: the noise floor.
    Nothing,
    /// The other image.
    Roll,
    /// The other image, undo, scale to 8, 2 and 4, restart, a stalled roll to an image that does not exist, undo.
    Everything,
    /// The other image, undone when its first pod serves.
    Rollback,
    /// The other image, and at once a template that is new again.
    Overlap,
    /// The other image, and the scale changed while it is being rolled out.
    ScaleInRoll,
    /// A roll to pods that listen late.
    Late,
    /// A roll to pods that crash soon after they are ready; it halts and is undone.
    Crashing,
    /// A roll to pods that are never ready; it halts and is undone.
    NeverReady,
    /// A pod's process gets SIGKILL; the pod is deleted when it is back.
    Kill,
    /// A pod is deleted, and its processes stand still from then on.
    Freeze,
    /// `coracle balancer replace`.
    BalancerReplace,
    /// The balancer gets SIGKILL; the server starts another.
    BalancerCrash,
    /// The server gets SIGKILL in the middle of a roll, and is started again.
    ServerCrash,
}

impl Event {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing (noise floor), s",
            Self::Roll => "roll",
            Self::Everything => "roll, undo, scale, restart, stall",
            Self::Rollback => "rollback in mid-roll",
            Self::Overlap => "overlapping rolls",
            Self::ScaleInRoll => "scale in mid-roll",
            Self::Late => "roll to late listeners",
            Self::Crashing => "roll to crashing pods, undo",
            Self::NeverReady => "roll to unready pods, undo",
            Self::Kill => "kill -9 of a pod",
            Self::Freeze => "pod frozen while draining",
            Self::BalancerReplace => "balancer replaced",
            Self::BalancerCrash => "kill -9 of the balancer",
            Self::ServerCrash => "kill -9 of the server in a roll",
        }
    }

    /// Makes it happen once, and waits until it is over.
    pub fn happen(self, stage: &mut Stage<'_>) {
        match self {
            // Noise is what happens by itself in a time.
            Self::Nothing => std::thread::sleep(Duration::from_secs(1)),
            Self::Roll => {
                stage.switch();
                stage.settle();
            }
            Self::Everything => everything(stage),
            Self::Rollback => {
                let first = first_of_other_image(stage);
                stage.until(first);
                stage.run("rollout undo DEPLOYMENT");
                stage.is_old = !stage.is_old;
                stage.settle();
            }
            Self::Overlap => {
                stage.switch();
                stage.run("rollout restart DEPLOYMENT");
                stage.settle();
            }
            Self::ScaleInRoll => {
                let first = first_of_other_image(stage);
                stage.until(first);
                stage.run("scale DEPLOYMENT --replicas=7");
                stage.run(&format!("scale DEPLOYMENT --replicas={}", stage.pods.replicas));
                stage.settle();
            }
            Self::Late => {
                stage.run("set env DEPLOYMENT LISTEN_AFTER=1500");
                stage.settle();
                stage.run("set env DEPLOYMENT LISTEN_AFTER-");
                stage.settle();
            }
            Self::Crashing => halts(stage, "CRASH_AFTER=600"),
            Self::NeverReady => halts(stage, "LISTEN_AFTER=600000"),
            Self::Kill => kill_a_pod(stage),
            Self::Freeze => freeze_a_pod(stage),
            Self::BalancerReplace => {
                let data_dir = stage.cluster.data_dir();
                let args = ["balancer", "replace", "--data-dir", &data_dir.to_string_lossy()];
                let replaced = stage.cluster.run(&args);
                assert_eq!(replaced.code, Some(0), "{replaced:?}");
            }
            Self::BalancerCrash => crash_the_balancer(stage),
            Self::ServerCrash => {
                let first = first_of_other_image(stage);
                stage.until(first);
                stage.cluster.crash();
                stage.flow();
                stage.cluster.up();
                stage.settle();
            }
        }
    }
}

fn everything(stage: &mut Stage<'_>) {
    stage.switch();
    stage.settle();
    stage.run("rollout undo DEPLOYMENT");
    stage.is_old = !stage.is_old;
    stage.settle();
    for replicas in [8, 2, stage.pods.replicas] {
        stage.run(&format!("scale DEPLOYMENT --replicas={replicas}"));
        stage.settle();
    }
    stage.run("rollout restart DEPLOYMENT");
    stage.settle();
    let hash = stage.any_pod().hash;
    stage.run("set image DEPLOYMENT server=no-such-image:1");
    stage.until(|pods| pods.iter().any(|pod| pod.image == "no-such-image:1"));
    stage.flow();
    stage.assert_serving(&hash);
    stage.run("rollout undo DEPLOYMENT");
    stage.settle();
}

/// Starts a roll to the other image; the condition that its first pod serves.
fn first_of_other_image(stage: &mut Stage<'_>) -> impl Fn(&[&Pod]) -> bool + use<> {
    let images = stage.server.images();
    let next = images[usize::from(stage.is_old)];
    stage.switch();
    move |pods| pods.iter().any(|pod| pod.image == next && pod.available())
}

/// A roll to a template that cannot work: it halts, the old pods serve on, and it is undone.
fn halts(stage: &mut Stage<'_>, variable: &str) {
    let hash = stage.any_pod().hash;
    stage.run(&format!("set env DEPLOYMENT {variable}"));
    let deployment = stage.deployment();
    let limit = format!("--timeout={}s", stage.limit.as_secs());
    let told = stage.kubectl().fails(&["rollout", "status", &deployment, &limit]);
    assert!(told.contains("exceeded its progress deadline"), "{told}");
    stage.assert_serving(&hash);
    stage.flow();
    stage.run("rollout undo DEPLOYMENT");
    stage.settle();
}

/// The processes of a pod's program, without its keeper.
fn program_of(pod: &Pod) -> Vec<Pid> {
    let processes = marked(std::slice::from_ref(&pod.uid)).into_iter();
    let program = processes.filter(|process| !process.command.contains(" keeper "));
    let pids: Vec<Pid> = program.map(|process| Pid::from_raw(process.pid)).collect();
    assert!(!pids.is_empty(), "{} has no process", pod.name);
    pids
}

fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // It may have ended by itself meanwhile.
        let _ = kill(*pid, signal);
    }
}

fn kill_a_pod(stage: &mut Stage<'_>) {
    let pod = stage.any_pod();
    let program = program_of(&pod);
    signal(&program, Signal::SIGKILL);
    stage.until(|pods| {
        let mut same = pods.iter().filter(|other| other.uid == pod.uid);
        same.any(|other| other.restarts > pod.restarts && other.ready)
    });
    // A pod that crashes again and again is restarted later and later: the next kill finds a new one.
    stage.kubectl().ok(&["delete", "pod", &pod.name]);
    stage.settle();
    let replicas = stage.pods.replicas as usize;
    stage.until(|pods| pods.iter().filter(|pod| pod.available()).count() == replicas);
}

fn crash_the_balancer(stage: &Stage<'_>) {
    let path = stage.cluster.data_dir().join("balancer/pid");
    let text = std::fs::read(&path).expect("the balancer has noted its pid");
    let noted: serde_json::Value = serde_json::from_slice(&text).expect("as JSON");
    let pid = noted["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    signal(&[Pid::from_raw(pid.expect("a pid"))], Signal::SIGKILL);
    stage.flow();
}

fn freeze_a_pod(stage: &mut Stage<'_>) {
    let pod = stage.any_pod();
    let program = program_of(&pod);
    stage.kubectl().ok(&["delete", "pod", &pod.name, "--wait=false"]);
    signal(&program, Signal::SIGSTOP);
    stage.until_gone(&pod.name);
    stage.settle();
    let pods = pods::list(&stage.kubectl(), &stage.selector());
    assert!(pods.iter().all(|other| other.uid != pod.uid), "{pods:#?}");
}
