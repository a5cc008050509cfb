//! What the system says of this process, under the names that Prometheus' own client libraries use.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// What can be said of the process; what the system does not tell is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// Seconds of CPU time, user and system.
    pub cpu: Option<f64>,
    /// Seconds since 1970 at its start.
    pub started: Option<f64>,
    /// Bytes of memory that are resident.
    pub resident: Option<f64>,
    /// Bytes of memory that are mapped.
    pub mapped: Option<f64>,
    /// Threads.
    pub threads: Option<f64>,
    /// Descriptors that are open.
    pub open_fds: Option<f64>,
    /// Descriptors that may be open.
    pub max_fds: Option<f64>,
}

/// Asks the system.
pub fn read() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = setting(SysconfVar::CLK_TCK);
    let seconds = |field| Some(number(&stat, field)? / ticks?);
    Process {
        cpu: seconds(14).zip(seconds(15)).map(|(user, system)| user + system),
        started: boot_time().zip(seconds(22)).map(|(boot, since)| boot + since),
        resident: number(&stat, 24)
            .zip(setting(SysconfVar::PAGE_SIZE))
            .map(|(pages, size)| pages * size),
        mapped: number(&stat, 23),
        threads: number(&stat, 20),
        // The one that reads the folder is not counted.
        open_fds: fs::read_dir("/proc/self/fd")
            .ok()
            .map(|fds| fds.count().saturating_sub(1) as f64),
        max_fds: getrlimit(Resource::RLIMIT_NOFILE)
            .ok()
            .map(|(soft, _)| soft as f64),
    }
}

/// A field of `/proc/PID/stat`, counted from 1 as in proc(5). The second is the program's name, which may contain anything.
fn number(stat: &str, field: usize) -> Option<f64> {
    let behind_name = stat.rsplit_once(')')?.1;
    behind_name.split_ascii_whitespace().nth(field - 3)?.parse().ok()
}

fn setting(variable: SysconfVar) -> Option<f64> {
    sysconf(variable).ok().flatten().map(|value| value as f64)
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 777 1048576 256 1";
        assert_eq!(number(stat, 14), Some(250.0));
        assert_eq!(number(stat, 24), Some(256.0));
        assert_eq!(number("", 14), None);
    }

    #[test]
    fn this_process_is_described() {
        let process = read();
        assert!(process.resident.unwrap() > 100_000.0);
        assert!(process.open_fds.unwrap() >= 3.0 && process.max_fds >= process.open_fds);
        let now = jiff::Timestamp::now().as_second() as f64;
        let started = process.started.unwrap();
        assert!(started <= now + 1.0 && started > now - 3600.0, "{started} {now}");
        assert!(process.cpu.unwrap() >= 0.0 && process.threads.unwrap() >= 1.0);
    }
}
