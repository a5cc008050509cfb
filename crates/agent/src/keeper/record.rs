//! The records that a keeper leaves on disk, so that nothing is lost while nobody watches.
//!
//! Flows in: attempts at running containers. Flows out: `<pod>/<container>/<attempt>.json`, replaced atomically, and on
//! disk before anyone is told. The agent reads them when it finds a pod again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::Attempt;

/// Attempts of a container whose files are kept: the latest and the one before, as `kubectl logs --previous` shows.
const KEPT: u32 = 2;

/// Path of a file of an attempt.
pub fn file(pod: &Path, container: &str, attempt: u32, extension: &str) -> PathBuf {
    pod.join(container).join(format!("{attempt}.{extension}"))
}

/// Replaces a JSON file; after a crash the old or the new one is there, whole.
pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_data()?;
    fs::rename(temporary, path)
}

/// Reads a JSON file; `None` if it is absent or not what it should be.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Makes room for an attempt: its folder, and files of attempts that are too old go.
pub fn prepare(pod: &Path, container: &str, attempt: u32) -> io::Result<()> {
    // Logs are in it: no other user's, not even of the pod's.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(pod.join(container))?;
    if let Some(old) = attempt.checked_sub(KEPT) {
        for extension in ["json", "log", "log.1"] {
            // Usually there is nothing.
            let _ = fs::remove_file(file(pod, container, old, extension));
        }
    }
    Ok(())
}

/// The attempts of all containers of a pod that are on record, oldest first within a container.
pub fn attempts(pod: &Path) -> Vec<Attempt> {
    let Ok(containers) = fs::read_dir(pod) else {
        return Vec::new();
    };
    let files = containers
        .flatten()
        .filter_map(|container| fs::read_dir(container.path()).ok())
        .flatten();
    let mut found: Vec<Attempt> = files
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|path| read(&path))
        .collect();
    found.sort_by(|a, b| (&a.container, a.attempt).cmp(&(&b.container, b.attempt)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_latest_attempts_stay() {
        let pod = tempfile::tempdir().unwrap();
        for attempt in 0..4 {
            prepare(pod.path(), "web", attempt).unwrap();
            let record = Attempt {
                container: "web".into(),
                attempt,
                pid: 9,
                started: 0,
                started_ms: 1,
                exit: None,
            };
            write(&file(pod.path(), "web", attempt, "json"), &record).unwrap();
        }
        let kept: Vec<u32> = attempts(pod.path())
            .iter()
            .map(|attempt| attempt.attempt)
            .collect();
        assert_eq!(kept, [2, 3]);
    }
}
