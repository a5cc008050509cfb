//! Does what the plan says, and undoes it when its time is over.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{Ballast, Disk};
use super::harm::{Harms, Killed};
use super::plan::{Act, Pick, Step};
use super::resident::{Frozen, Handle, Resident};
use super::world::{SERVICES, Wish, World, name};
use crate::cluster::{Cluster, balancer_in};
use crate::interrupt;

/// How long another balancer may take to come.
const SUCCESSOR: Duration = Duration::from_secs(60);

/// How long a pod whose program runs again may take to serve.
const STEADY: Duration = Duration::from_secs(3);

/// What is to be undone.
enum Undo {
    StartServer,
    StartAgent(u16),
    /// Held, and over when dropped.
    Thaw {
        server: bool,
        _frozen: Frozen,
    },
    /// Likewise.
    MakeRoom {
        _ballast: Ballast,
    },
}

/// Where a round plays.
pub struct Stage<'a> {
    cluster: &'a mut Cluster,
    disk: &'a Disk,
    world: &'a World,
    harms: &'a Harms,
    /// What is not as it was, and until when.
    pending: Vec<(Instant, Undo)>,
    server_runs: bool,
    /// When a pod of each Service was last killed.
    killed: [Option<Instant>; SERVICES],
    /// All acts with their instants.
    pub told: Vec<String>,
    /// Acts that were done, by name.
    pub done: BTreeMap<&'static str, u64>,
    /// Acts that found nothing to be done to, by name.
    pub missed: BTreeMap<&'static str, u64>,
}

impl<'a> Stage<'a> {
    /// Nothing has happened yet.
    pub fn new(cluster: &'a mut Cluster, disk: &'a Disk, world: &'a World, harms: &'a Harms) -> Self {
        Self {
            cluster,
            disk,
            world,
            harms,
            pending: Vec::new(),
            server_runs: true,
            killed: [None; SERVICES],
            told: Vec::new(),
            done: BTreeMap::new(),
            missed: BTreeMap::new(),
        }
    }

    /// Plays all of it, and puts everything right again.
    pub fn play(&mut self, steps: &[Step]) {
        let begin = Instant::now();
        for step in steps {
            self.pass(begin + step.at);
            if interrupt::is_set() {
                break;
            }
            self.told
                .push(format!("{:>7.3} s {:?}", begin.elapsed().as_secs_f64(), step.act));
            let counts = if self.act(step.act) {
                &mut self.done
            } else {
                &mut self.missed
            };
            *counts.entry(step.act.name()).or_default() += 1;
        }
        if let Some(last) = self.pending.iter().map(|(due, _)| *due).max() {
            self.pass(last);
        }
    }

