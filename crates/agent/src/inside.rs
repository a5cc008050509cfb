//! Writes in folders that a pod's processes may write in too.
//!
//! Flows in: a folder that is ours, and a path below it. Flows out: folders, files and links there. Where a pod has put a
//! link of its own, or anything else that is not a folder, nothing is made behind it: a pod that may not write elsewhere
//! must not make the agent do it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, symlinkat, unlinkat};
use rustix::io::Errno;

/// A path without anything that leads out of the folder it is joined to.
pub fn relative(path: &Path) -> PathBuf {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_)))
        .collect()
}

/// Makes a folder below `root`, with those on the way to it.
pub fn folder(root: &Path, path: &Path) -> io::Result<()> {
    descend(root, path).map(drop)
}

/// Writes a file below `root`: whoever reads it finds the old content or the new one.
pub fn write(root: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let (parent, name) = place(root, path)?;
    let temporary = format!(".{}.new", name.to_string_lossy());
    match unlinkat(&parent, &temporary, AtFlags::empty()) {
        Err(errno) if errno != Errno::NOENT => return Err(errno.into()),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(&parent, &temporary, flags, Mode::from_raw_mode(0o666))?;
    File::from(file).write_all(content)?;
    Ok(renameat(&parent, &temporary, &parent, &name)?)
}

/// Makes a link below `root`. What is there already stays.
pub fn link(root: &Path, path: &Path, target: &Path) -> io::Result<()> {
    let (parent, name) = place(root, path)?;
    match symlinkat(target, &parent, &name) {
        Err(errno) if errno != Errno::EXIST => Err(errno.into()),
        _ => Ok(()),
    }
}

/// The folder of what lies at a path below `root`, and its name there.
fn place(root: &Path, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let path = relative(path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Ok((descend(root, parent)?, name.into()))
}

fn descend(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = openat(CWD, root, flags, Mode::empty())?;
    for name in &relative(path) {
        match mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
            Err(errno) if errno != Errno::EXIST => return Err(errno.into()),
            _ => {}
        }
        folder = openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder of a pod, and one beside it with a file, which nothing here may change.
    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (pod, other) = (dir.path().join("pod"), dir.path().join("other"));
        fs::create_dir(&pod).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), "kept").unwrap();
        (dir, pod, other)
    }

    fn assert_untouched(other: &Path) {
        let names: Vec<_> = fs::read_dir(other)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["file"]);
        assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "kept");
    }

    #[test]
    fn files_folders_and_links_are_made() {
        let (_dir, pod, _) = folders();
        folder(&pod, Path::new("a/b")).unwrap();
        folder(&pod, Path::new("a/b")).unwrap();
        for content in ["one", "two"] {
            write(&pod, Path::new("a/c/file"), content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(pod.join("a/c/file")).unwrap(), content);
        }
        assert_eq!(fs::read_dir(pod.join("a/c")).unwrap().count(), 1);
        for target in ["first", "second"] {
            link(&pod, Path::new("/a/link"), Path::new(target)).unwrap();
            assert_eq!(fs::read_link(pod.join("a/link")).unwrap(), Path::new("first"));
        }
        assert!(link(&pod, Path::new("/"), Path::new("x")).is_err());
    }

    #[test]
    fn paths_that_lead_upward_stay_below() {
        let (_dir, pod, other) = folders();
        for path in ["../other/file", "/../../other/file", "x/../../other/file"] {
            write(&pod, Path::new(path), b"changed").unwrap();
            folder(&pod, &Path::new(path).with_file_name("new")).unwrap();
            link(&pod, &Path::new(path).with_file_name("link"), &other).unwrap();
        }
        assert_untouched(&other);
        assert_eq!(fs::read_to_string(pod.join("other/file")).unwrap(), "changed");
    }

    #[test]
    fn links_of_a_pod_lead_nowhere() {
        let (_dir, pod, other) = folders();
        symlink(&other, pod.join("way")).unwrap();
        assert!(folder(&pod, Path::new("way/new")).is_err());
        assert!(write(&pod, Path::new("way/new"), b"").is_err());
        assert!(link(&pod, Path::new("way/new"), &other).is_err());
        symlink(other.join("file"), pod.join("file")).unwrap();
        symlink(other.join("file"), pod.join(".file.new")).unwrap();
        write(&pod, Path::new("file"), b"changed").unwrap();
        assert_untouched(&other);
        assert_eq!(fs::read_to_string(pod.join("file")).unwrap(), "changed");
    }

    #[test]
    fn what_would_block_the_agent_is_replaced() {
        let (_dir, pod, _) = folders();
        for name in ["file", ".file.new"] {
            nix::unistd::mkfifo(&pod.join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        write(&pod, Path::new("file"), b"content").unwrap();
        assert_eq!(fs::read_to_string(pod.join("file")).unwrap(), "content");
    }
}
