//! The control groups of one attempt: how many processes, how much memory and processor time its processes may have.
//!
//! Flows in: the limits of a container. Flows out: one group `coracle-<pod>-<container>` a controller, in the keeper's
//! own group (v1) or at the root of the hierarchy (v2), made before the first process and removed after the last. Their
//! paths are on disk next to the attempts, so that whoever clears a lost keeper away removes them too. A controller that
//! this user may not use is left out: a limit that cannot be set keeps no container from running.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::protocol::Confine;
use super::record;

/// File in the container's folder that names its groups.
const RECORD: &str = "cgroups";
/// Period of the processor quota, in microseconds.
const PERIOD: u64 = 100_000;

/// The groups of one attempt; none where no controller can be used.
#[derive(Debug, Default)]
pub struct Cgroup {
    dirs: Vec<PathBuf>,
    /// v2 only: the keeper's own group, to which it returns after it has started a process.
    home: Option<PathBuf>,
}

impl Cgroup {
    /// Makes what a container asks for, anew.
    pub fn create(pod: &Path, container: &str, confine: &Confine) -> Self {
        let mut made = Self::default();
        let Some(name) = confine.cgroup.as_deref().filter(|name| !name.contains('/')) else {
            return made;
        };
        remove(pod, container);
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let unified = mount(&mounts, "cgroup2", None);
        let settings = Setting::of(confine);
        for controller in ["pids", "memory", "cpu"] {
            let wanted: Vec<_> = settings.iter().filter(|s| s.controller == controller).collect();
            if wanted.is_empty() {
                continue;
            }
            let dir = match (mount(&mounts, "cgroup", Some(controller)), &unified) {
                (Some(mount), _) => parent(&mount, &own, controller).join(name),
                (None, Some(unified)) => {
                    made.home = home(unified, &own);
                    unified.join(name)
                }
                (None, None) => continue,
            };
            let is_v2 = made.home.is_some();
            let set = || -> io::Result<()> {
                fs::create_dir_all(&dir)?;
                wanted.iter().try_for_each(|setting| setting.write(&dir, is_v2))
            };
            match set() {
                Ok(()) if made.dirs.contains(&dir) => {}
                Ok(()) => made.dirs.push(dir),
                Err(error) => {
                    super::say(format_args!(
                        "no limit of {controller} for {container}: {}: {error}",
                        dir.display()
                    ));
                    if !made.dirs.contains(&dir) {
                        let _ = fs::remove_dir(&dir);
                    }
                }
            }
        }
        if !made.dirs.is_empty()
            && let Err(error) = record::write(&pod.join(container).join(RECORD), &made.dirs)
        {
            super::say(format_args!(
                "cannot write down the groups of {container}: {error}"
            ));
        }
        made
    }

    /// Takes the calling thread in, and with it what it starts; v2 knows whole processes only.
    pub fn enter(&self) -> io::Result<()> {
        let file = if self.home.is_some() {
            "cgroup.procs"
        } else {
            "tasks"
        };
        self.dirs
            .iter()
            .try_for_each(|dir| fs::write(dir.join(file), "0"))
    }

    /// The way back of [`Cgroup::enter`]; a thread of v1 ends instead.
    pub fn leave(&self) {
        if let Some(home) = self.home.as_ref().filter(|_| !self.dirs.is_empty())
            && let Err(error) = fs::write(home.join("cgroup.procs"), "0")
        {
            super::say(format_args!("cannot return to {}: {error}", home.display()));
        }
    }

    /// Whether its memory is limited by a group.
    pub fn limits_memory(&self) -> bool {
        let files = ["memory.limit_in_bytes", "memory.max"];
        self.dirs
            .iter()
            .any(|dir| files.iter().any(|file| dir.join(file).exists()))
    }

    /// Whether the kernel has killed a process of it for want of memory.
    pub fn is_out_of_memory(&self) -> bool {
        let kills = |dir: &PathBuf| {
            ["memory.oom_control", "memory.events"].iter().any(|file| {
                let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
                let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
                count.is_some_and(|count| count.trim() != "0")
            })
        };
        self.dirs.iter().any(kills)
    }

    /// The processes in it. From now on they cannot fork: what is about to be killed must not outrun its killer.
    pub fn close(&self) -> Vec<i32> {
        close(&self.dirs)
    }
}

