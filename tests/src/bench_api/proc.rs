//! What /proc says of processes.

use std::fs;

use super::Error;

/// Resident memory of processes together, in MiB; pages that they share, as those of one program, count once.
pub fn resident(pids: &[i32]) -> Result<f64, Error> {
    pids.iter().map(|pid| field(*pid, "smaps_rollup", "Pss:")).sum()
}

/// The most that they have ever had resident, in MiB; pages that they share count for each.
pub fn peak(pids: &[i32]) -> Result<f64, Error> {
    pids.iter().map(|pid| field(*pid, "status", "VmHWM:")).sum()
}

fn field(pid: i32, file: &str, name: &str) -> Result<f64, Error> {
    let path = format!("/proc/{pid}/{file}");
    let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: f64 = kibibytes
        .ok_or_else(|| format!("{path} has no {name}"))?
        .parse()?;
    Ok(kibibytes / 1024.0)
}