    /// Lets time pass, undoing what is due. The plan is made of instants, so this waits for the clock and for nothing else.
    fn pass(&mut self, until: Instant) {
        while let Some(next) = (0..self.pending.len()).min_by_key(|&index| self.pending[index].0)
            && self.pending[next].0 <= until
        {
            let (due, undo) = self.pending.swap_remove(next);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.undo(undo);
        }
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::StartServer => {
                // A start on a full disk is refused, in words; that is shown elsewhere.
                self.pending
                    .retain(|(_, undo)| !matches!(undo, Undo::MakeRoom { .. }));
                self.cluster.up();
                self.server_runs = true;
            }
            Undo::StartAgent(node) => self.world.wish(Wish::Agent(node, true)),
            Undo::Thaw { .. } | Undo::MakeRoom { .. } => {}
        }
    }

    fn later(&mut self, after: Duration, undo: Undo) {
        self.pending.push((Instant::now() + after, undo));
    }

    /// Whether the server is there and not standing still.
    fn server_is_well(&self) -> bool {
        let is_frozen = |(_, undo): &(Instant, Undo)| matches!(undo, Undo::Thaw { server: true, .. });
        self.server_runs && !self.pending.iter().any(is_frozen)
    }

    /// Does it; `false`: there was nothing to do it to.
    fn act(&mut self, act: Act) -> bool {
        match act {
            Act::Roll(service) => self.world.wish(Wish::Roll(service)),
            Act::Scale(service, replicas) => self.world.wish(Wish::Scale(service, replicas)),
            Act::Delete(pick) => self.world.wish(Wish::Delete(pick)),
            Act::KillServer(time) => {
                if !self.server_runs {
                    return false;
                }
                self.cluster.crash();
                self.server_runs = false;
                self.later(time, Undo::StartServer);
            }
            Act::FreezeServer(time) => {
                if !self.server_runs {
                    return false;
                }
                return self.freeze(&[self.cluster.server_pid()], time, true);
            }
            Act::KillBalancer => return self.kill_balancer(),
            Act::FreezeBalancer(time) => return self.freeze(&[self.cluster.balancer_pid()], time, false),
            Act::KillKeeper(pick) => {
                return self.victim(pick).is_some_and(|pod| {
                    let program = Handle::all(&pod.program());
                    self.kill(pick, &pod, "keeper", Handle::all(&[pod.keeper]), program)
                });
            }
            Act::KillProgram(pick) => {
                return self.victim(pick).is_some_and(|pod| {
                    let pids = pod.program();
                    self.kill(pick, &pod, "program", Handle::all(&pids), Handle::all(&pids))
                });
            }
            Act::FreezeKeeper(pick, time) => {
                let pod = self.pod(pick);
                return pod.is_some_and(|pod| self.freeze(&[pod.keeper], time, false));
            }
            Act::FreezeProgram(pick, time) => {
                let pod = self.pod(pick);
                return pod.is_some_and(|pod| self.freeze(&pod.program(), time, false));
            }
            Act::StopAgent(node, time) => {
                self.world.wish(Wish::Agent(node, false));
                self.later(time, Undo::StartAgent(node));
            }
            Act::FillDisk(time) => match self.disk.fill() {
                Some(_ballast) => self.later(time, Undo::MakeRoom { _ballast }),
                None => return false,
            },
            Act::DropSockets => return drop_sockets(self.cluster.api_port()),
        }
        true
    }

    fn freeze(&mut self, pids: &[i32], time: Duration, server: bool) -> bool {
        let Some(_frozen) = Frozen::new(pids) else {
            return false;
        };
        self.later(time, Undo::Thaw { server, _frozen });
        true
    }

    /// The pods of a Service that have a program.
    fn pods(&self, service: usize) -> Vec<Resident> {
        let mut pods = Resident::all(&self.cluster.data_dir());
        let prefix = format!("{}-", name(service));
        pods.retain(|pod| pod.name.starts_with(&prefix) && !pod.program().is_empty());
        pods
    }

    fn pod(&self, pick: Pick) -> Option<Resident> {
        let mut pods = self.pods(pick.service);
        let index = pick.number.checked_rem(pods.len())?;
        Some(pods.swap_remove(index))
    }

    /// A pod to kill, if another one of its Service answers meanwhile: where none is left, every request must fail.
    fn victim(&self, pick: Pick) -> Option<Resident> {
        let mut pods = self.pods(pick.service);
        let index = pick.number.checked_rem(pods.len())?;
        let victim = pods.swap_remove(index);
        let is_recovering = self.killed[pick.service].is_some_and(|at| at.elapsed() < STEADY);
        (!pods.is_empty() && !is_recovering).then_some(victim)
    }

    /// Kills these processes of a pod; requests may be lost until its program has ended.
    fn kill(
        &mut self,
        pick: Pick,
        pod: &Resident,
        what: &'static str,
        victims: Vec<Handle>,
        program: Vec<Handle>,
    ) -> bool {
        if victims.is_empty() {
            return false;
        }
        let over = self.harms.note(Killed::Pod {
            service: pick.service,
            name: pod.name.clone(),
            what,
        });
        victims.iter().for_each(Handle::kill);
        self.killed[pick.service] = Some(Instant::now());
        thread::spawn(move || {
            program.iter().for_each(Handle::wait);
            over();
        });
        true
    }

    fn kill_balancer(&self) -> bool {
        let pid = self.cluster.balancer_pid();
        let Some(balancer) = Handle::open(pid) else {
            return false;
        };
        let over = self.harms.note(Killed::Balancer {
            alone: !self.server_is_well(),
        });
        balancer.kill();
        let file = self.cluster.balancer_file();
        thread::spawn(move || {
            let deadline = Instant::now() + SUCCESSOR;
            while Instant::now() < deadline && balancer_in(&file).is_none_or(|now| now == pid) {
                thread::sleep(Duration::from_millis(5));
            }
            over();
        });
        true
    }
}

/// Breaks every connection that the API server has; `false`: there was none, or the system does not let us.
fn drop_sockets(port: u16) -> bool {
    let mut ss = Command::new("ss");
    let filter = format!(":{port}");
    ss.args(["-K", "-H", "-t", "state", "established", "sport", "=", &filter]);
    let output = ss.output();
    output.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}
