//! No descriptor is left: the refusal says that, and not what SQLite takes it for. The limit is the whole process's, so this
//! is the only test in its file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use coracle_store::{OpenError, Sqlite};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[test]
fn the_limit_of_open_files_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    drop(Sqlite::open(&file).unwrap());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let open = u64::try_from(std::fs::read_dir("/proc/self/fd").unwrap().count()).unwrap();
    let mut refused = 0;
    // From no descriptor at all to one short of what a store needs.
    for limit in open - 1.. {
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
        let opened = Sqlite::open(&file);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        let Err(error) = opened else { break };
        refused += 1;
        let told = error.to_string();
        assert!(
            matches!(error, OpenError::TooManyFiles { .. }) && told.contains("ulimit -n"),
            "{limit}: {told}"
        );
    }
    assert!(refused > 1, "{refused}");
}
