//! The keeper: one small process a pod, the parent of the pod's processes, which outlives the server.
//!
//! Flows in: requests over a Unix socket in the pod's folder, handed over as standard input. Flows out: the pod's
//! processes, their output in log files, and how they ended, on disk and to whoever is connected. It is the child
//! subreaper of all it starts, so that no daemon escapes it. Single-threaded and without a runtime: its memory is the
//! price of a pod. It knows nothing of Kubernetes.

#![deny(
    clippy::print_stderr,
    reason = "it panics where the log takes nothing: `say` does not"
)]

mod attach;
pub mod cgroup;
mod confine;
mod connection;
mod container;
pub mod landlock;
mod log;
mod patience;
pub mod protocol;
pub mod record;
mod supervisor;
pub mod terminal;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};

use crate::process;

/// File in the pod's folder that says who the keeper is.
pub const IDENTITY: &str = "keeper.json";

/// Arguments of the hidden subcommand `keeper`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The pod's folder.
    #[arg(long)]
    dir: PathBuf,
    /// How long to wait for an agent while no container runs, in milliseconds.
    #[arg(long, default_value_t = 600_000)]
    patience_ms: u64,
    /// Instead of keeping a pod, take standard input as the controlling terminal and become this command.
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Keeps the pod of a folder; standard input is the listening socket. Returns when everything is over.
pub fn main(args: Args) -> ExitCode {
    let result = match args.command.split_first() {
        None => keep(&args.dir, Duration::from_millis(args.patience_ms)),
        Some((program, rest)) => terminal::become_command(program, rest),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says something in the keeper's log. On a full disk it stays unsaid; `eprintln!` would panic there, and end the pod.
fn say(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "keeper: {text}");
}

fn keep(dir: &Path, patience: Duration) -> io::Result<()> {
    process::close_inherited()?;
    // Fails only where it leads a session already.
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    umask(Mode::from_bits_truncate(0o022));
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    let child_signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    write_identity(dir)?;
    supervisor::Supervisor::new(dir.to_owned(), listener, child_signals, patience).run()
}

fn write_identity(dir: &Path) -> io::Result<()> {
    let pid = nix::unistd::getpid().as_raw();
    let started = process::stat(pid)
        .map(|stat| stat.started)
        .ok_or(io::ErrorKind::NotFound)?;
    record::write(&dir.join(IDENTITY), &protocol::Identity { pid, started })
}
