//! How many descriptors the process may have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors kept for everything that is not a proxied connection.
const RESERVE: u64 = 128;

/// Raises the soft limit of open files to the hard one and returns how many connections fit into it, at two descriptors
/// each.
pub fn raise() -> u32 {
    let files = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        Ok((soft, _)) => soft,
        Err(_) => 1024,
    };
    u32::try_from(files.saturating_sub(RESERVE) / 2)
        .unwrap_or(u32::MAX)
        .max(16)
}
