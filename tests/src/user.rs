//! Who runs a cluster and its kubectl.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Gid, Uid, chown};

/// Who runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests.
    Same,
    /// Somebody without privileges: if the tests run as root, the user that has the fewest.
    Ordinary,
}

/// Uid and gid of the user nobody.
const NOBODY: u32 = 65534;

impl User {
    fn must_change(self) -> bool {
        self == Self::Ordinary && Uid::effective().is_root()
    }

    /// Makes a command run as this user.
    pub(crate) fn apply(self, command: &mut Command) {
        if self.must_change() {
            command.uid(NOBODY).gid(NOBODY);
        }
    }

    /// Gives a file or folder to this user.
    pub(crate) fn own(self, path: &Path) {
        if self.must_change() {
            let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            chown(path, Some(uid), Some(gid)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