/// Kills what is in the groups of a container, if any are on record, and removes them.
pub fn remove(pod: &Path, container: &str) {
    let path = pod.join(container).join(RECORD);
    let Some(dirs) = record::read::<Vec<PathBuf>>(&path) else {
        return;
    };
    for pid in close(&dirs) {
        crate::process::signal(pid, nix::sys::signal::Signal::SIGKILL);
    }
    let mut is_gone = true;
    for dir in &dirs {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                super::say(format_args!("cannot remove {}: {error}", dir.display()));
                is_gone = false;
            }
            _ => {}
        }
    }
    if is_gone {
        // The next attempt writes it anew.
        let _ = fs::remove_file(path);
    }
}

/// The same of all containers of a pod.
pub fn remove_all(pod: &Path) {
    for container in fs::read_dir(pod).into_iter().flatten().flatten() {
        if let Some(name) = container.file_name().to_str() {
            remove(pod, name);
        }
    }
}

fn close(dirs: &[PathBuf]) -> Vec<i32> {
    let mut found = Vec::new();
    for dir in dirs {
        // Only the group of that controller has it.
        if dir.join("pids.max").exists() {
            let _ = fs::write(dir.join("pids.max"), "0");
        }
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    let is_alive = |pid: &i32| crate::process::stat(*pid).is_some_and(|stat| !stat.zombie);
    found.retain(is_alive);
    found.sort_unstable();
    found.dedup();
    found
}

/// One file of a group, as v1 and v2 call it.
struct Setting {
    controller: &'static str,
    v1: (&'static str, String),
    v2: (&'static str, String),
}

impl Setting {
    fn of(confine: &Confine) -> Vec<Self> {
        let mut all = Vec::new();
        if let Some(processes) = confine.processes {
            let value = ("pids.max", processes.to_string());
            all.push(Self {
                controller: "pids",
                v1: value.clone(),
                v2: value,
            });
        }
        if let Some(bytes) = confine.memory {
            all.push(Self {
                controller: "memory",
                v1: ("memory.limit_in_bytes", bytes.to_string()),
                v2: ("memory.max", bytes.to_string()),
            });
        }
        if let Some(milli) = confine.cpu_milli {
            // The kernel takes nothing below a millisecond.
            let quota = (milli.saturating_mul(PERIOD) / 1000).max(1000);
            all.push(Self {
                controller: "cpu",
                v1: ("cpu.cfs_quota_us", quota.to_string()),
                v2: ("cpu.max", format!("{quota} {PERIOD}")),
            });
        }
        all
    }

    fn write(&self, dir: &Path, is_v2: bool) -> io::Result<()> {
        let (file, value) = if is_v2 { &self.v2 } else { &self.v1 };
        let path = dir.join(file);
        // Not made if it is not there: that is a controller which is not delegated.
        fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
    }
}

/// Where a hierarchy is mounted: of a kind, with a controller.
fn mount(mounts: &str, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    let mut rows = mounts.lines().map(|row| row.split(' ').collect::<Vec<_>>());
    let row = rows.find(|row| {
        row.get(2) == Some(&kind)
            && controller.is_none_or(|name| {
                row.get(3)
                    .is_some_and(|options| options.split(',').any(|option| option == name))
            })
    })?;
    Some(PathBuf::from(row.get(1)?))
}

/// The group of the calling process in a v1 hierarchy: what limits it limits its pods. Else the root.
fn parent(mount: &Path, own: &str, controller: &str) -> PathBuf {
    let path = own.lines().find_map(|row| {
        let (controllers, path) = row.split_once(':')?.1.split_once(':')?;
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    });
    let path = mount.join(path.unwrap_or_default().trim_start_matches('/'));
    if path.is_dir() { path } else { mount.to_owned() }
}

/// The group of the calling process in the v2 hierarchy.
fn home(unified: &Path, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|row| row.strip_prefix("0::"))?;
    Some(unified.join(path.trim_start_matches('/')))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_by_controller() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let v1 = |name| mount(mounts, "cgroup", Some(name));
        assert_eq!(v1("cpu"), Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        assert_eq!(v1("memory"), None);
        assert_eq!(
            mount(mounts, "cgroup2", None),
            Some("/sys/fs/cgroup/unified".into())
        );
    }

    #[test]
    fn groups_nest_in_the_own_group() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let own = "4:memory:/a/b\n3:pids:/elsewhere\n0::/user.slice\n";
        assert_eq!(parent(dir.path(), own, "memory"), dir.path().join("a/b"));
        assert_eq!(parent(dir.path(), own, "pids"), dir.path());
        assert_eq!(home(dir.path(), own), Some(dir.path().join("user.slice")));
    }
}
