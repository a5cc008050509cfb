//! One container in its keeper: an attempt from its start until the last of its processes is gone.
//!
//! The stop signal goes to the main process alone, as container runtimes do. When the main process has ended and others
//! of the container are left (those of `sh -c ...`, daemons), they get the signal too and the rest of the grace. Where
//! nobody asked for the stop, what is left is killed at once, as the end of a container's process 1 does.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use rustix::process::WaitStatus;

use super::attach::{Attached, Outlet};
use super::cgroup::{self, Cgroup};
use super::confine;
use super::connection::drain;
use super::log::{Log, Stream};
use super::protocol::{Attempt, Exit, Failure, Input, Start};
use super::{record, terminal};
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
    /// Its terminal, if it has one.
    terminal: Option<OwnedFd>,
    attached: Attached,
    /// The groups that its processes are in.
    cgroup: Cgroup,
    /// How the main process ended; the attempt ends when the others are gone too.
    ended: Option<Exit>,
    stop: Option<Stop>,
    /// Whether the attempt is on disk as it is.
    is_on_record: bool,
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
            terminal: None,
            attached: Attached::default(),
            cgroup: Cgroup::default(),
            ended: None,
            stop: None,
            is_on_record: false,
        };
        if let Err(error) = container.spawn_on_record(pod) {
            cgroup::remove(pod, &container.start.container);
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
                finished_ms: container.attempt.started_ms,
                failure: Some(Failure::Start(text)),
            });
            container.write_record(pod);
        }
        container
    }

    /// Starts the program, and puts it on record: one that is not could not be found if the keeper were lost, so that it
    /// must not run.
    fn spawn_on_record(&mut self, pod: &Path) -> io::Result<()> {
        self.spawn(pod)?;
        record::write(&self.record(pod), &self.attempt).inspect_err(|_| {
            process::tree(self.attempt.pid)
                .into_iter()
                .for_each(|pid| process::signal(pid, Signal::SIGKILL));
        })
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
        self.cgroup = Cgroup::create(pod, container, &self.start.confine);
        let outputs = if self.start.terminal {
            self.spawn_in_terminal(pod)?
        } else {
            self.spawn_with_pipes()?
        };
        self.attempt.started = process::stat(self.attempt.pid).map_or(0, |stat| stat.started);
        for (slot, output) in self.outputs.iter_mut().zip(outputs) {
            if let Some(output) = output {
                rustix::io::ioctl_fionbio(&output, true)?;
                *slot = Some(File::from(output));
            }
        }
        self.log = Some(log);
        Ok(())
    }

    /// Starts the program; its pid is in the attempt then. Returns where its output comes from.
    fn spawn_with_pipes(&mut self) -> io::Result<[Option<OwnedFd>; 2]> {
        let input = self.start.input;
        let mut command = Command::new(&self.start.program);
        command.env_clear().process_group(0);
        let stdin = if input == Input::None {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        let streams = [stdin, Stdio::piped(), Stdio::piped()];
        let mut child = self.spawn_with(command, streams)?;
        let stdin = child
            .stdin
            .take()
            .map(|stdin| Outlet::new(stdin.into()))
            .transpose()?;
        self.attached = Attached::new(stdin, input);
        Ok([
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ])
    }

    fn spawn_in_terminal(&mut self, pod: &Path) -> io::Result<[Option<OwnedFd>; 2]> {
        let Start {
            program,
            env,
            dir,
            input,
            ..
        } = &self.start;
        terminal::find(program, env, dir)?;
        let (ours, theirs) = terminal::open()?;
        let stdin = match input {
            Input::None => None,
            Input::Open | Input::Once => Some(Outlet::new(ours.try_clone()?)?),
        };
        let (command, input) = (terminal::command(pod, program, env), *input);
        let streams = [theirs.try_clone()?, theirs.try_clone()?, theirs].map(Stdio::from);
        self.spawn_with(command, streams)?;
        self.attached = Attached::new(stdin, input);
        let output = ours.try_clone()?;
        self.terminal = Some(ours);
        Ok([Some(output), None])
    }

    fn spawn_with(&mut self, mut command: Command, streams: [Stdio; 3]) -> io::Result<Child> {
        let [stdin, stdout, stderr] = streams;
        command
            .args(&self.start.args)
            .envs(self.start.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.start.dir)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr);
        let child = confine::spawn(&mut command, &self.start.confine, &self.cgroup)?;
        self.attempt.pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok(child)
    }

    fn record(&self, pod: &Path) -> PathBuf {
        record::file(pod, &self.attempt.container, self.attempt.attempt, "json")
    }

    fn write_record(&mut self, pod: &Path) {
        let path = self.record(pod);
        let written = record::write(&path, &self.attempt);
        self.is_on_record = written.is_ok();
        if let Err(error) = written {
            super::say(format_args!("cannot write {}: {error}", path.display()));
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

    /// The groups that its processes are in.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Whether any process of it may be left.
    pub fn is_alive(&self) -> bool {
        self.attempt.exit.is_none()
    }

    /// Whether its end is on disk.
    pub fn is_on_record(&self) -> bool {
        self.is_on_record
    }

    /// How it ended; 0 while it runs.
    pub fn exit_code(&self) -> i32 {
        self.attempt.exit.as_ref().map_or(0, |exit| exit.code)
    }

    /// Its main process, unless that has ended.
    pub fn main_pid(&self) -> Option<i32> {
        (self.is_alive() && self.ended.is_none()).then_some(self.attempt.pid)
    }

    /// The open output pipes, but those that have to wait for a client.
    pub fn outputs(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let streams = [Stream::Stdout, Stream::Stderr].into_iter();
        streams
            .zip(&self.outputs)
            .filter(|(stream, _)| !self.attached.is_blocked(*stream))
            .filter_map(|(stream, file)| Some((stream, file.as_ref()?.as_fd())))
    }

    /// The clients attached to its main process.
    pub fn attached(&self) -> &Attached {
        &self.attached
    }

    /// The same, to be changed.
    pub fn attached_mut(&mut self) -> &mut Attached {
        &mut self.attached
    }

    /// Changes the size of its terminal, if it has one.
    pub fn resize(&self, rows: u16, columns: u16) {
        if let Some(terminal) = &self.terminal {
            // It may be closed already.
            let _ = terminal::resize(terminal, rows, columns);
        }
    }

    /// Moves what a pipe holds to the log, and shows it to clients.
    pub fn read_output(&mut self, stream: Stream) {
        let slot = &mut self.outputs[stream as usize];
        let (Some(pipe), Some(log)) = (slot.as_mut(), self.log.as_mut()) else {
            return;
        };
        let attached = &mut self.attached;
        let take = |data: &[u8]| {
            log.write(stream, data, Timestamp::now());
            attached.show(stream, data);
        };
        if drain(pipe, take) {
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
        let finished_ms = Timestamp::now().as_millisecond();
        self.ended = Some(Exit {
            code,
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
                .chain(self.cgroup.close())
                .for_each(|pid| process::signal(pid, Signal::SIGKILL)),
        }
        false
    }

    fn finish(&mut self, pod: &Path) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.read_output(stream);
        }
        self.outputs = [None, None];
        self.terminal = None;
        if let Some(mut log) = self.log.take() {
            log.finish(Timestamp::now());
        }
        if let Some(ended) = self.ended.as_mut().filter(|ended| ended.code != 0)
            && self.cgroup.is_out_of_memory()
        {
            ended.failure = Some(Failure::OutOfMemory);
        }
        cgroup::remove(pod, &self.attempt.container);
        self.cgroup = Cgroup::default();
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
