//! Programs that run in a terminal of their own.
//!
//! A process can make a terminal its controlling one only by itself, before it becomes the program; so this program is
//! started first, with the terminal as its standard input, and becomes the other.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::termios::{Winsize, tcsetwinsize};

/// What a terminal is said to be where the environment does not say it.
const TERM: &str = "xterm";

/// A new terminal: our side, which does not block, and the program's.
pub fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let pty = nix::pty::openpty(None, None)?;
    for side in [&pty.master, &pty.slave] {
        fcntl_setfd(side, FdFlags::CLOEXEC)?;
    }
    rustix::io::ioctl_fionbio(&pty.master, true)?;
    Ok((pty.master, pty.slave))
}

/// Changes a terminal's size.
pub fn resize(terminal: &OwnedFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

/// The command that becomes `program` in the terminal that it gets as its standard input.
pub fn command(pod: &Path, program: &str, env: &[(String, String)]) -> Command {
    let mut command = Command::new(format!("/proc/{}/exe", std::process::id()));
    command.arg("keeper").arg("--dir").arg(pod).arg("--").arg(program);
    command.env_clear();
    if !env.iter().any(|(name, _)| name == "TERM") {
        command.env("TERM", TERM);
    }
    command
}

/// Says whether there is such a program: one that is started through [`command`] could not tell.
pub fn find(program: &str, env: &[(String, String)], dir: &str) -> io::Result<()> {
    let path = env.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or("", |(_, path)| path);
    let is_there = |file: PathBuf| Path::new(dir).join(file).is_file();
    let found = if program.contains('/') {
        is_there(program.into())
    } else {
        std::env::split_paths(path).any(|folder| is_there(folder.join(program)))
    };
    if found {
        Ok(())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Takes standard input as the controlling terminal and becomes a program.
pub fn become_command(program: &OsStr, args: &[OsString]) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(io::stdin())?;
    Err(Command::new(program).args(args).exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_exec_finds_them() {
        let env = [("PATH".to_owned(), "/nowhere:/bin".to_owned())];
        assert!(find("sh", &env, "/").is_ok());
        assert!(find("./bin/sh", &env, "/").is_ok());
        assert!(find("sh", &[], "/").is_err());
        assert!(find("/bin/no-such-program", &env, "/").is_err());
    }

    #[test]
    fn a_terminal_has_a_size() {
        let (ours, theirs) = open().unwrap();
        resize(&ours, 24, 80).unwrap();
        let size = rustix::termios::tcgetwinsize(theirs).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (24, 80));
    }
}
