//! A command's streams: pipes, or a terminal.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe;

use crate::keeper;

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Our ends of a command's streams.
pub struct Streams {
    /// Where its input goes.
    pub stdin: pipe::Sender,
    /// Where its output comes from.
    pub stdout: pipe::Receiver,
    /// A terminal has none of its own.
    pub stderr: Option<pipe::Receiver>,
    /// The terminal.
    pub terminal: Option<Terminal>,
}

/// A terminal that belongs to a command.
#[derive(Debug)]
pub struct Terminal(OwnedFd);

impl Terminal {
    /// Changes its size. A terminal that is gone needs none.
    pub fn resize(&self, size: Size) {
        let _ = keeper::terminal::resize(&self.0, size.height, size.width);
    }
}

impl Streams {
    /// Pipes; also returns the command's ends.
    pub fn pipes() -> io::Result<(Self, [OwnedFd; 3])> {
        let (stdin, our_stdin) = pipe_with(PipeFlags::CLOEXEC)?;
        let (our_stdout, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (our_stderr, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        for fd in [&our_stdin, &our_stdout, &our_stderr] {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        let streams = Self {
            stdin: pipe::Sender::from_owned_fd(our_stdin)?,
            stdout: pipe::Receiver::from_owned_fd(our_stdout)?,
            stderr: Some(pipe::Receiver::from_owned_fd(our_stderr)?),
            terminal: None,
        };
        Ok((streams, [stdin, stdout, stderr]))
    }

    /// A terminal; also returns the command's ends.
    pub fn terminal() -> io::Result<(Self, [OwnedFd; 3])> {
        let (master, slave) = keeper::terminal::open()?;
        let streams = Self {
            // A terminal is read and written like a pipe.
            stdin: pipe::Sender::from_owned_fd_unchecked(master.try_clone()?)?,
            stdout: pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?,
            stderr: None,
            terminal: Some(Terminal(master)),
        };
        Ok((streams, [slave.try_clone()?, slave.try_clone()?, slave]))
    }
}
