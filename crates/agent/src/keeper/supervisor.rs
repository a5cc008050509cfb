//! The keeper's one loop: requests, output, ended processes and deadlines, each handled as it comes.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::confine;
use super::connection::Connection;
use super::container::{Container, exit_code};
use super::log::Stream;
use super::patience::Patience;
use super::protocol::{Exec, ExecResult, Request, State};
use super::terminal;
use crate::process;

/// A running keeper.
#[derive(Debug)]
pub struct Supervisor {
    pod: PathBuf,
    own_pid: i32,
    listener: UnixListener,
    child_signals: SignalFd,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    containers: BTreeMap<String, Container>,
    /// Commands run in containers, by pid.
    execs: BTreeMap<i32, RunningExec>,
    /// Since when it is to exit.
    exiting: Option<Instant>,
    patience: Patience,
}

#[derive(Debug)]
struct RunningExec {
    container: String,
    connection: u64,
}

/// What a descriptor is ready for.
enum Source {
    Listener,
    ChildSignals,
    Connection(u64),
    Output(String, Stream),
    Attached(String),
}

/// How long clients of ended containers are waited for when it is to exit.
const LAST_LOOK: Duration = Duration::from_secs(2);

impl Supervisor {
    /// A keeper without containers, which waits `patience` for an agent. `listener` and `child_signals` (of SIGCHLD) must not
    /// block.
    pub fn new(pod: PathBuf, listener: UnixListener, child_signals: SignalFd, patience: Duration) -> Self {
        Self {
            pod,
            own_pid: nix::unistd::getpid().as_raw(),
            listener,
            child_signals,
            connections: BTreeMap::new(),
            next_connection: 0,
            containers: BTreeMap::new(),
            execs: BTreeMap::new(),
            exiting: None,
            patience: Patience::new(patience, Instant::now()),
        }
    }

    /// Runs until it is told to exit, or nobody needs it any more, and everything it started is gone.
    pub fn run(mut self) -> io::Result<()> {
        while !self.exiting.is_some_and(|since| self.is_idle(since)) {
            for source in self.wait()? {
                match source {
                    Source::Listener => self.accept(),
                    Source::ChildSignals => self.reap(),
                    Source::Connection(id) => self.serve(id),
                    Source::Output(name, stream) => {
                        if let Some(container) = self.containers.get_mut(&name) {
                            container.read_output(stream);
                        }
                    }
                    Source::Attached(name) => {
                        if let Some(container) = self.containers.get_mut(&name) {
                            container.attached_mut().carry();
                        }
                    }
                }
            }
            self.advance();
            self.lose_patience(Instant::now());
        }
        Ok(())
    }

    /// What is not on disk is kept for an agent however long it stays away.
    fn lose_patience(&mut self, now: Instant) {
        let is_needed = |container: &Container| container.is_alive() || !container.is_on_record();
        let is_needed = !self.connections.is_empty() || self.containers.values().any(is_needed);
        self.patience.note(is_needed, now);
        if self.exiting.is_none() && self.patience.end().is_some_and(|end| end <= now) {
            super::say(format_args!("no agent has come and no container runs: ending"));
            self.exiting = Some(now);
        }
    }

