//! The sandbox that a pod can ask for: the kernel (Landlock) lets its processes at the files they are given and no others.
//!
//! Flows in: what may be read and what may be written. Flows out: a calling thread, and all that it starts, which can never
//! get out of it. Only files: the network and signals stay as they are. Nothing below the data folder but the pod's own.

use std::io;

use ::landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, path_beneath_rules,
};

use super::protocol::Sandbox;

/// What the sandbox is made of: all that opens, changes or makes files, since Linux 6.2 truncating too. Control of
/// devices (ABI 5) is left out, terminals need it.
const KNOWN: ABI = ABI::V3;
/// Where programs, libraries and their settings are.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/proc",
    "/sys",
    "/dev",
    "/run/systemd/resolve",
];
/// Devices that are for everybody.
const DEVICES: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/pts",
    "/dev/ptmx",
    "/dev/shm",
];

/// Whether this kernel can do it at all.
pub fn is_available() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let handled = ruleset.handle_access(AccessFs::from_all(ABI::V1));
    handled.and_then(Ruleset::create).is_ok()
}

/// Shuts the calling thread in. What the kernel knows nothing of is left out; paths that do not exist are too.
pub fn enter(sandbox: &Sandbox) -> io::Result<()> {
    restrict(sandbox).map_err(|error| io::Error::other(format!("cannot enter the sandbox: {error}")))
}

fn restrict(sandbox: &Sandbox) -> Result<(), RulesetError> {
    let read = AccessFs::from_read(KNOWN);
    let write = AccessFs::from_all(KNOWN);
    Ruleset::default()
        .handle_access(write)?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(DEVICES, write))?
        .add_rules(path_beneath_rules(&sandbox.read, read))?
        .add_rules(path_beneath_rules(&sandbox.write, write))?
        .restrict_self()?;
    Ok(())
}
