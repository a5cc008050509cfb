//! A process by pid and start time, so that a pid that was given to another process is never mistaken for the old one.

use std::time::{Duration, Instant};

use agent::process;
use anyhow::Context as _;
use nix::sys::signal::Signal;
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// A process that existed at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)).
    pub started: u64,
}

impl ProcessId {
    /// This process.
    pub fn own() -> anyhow::Result<Self> {
        Self::of(nix::unistd::getpid().as_raw()).context("/proc is not readable")
    }

    /// The process that has this pid now, unless it has ended and only waits for its parent to notice.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = process::stat(pid).filter(|stat| !stat.zombie)?;
        Some(Self {
            pid,
            started: stat.started,
        })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        process::is_alive(self.pid, self.started)
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            process::signal(self.pid, signal);
        }
    }

    /// Resolves when it has ended.
    pub async fn ended(self) {
        let (ended, noticed) = oneshot::channel::<()>();
        // A thread of its own, not the runtime's: a runtime that stops would wait for it.
        std::thread::spawn(move || {
            while !self.wait(Duration::from_secs(3600)) {}
            drop(ended);
        });
        // The channel says it by closing.
        let _ = noticed.await;
    }

    /// Waits until it has ended; false if it still runs after `limit`.
    pub fn wait(&self, limit: Duration) -> bool {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else {
            return true;
        };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            return !self.is_alive();
        };
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let mut ready = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
            let timeout = rustix::event::Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            match rustix::event::poll(&mut ready, Some(&timeout)) {
                Ok(0) => return !self.is_alive(),
                Ok(_) => return true,
                Err(_) => {}
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_noticed() {
        let mut child = tokio::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = ProcessId::of(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        drop(child.stdin.take());
        let (ended, waited) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(10), id.ended()),
            child.wait()
        );
        assert!(ended.is_ok() && waited.is_ok());
    }

    #[test]
    fn a_process_is_itself_until_it_ends() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(id.is_alive());
        assert!(
            !ProcessId {
                started: id.started + 1,
                ..id
            }
            .is_alive()
        );
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(id.wait(Duration::from_secs(10)));
        assert!(!id.is_alive());
    }
}