    fn is_idle(&self, since: Instant) -> bool {
        let mut containers = self.containers.values();
        let is_late = since.elapsed() > LAST_LOOK;
        if containers
            .any(|container| container.is_alive() || (container.attached().has_blocked() && !is_late))
        {
            return false;
        }
        // Orphans that belong to no container, or to one that ended long ago.
        let rest = &process::tree(self.own_pid)[1..];
        rest.iter().for_each(|&pid| process::signal(pid, Signal::SIGKILL));
        rest.is_empty()
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Listener, Source::ChildSignals];
        let mut polled = vec![
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.child_signals.as_fd(), PollFlags::POLLIN),
        ];
        for (&id, connection) in &self.connections {
            let out = if connection.is_blocked() {
                PollFlags::POLLOUT
            } else {
                PollFlags::empty()
            };
            sources.push(Source::Connection(id));
            polled.push(PollFd::new(connection.as_fd(), PollFlags::POLLIN | out));
        }
        for (name, container) in &self.containers {
            for (stream, pipe) in container.outputs() {
                sources.push(Source::Output(name.clone(), stream));
                polled.push(PollFd::new(pipe, PollFlags::POLLIN));
            }
            for (descriptor, flags) in container.attached().awaited() {
                sources.push(Source::Attached(name.clone()));
                polled.push(PollFd::new(descriptor, flags));
            }
        }
        match poll(&mut polled, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        Ok(sources
            .into_iter()
            .zip(ready)
            .filter_map(|(source, ready)| ready.then_some(source))
            .collect())
    }

    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let due = self
            .containers
            .values()
            .filter_map(|container| container.due(now))
            .min();
        let idle = match self.exiting {
            None => self.patience.end(),
            Some(_) => due.is_none().then(|| now + Duration::from_millis(20)),
        };
        let due = due.into_iter().chain(idle).min();
        match due {
            // Rounded up, so that it does not spin for the last fraction of a millisecond.
            Some(due) => {
                let left = due.saturating_duration_since(now).as_millis() + 1;
                PollTimeout::try_from(left.min(60_000)).unwrap_or(PollTimeout::ZERO)
            }
            None => PollTimeout::NONE,
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let Ok(mut connection) = Connection::new(stream) else {
                continue;
            };
            connection.send(&self.state());
            self.connections.insert(self.next_connection, connection);
            self.next_connection += 1;
        }
    }

    fn state(&self) -> State {
        State {
            containers: self
                .containers
                .values()
                .map(|container| container.attempt().clone())
                .collect(),
        }
    }

    fn announce(&mut self) {
        let state = self.state();
        for (id, connection) in &mut self.connections {
            // A connection that carries a command gets that command's result and nothing else.
            if !self.execs.values().any(|exec| exec.connection == *id) {
                connection.send(&state);
            }
        }
    }

    fn serve(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.flush();
        let progress = connection.read();
        for line in progress.lines {
            match serde_json::from_slice(&line) {
                Ok(request) => self.handle(id, request),
                Err(error) => super::say(format_args!("request not understood: {error}")),
            }
        }
        if progress.closed {
            self.connections.remove(&id);
            let abandoned = self.execs.iter().filter(|(_, exec)| exec.connection == id);
            for pid in abandoned.flat_map(|(&pid, _)| process::tree(pid)) {
                process::signal(pid, Signal::SIGKILL);
            }
            for container in self.containers.values_mut() {
                container.attached_mut().remove(id);
            }
        }
    }

    fn handle(&mut self, id: u64, request: Request) {
        let now = Instant::now();
        match request {
            Request::Start(start) => {
                let current = self.containers.get(&start.container);
                let repeated = current.is_some_and(|c| c.is_alive() || c.attempt().attempt >= start.attempt);
                if !repeated && self.exiting.is_none() {
                    let name = start.container.clone();
                    if let Some(mut old) = self.containers.remove(&name) {
                        let clients = old.attached_mut().abandon();
                        self.release(clients, old.exit_code());
                    }
                    self.containers.insert(name, Container::start(&self.pod, *start));
                }
                self.announce();
            }
            Request::Stop { container, grace_ms } => {
                if let Some(container) = self.containers.get_mut(&container) {
                    container.stop(Duration::from_millis(grace_ms), now);
                }
            }
            Request::Exit { grace_ms } => {
                self.exiting.get_or_insert(now);
                for container in self.containers.values_mut() {
                    container.stop(Duration::from_millis(grace_ms), now);
                }
            }
            Request::Exec(exec) => match self.exec(id, &exec) {
                Ok(pid) => {
                    let container = exec.container;
                    self.execs.insert(
                        pid,
                        RunningExec {
                            container,
                            connection: id,
                        },
                    );
                }
                Err(text) => self.reply(id, &ExecResult::Failed(text)),
            },
            Request::Attach { container, stdin } => {
                if let Err(text) = self.attach(id, &container, stdin) {
                    self.reply(id, &ExecResult::Failed(text));
                }
            }
            Request::Resize {
                container,
                rows,
                columns,
            } => {
                if let Some(container) = self.containers.get(&container) {
                    container.resize(rows, columns);
                }
            }
        }
    }

    fn attach(&mut self, id: u64, name: &str, stdin: bool) -> Result<(), String> {
        let connection = self.connections.get_mut(&id).ok_or("the client has gone")?;
        let descriptors = connection.take_descriptors().ok_or("descriptors are missing")?;
        let container = self.containers.get_mut(name);
        let container = container
            .filter(|container| container.main_pid().is_some())
            .ok_or_else(|| format!("container {name} is not running"))?;
        let added = container.attached_mut().add(id, stdin, descriptors);
        added.map_err(|error| error.to_string())
    }

    /// Tells clients that the main process which they were attached to has ended.
    fn release(&mut self, connections: Vec<u64>, code: i32) {
        for connection in connections {
            self.reply(connection, &ExecResult::Exited { code });
        }
    }

    fn reply(&mut self, id: u64, result: &ExecResult) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.send(result);
        }
    }

    fn exec(&mut self, id: u64, exec: &Exec) -> Result<i32, String> {
        let connection = self.connections.get_mut(&id).ok_or("the client has gone")?;
        let [stdin, stdout, stderr] = connection.take_descriptors().ok_or("descriptors are missing")?;
        let container = self
            .containers
            .get(&exec.container)
            .filter(|container| container.main_pid().is_some());
        let container = container.ok_or_else(|| format!("container {} is not running", exec.container))?;
        let (program, args) = exec.command.split_first().ok_or("no command")?;
        let start = container.started_with();
        let mut command = if exec.terminal {
            terminal::command(&self.pod, program, &start.env)
        } else {
            let mut command = Command::new(program);
            command.env_clear().process_group(0);
            command
        };
        command
            .args(args)
            .envs(start.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&start.dir)
            .stdin(Stdio::from(stdin))
            .stdout(stdout)
            .stderr(stderr);
        let child = confine::spawn(&mut command, &start.confine, container.cgroup());
        let child = child.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("exec: \"{program}\": executable file not found in $PATH"),
            _ => format!("exec: \"{program}\": {error}"),
        })?;
        i32::try_from(child.id()).map_err(|error| error.to_string())
    }

    /// Takes note of every process that has ended, adopted orphans included.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.child_signals.read_signal() {}
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            self.ended(pid.as_raw_nonzero().get(), status);
        }
    }

    fn ended(&mut self, pid: i32, status: WaitStatus) {
        if let Some(container) = self.containers.values_mut().find(|c| c.main_pid() == Some(pid)) {
            container.main_ended(status);
        } else if let Some(exec) = self.execs.remove(&pid) {
            let code = exit_code(status).unwrap_or_default();
            self.reply(exec.connection, &ExecResult::Exited { code });
        }
    }

    fn advance(&mut self) {
        let now = Instant::now();
        let mut changed = false;
        let names: Vec<String> = self.containers.keys().cloned().collect();
        for name in names {
            let Some(mut container) = self.containers.remove(&name) else {
                continue;
            };
            let main_pid = container.main_pid();
            changed |= container.advance(&self.pod, now, || self.family(&name, main_pid));
            if !container.is_alive() {
                let clients = container.attached_mut().satisfied();
                self.release(clients, container.exit_code());
            }
            self.containers.insert(name, container);
        }
        if changed {
            self.announce();
        }
    }

    /// The living processes of a container: its main process, commands run in it, orphans, and all their descendants.
    fn family(&self, name: &str, main_pid: Option<i32>) -> Vec<i32> {
        let roots = process::children(self.own_pid).into_iter().filter(|&pid| {
            if Some(pid) == main_pid {
                return true;
            }
            if self
                .containers
                .values()
                .any(|other| other.main_pid() == Some(pid))
            {
                return false;
            }
            if let Some(exec) = self.execs.get(&pid) {
                return exec.container == name;
            }
            match process::environment_variable(pid, process::CONTAINER_MARK) {
                Some(owner) => owner == name,
                // Whose it is cannot be told, unless there is no other container.
                None => self.containers.is_empty(),
            }
        });
        roots.flat_map(process::tree).collect()
    }
}
