//! One container in its keeper: an attempt from its start until the last of its processes is gone.
//!
//! The stop signal goes to the main process alone, as container runtimes do. When the main process has ended and others
//! of the container are left (those of `sh -c ...`, daemons), they get the signal too and the rest of the grace. Where
//! nobody asked for the stop, what is left is killed at once, as the end of a container's process 1 does.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use rustix::process::WaitStatus;

use super::connection::drain;
use super::log::{Log, Stream};
use super::protocol::{Attempt, Exit, Failure, Start};
use super::record;
use crate::process;

/// How soon processes that were sent SIGKILL are looked for again: one may have forked meanwhile.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// The exit code of a process as shells tell it; `None` if it was only stopped or continued.
pub fn exit_code(status: WaitStatus) -> Option<i32> {
    status
        .exit_status()
        .or_else(|| Some(128 + status.terminating_signal()?))
}

/// A container that was started at least once.
#[derive(Debug)]
pub struct Container {
    start: Start,
    attempt: Attempt,
    log: Option<Log>,
    outputs: [Option<File>; 2],
    /// How the main process ended; the attempt ends when the others are gone too.
    ended: Option<Exit>,
    stop: Option<Stop>,
}

#[derive(Debug)]
struct Stop {
    deadline: Instant,
    rest_signalled: bool,
}

impl Container {
    /// Starts an attempt. If that fails, the attempt has ended with the reason on record.
    pub fn start(pod: &Path, start: Start) -> Self {
        let attempt = Attempt {
            container: start.container.clone(),
            attempt: start.attempt,
            pid: 0,
            started: 0,
            started_ms: Timestamp::now().as_millisecond(),
            exit: None,
        };
        let mut container = Self {
            start,
            attempt,
            log: None,
            outputs: [None, None],
            ended: None,
            stop: None,
        };
        if let Err(error) = container.spawn(pod) {
            let text = match error.kind() {
                io::ErrorKind::NotFound if container.start.program.contains('/') => {
                    format!(
                        "exec: \"{}\": stat {0}: no such file or directory",
                        container.start.program
                    )
                }
                io::ErrorKind::NotFound => {
                    format!(
                        "exec: \"{}\": executable file not found in $PATH",
                        container.start.program
                    )
                }
                _ => format!("exec: \"{}\": {error}", container.start.program),
            };
            container.attempt.exit = Some(Exit {
                code: 128,
                signal: None,
                finished_ms: container.attempt.started_ms,
                failure: Some(Failure::Start(text)),
            });
        }
        container.write_record(pod);
        container
    }

    fn spawn(&mut self, pod: &Path) -> io::Result<()> {
        let Start {
            container, attempt, ..
        } = &self.start;
        record::prepare(pod, container, *attempt)?;
        let log = Log::create(
            &record::file(pod, container, *attempt, "log"),
            self.start.log_limit,
        )?;
        let mut child = Command::new(&self.start.program)
            .args(&self.start.args)
            .env_clear()
            .envs(self.start.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.start.dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        self.attempt.pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        self.attempt.started = process::stat(self.attempt.pid).map_or(0, |stat| stat.started);
        let outputs = [
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ];
        for (slot, output) in self.outputs.iter_mut().zip(outputs) {
            if let Some(output) = output {
                rustix::io::ioctl_fionbio(&output, true)?;
                *slot = Some(File::from(output));
            }
        }
        self.log = Some(log);
        Ok(())
    }

    fn write_record(&self, pod: &Path) {
        let path = record::file(pod, &self.attempt.container, self.attempt.attempt, "json");
        if let Err(error) = record::write(&path, &self.attempt) {
            eprintln!("cannot write {}: {error}", path.display());
        }
    }

    /// What is to be told about it.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// What it was started with.
    pub fn started_with(&self) -> &Start {
        &self.start
    }

    /// Whether any process of it may be left.
    pub fn is_alive(&self) -> bool {
        self.attempt.exit.is_none()
    }

    /// Its main process, unless that has ended.
    pub fn main_pid(&self) -> Option<i32> {
        (self.is_alive() && self.ended.is_none()).then_some(self.attempt.pid)
    }

    /// The open output pipes.
    pub fn outputs(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let streams = [Stream::Stdout, Stream::Stderr].into_iter();
        streams
            .zip(&self.outputs)
            .filter_map(|(stream, file)| Some((stream, file.as_ref()?.as_fd())))
    }

    /// Moves what a pipe holds to the log.
    pub fn read_output(&mut self, stream: Stream) {
        let slot = &mut self.outputs[stream as usize];
        let (Some(pipe), Some(log)) = (slot.as_mut(), self.log.as_mut()) else {
            return;
        };
        if drain(pipe, |data| log.write(stream, data, Timestamp::now())) {
            *slot = None;
        }
    }

    /// Begins to stop it; once begun, the deadline can only come nearer.
    pub fn stop(&mut self, grace: Duration, now: Instant) {
        let deadline = now + grace;
        match &mut self.stop {
            Some(stop) => stop.deadline = stop.deadline.min(deadline),
            None => {
                self.stop = Some(Stop {
                    deadline,
                    rest_signalled: false,
                });
                if let Some(pid) = self.main_pid() {
                    process::signal(pid, self.stop_signal());
                }
            }
        }
    }

    fn stop_signal(&self) -> Signal {
        Signal::try_from(self.start.stop_signal).unwrap_or(Signal::SIGTERM)
    }

    /// The main process has ended.
    pub fn main_ended(&mut self, status: WaitStatus) {
        let Some(code) = exit_code(status) else { return };
        let signal = status.terminating_signal();
        let finished_ms = Timestamp::now().as_millisecond();
        self.ended = Some(Exit {
            code,
            signal,
            finished_ms,
            failure: None,
        });
    }

    /// Does what is due. `family` finds the container's living processes. `true` if the attempt has ended just now.
    pub fn advance(&mut self, pod: &Path, now: Instant, family: impl FnOnce() -> Vec<i32>) -> bool {
        let overdue = self.stop.as_ref().is_some_and(|stop| stop.deadline <= now);
        if !self.is_alive() || (self.ended.is_none() && !overdue) {
            return false;
        }
        let family = family();
        if family.is_empty() && self.ended.is_some() {
            self.finish(pod);
            return true;
        }
        let signal = self.stop_signal();
        match &mut self.stop {
            Some(stop) if !overdue => {
                if !std::mem::replace(&mut stop.rest_signalled, true) {
                    family.into_iter().for_each(|pid| process::signal(pid, signal));
                }
            }
            _ => family
                .into_iter()
                .for_each(|pid| process::signal(pid, Signal::SIGKILL)),
        }
        false
    }

    fn finish(&mut self, pod: &Path) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.read_output(stream);
        }
        self.outputs = [None, None];
        if let Some(mut log) = self.log.take() {
            log.finish(Timestamp::now());
        }
        self.attempt.exit = self.ended.take();
        self.stop = None;
        self.write_record(pod);
    }

    /// When [`Container::advance`] is due next, if not because of an event.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        if !self.is_alive() {
            return None;
        }
        match &self.stop {
            Some(stop) if stop.deadline > now => Some(stop.deadline),
            Some(_) => Some(now + KILL_AGAIN),
            None => self.ended.as_ref().map(|_| now + KILL_AGAIN),
        }
    }
}
