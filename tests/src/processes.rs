//! Which processes belong to a cluster: what `ps` knows, asked of /proc.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// Its start time, in clock ticks since boot: with the pid it is the process's identity.
    pub started: u64,
    /// Its command line.
    pub command: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.command)
    }
}

/// The processes that are marked by any of these strings: in their arguments, their environment or their working
/// folder. Zombies are not processes any more.
pub fn marked(marks: &[String]) -> BTreeSet<Process> {
    let entries = fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let own = std::process::id();
    pids.filter(|pid| u32::try_from(*pid) != Ok(own))
        .filter_map(|pid| process(pid, marks))
        .collect()
}

fn process(pid: i32, marks: &[String]) -> Option<Process> {
    let folder = Path::new("/proc").join(pid.to_string());
    let read = |name: &str| Some(String::from_utf8_lossy(&fs::read(folder.join(name)).ok()?).into_owned());
    let command = read("cmdline")?.replace('\0', " ").trim().to_owned();
    let environment = read("environ").unwrap_or_default();
    let working = fs::read_link(folder.join("cwd"))
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let is_marked = |mark: &String| {
        [&command, &environment, &working]
            .iter()
            .any(|text| text.contains(mark))
    };
    if !marks.iter().any(is_marked) {
        return None;
    }
    let stat = read("stat")?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (state != "Z").then_some(Process {
        pid,
        started,
        command,
    })
}
