//! Lets a container that runs as another user reach its pod's folder, and nothing else of the data folder.
//!
//! The data folder is for its owner alone. For such a pod the folders on the way become passable (0711), after all that
//! lies beside the way has been made private; the pod's own folder is passable for its group only. The folders stay
//! root's: a pod that could put links into them would make the agent write elsewhere.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use super::{Site, StartError};

/// Folders between the data folder and the pod's: `nodes/<node>/pods/<uid>`.
const DEPTH: usize = 4;

/// Opens the way for the groups that the pod's containers run with.
pub fn open(site: &Site<'_>, groups: &BTreeSet<u32>) -> Result<(), StartError> {
    let way: Vec<&Path> = site.dir.ancestors().take(DEPTH + 1).collect();
    let Some(data) = way.get(DEPTH) else { return Ok(()) };
    for folder in data.ancestors().skip(1) {
        let metadata = fs::metadata(folder).map_err(|source| failed(folder, source))?;
        if metadata.mode() & 0o001 == 0 {
            return Err(StartError::Config(format!(
                "runAsUser: other users cannot enter {}, where the cluster's data is: start coracle with --data-dir in \
                 a folder that they can enter, such as one in /var/lib",
                folder.display()
            )));
        }
    }
    for pair in way.windows(2) {
        if let [child, folder] = pair {
            pass(folder, child).map_err(|source| failed(folder, source))?;
        }
    }
    let own = || match groups.first() {
        Some(&group) if groups.len() == 1 => {
            chown(site.dir, None, Some(group))?;
            fs::set_permissions(site.dir, Permissions::from_mode(0o710))
        }
        _ => fs::set_permissions(site.dir, Permissions::from_mode(0o711)),
    };
    own().map_err(|source| failed(site.dir, source))
}

fn failed(path: &Path, source: io::Error) -> StartError {
    StartError::Folder {
        path: PathBuf::from(path),
        source,
    }
}

/// Makes a folder passable on the way to `child`, and the rest of it private.
fn pass(folder: &Path, child: &Path) -> io::Result<()> {
    if fs::metadata(folder)?.mode() & 0o001 != 0 {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path == child || path.is_symlink() {
            continue;
        }
        let private = fs::metadata(&path).and_then(|metadata| {
            let mode = metadata.mode() & 0o700;
            fs::set_permissions(&path, Permissions::from_mode(mode))
        });
        match private {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(0o711))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_way_is_passable() {
        let data = tempfile::tempdir().unwrap();
        let child = data.path().join("nodes");
        fs::create_dir(&child).unwrap();
        fs::write(data.path().join("key"), "").unwrap();
        fs::set_permissions(data.path().join("key"), Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(data.path(), Permissions::from_mode(0o700)).unwrap();
        pass(data.path(), &child).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(data.path()), 0o711);
        assert_eq!(mode(&data.path().join("key")), 0o600);
    }
}
