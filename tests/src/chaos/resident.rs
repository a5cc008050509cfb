//! A pod as the machine has it, whether the server runs or not: its folder, its keeper, its program's processes.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

/// A pod that has a folder.
#[derive(Clone, Debug)]
pub struct Resident {
    /// The pod's uid.
    pub uid: String,
    /// The pod's name.
    pub name: String,
    /// The pid of its keeper.
    pub keeper: i32,
}

impl Resident {
    /// All pods that have a keeper, by name.
    pub fn all(data_dir: &Path) -> Vec<Self> {
        let mut all: Vec<Self> = folders(&data_dir.join("nodes"))
            .flat_map(|node| folders(&node.join("pods")))
            .filter_map(|folder| Self::of(&folder))
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn of(folder: &Path) -> Option<Self> {
        let read = |file: &str| serde_json::from_slice::<Value>(&fs::read(folder.join(file)).ok()?).ok();
        let (place, keeper) = (read("pod.json")?, read("keeper.json")?);
        Some(Self {
            uid: place["uid"].as_str()?.to_owned(),
            name: place["name"].as_str()?.to_owned(),
            keeper: i32::try_from(keeper["pid"].as_i64()?).ok()?,
        })
    }

    /// Its program's processes: the keeper's descendants.
    pub fn program(&self) -> Vec<i32> {
        let mut pids = vec![self.keeper];
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            next += 1;
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            pids.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            );
        }
        pids.split_off(1)
    }
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// A process, and no other one that gets its pid later.
pub struct Handle(OwnedFd);

impl Handle {
    /// `None`: it is gone.
    pub fn open(pid: i32) -> Option<Self> {
        pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty())
            .ok()
            .map(Self)
    }

    /// Those of these processes that are still there.
    pub fn all(pids: &[i32]) -> Vec<Self> {
        pids.iter().filter_map(|&pid| Self::open(pid)).collect()
    }

    /// SIGKILL.
    pub fn kill(&self) {
        // It may have ended by itself meanwhile.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }

    /// Waits for its end, but no longer than two minutes.
    pub fn wait(&self) {
        let limit = Timespec {
            tv_sec: 120,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        // Interrupted or not: then it counts as over a little early, which makes the judge stricter.
        let _ = poll(&mut polled, Some(&limit));
    }
}

/// Processes that stand still, until this is dropped.
pub struct Frozen(Vec<Handle>);

impl Frozen {
    /// SIGSTOP; `None`: none of them is there.
    pub fn new(pids: &[i32]) -> Option<Self> {
        let handles = Handle::all(pids);
        for handle in &handles {
            let _ = pidfd_send_signal(&handle.0, Signal::STOP);
        }
        (!handles.is_empty()).then_some(Self(handles))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for handle in &self.0 {
            let _ = pidfd_send_signal(&handle.0, Signal::CONT);
        }
    }
}
