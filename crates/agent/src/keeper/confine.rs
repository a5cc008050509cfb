//! Starts a process of a container with what it may use and become.
//!
//! Flows in: a command, limits, groups. Flows out: a child that is confined from its first instruction on. A thread of
//! its own enters the groups and gives up new privileges, then forks: both are a thread's own and pass on to its child,
//! and the keeper itself stays free.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::cgroup::Cgroup;
use super::landlock;
use super::protocol::Confine;

/// Starts it.
pub fn spawn(command: &mut Command, confine: &Confine, cgroup: &Cgroup) -> io::Result<Child> {
    if let Some(group) = confine.group {
        command.gid(group);
    }
    if let Some(user) = confine.user {
        // The standard library drops root's supplementary groups with it.
        command.uid(user);
    }
    let child = thread::scope(|scope| {
        let start = || {
            cgroup.enter()?;
            if confine.no_new_privs {
                nix::sys::prctl::set_no_new_privs()?;
            }
            if let Some(sandbox) = &confine.sandbox {
                landlock::enter(sandbox)?;
            }
            command.spawn()
        };
        let thread = thread::Builder::new()
            .stack_size(128 << 10)
            .spawn_scoped(scope, start)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")))
    });
    cgroup.leave();
    let child = child?;
    if let Some(bytes) = confine.memory.filter(|_| !cgroup.limits_memory()) {
        // Second best, for each process by itself: an allocation beyond it fails.
        let limit = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        let pid = Pid::from_child(&child);
        if let Err(error) = prlimit(Some(pid), Resource::Data, limit) {
            super::say(format_args!(
                "no limit of memory for process {}: {error}",
                child.id()
            ));
        }
    }
    Ok(child)
}
