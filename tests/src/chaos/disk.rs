//! A file system that is small enough to be filled, where the cluster keeps everything.
//!
//! As root it is a tmpfs, mounted in a mount namespace of this thread and of what it starts from then on: nobody else sees it,
//! and it ends with the last of these processes. An ordinary user gets a plain folder, and nothing is filled.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;
use tempfile::TempDir;

/// Where a cluster lives.
pub struct Disk {
    folder: TempDir,
    is_small: bool,
}

impl Disk {
    /// A new one of so many MiB.
    pub fn of(size: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("coracle-chaos-").tempdir();
        let folder = folder.expect("a temporary folder");
        let is_small = Uid::effective().is_root() && mount(folder.path(), size);
        if !is_small {
            eprintln!("no disk is filled: only root may mount a small one");
        }
        Self { folder, is_small }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it; `None`: it is too large for that.
    pub fn fill(&self) -> Option<Ballast> {
        if !self.is_small {
            return None;
        }
        let path = self.path().join("ballast");
        let ballast = Ballast(path.clone());
        let mut file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut piece = vec![b'x'; 1 << 20];
        // Ever smaller pieces, so that no byte is left.
        while !piece.is_empty() {
            match file.write(&piece) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
        Some(ballast)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_small {
            // The folder is removed after this, which a mount on it would forbid.
            let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
        }
    }
}

/// What fills the disk; dropping it makes room.
pub struct Ballast(PathBuf);

impl Ballast {
    /// Leaves so many bytes free.
    pub fn leave(&self, free: u64) {
        let file = File::options().write(true).open(&self.0).expect("the ballast");
        let length = file.metadata().expect("the ballast").len();
        file.set_len(length.saturating_sub(free)).expect("our own file");
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // Where it cannot be removed, whoever needs the room says so.
        let _ = fs::remove_file(&self.0);
    }
}

/// Mounts a tmpfs that only this thread and its children see; `false`: the system does not let us.
fn mount(folder: &Path, size: u32) -> bool {
    let run = |args: &[&str]| {
        let mut command = Command::new("mount");
        let status = command.args(args).arg(folder).status();
        status.is_ok_and(|status| status.success())
    };
    let private = || {
        let status = Command::new("mount").args(["--make-rprivate", "/"]).status();
        status.is_ok_and(|status| status.success())
    };
    unshare(CloneFlags::CLONE_NEWNS).is_ok()
        && private()
        && run(&["-t", "tmpfs", "-o", &format!("size={size}m"), "coracle-chaos"])
}
