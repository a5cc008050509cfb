//! A program that runs in the background: its lines as they come, and its end.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program that runs in the background. Killed when dropped.
pub struct Background {
    name: String,
    pid: Pid,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    ended: Receiver<ExitStatus>,
    has_ended: bool,
}

impl Background {
    /// Starts a program.
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid is an i32"));
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let (line, lines) = channel();
        thread::spawn(move || {
            BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|text| line.send(text))
        });
        let errors = Some(thread::spawn(move || read_all(stderr)));
        Self {
            name,
            pid,
            lines,
            errors,
            ended: watch_end(child),
            has_ended: false,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// The next line of its output; `None` once it has closed it.
    ///
    /// # Panics
    /// If none comes until `deadline`.
    pub fn line(&mut self, deadline: Instant) -> Option<String> {
        match self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{}: nothing came in time", self.name),
        }
    }

    /// Waits for a line that `wanted` accepts, and returns the lines up to it.
    ///
    /// # Panics
    /// If it does not come within `limit`.
    pub fn wait_for_line(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => seen.push(line),
                Err(error) => {
                    let told = self.stop_and_tell();
                    panic!("{}: {error}, after {seen:#?}\n{told}", self.name);
                }
            }
            if seen.last().is_some_and(|line| wanted(line)) {
                return seen;
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if !self.has_ended {
            // It may have ended by itself meanwhile.
            let _ = kill(self.pid, signal);
        }
    }

    /// Waits for its end; `None`: it still runs.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let status = self.ended.recv_timeout(limit).ok()?;
        self.has_ended = true;
        Some(status)
    }

    /// Sends a signal, waits for the end, and returns the lines that have not been read yet.
    ///
    /// # Panics
    /// If it does not end within 30 s.
    pub fn end(mut self, signal: Signal) -> (ExitStatus, Vec<String>) {
        self.signal(signal);
        let status = self.wait(Duration::from_secs(30));
        let status = status.unwrap_or_else(|| panic!("{} does not end by {signal}", self.name));
        (status, self.lines.iter().collect())
    }

    /// Ends it and returns what it said on standard error.
    fn stop_and_tell(&mut self) -> String {
        self.signal(Signal::SIGKILL);
        let mut told = String::new();
        if let Some(errors) = self.errors.take().and_then(|errors| errors.join().ok()) {
            let _ = write!(told, "{errors}");
        }
        told
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        if thread::panicking() {
            let told = self.stop_and_tell();
            eprintln!("{} said: {told}", self.name);
        }
    }
}

fn watch_end(mut child: Child) -> Receiver<ExitStatus> {
    let (sender, ended) = channel();
    thread::spawn(move || child.wait().map(|status| sender.send(status)));
    ended
}

fn read_all(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // What came until an error is still worth telling.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
