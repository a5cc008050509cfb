//! What agent and keeper say to each other: one JSON object a line over a Unix socket.
//!
//! The keeper tells its whole [`State`] at connect and after every change, so a lost connection loses nothing. An
//! [`Request::Exec`] has a connection of its own, which carries the three standard descriptors along and is answered by
//! one [`ExecResult`]; closing it early kills the process. So has a [`Request::Attach`]; closing it early leaves the
//! process alone. Both sides ignore fields that they do not know, so that a
//! keeper may be older than the agent.

use serde::{Deserialize, Serialize};

/// A request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Starts an attempt of a container. An attempt that is known already is not started again.
    Start(Box<Start>),
    /// Stops a container: its signal, then SIGKILL of all its processes. A later request can only shorten the grace.
    Stop {
        /// The container's name.
        container: String,
        /// Time between the signal and SIGKILL, in milliseconds.
        grace_ms: u64,
    },
    /// Stops every container and then ends the keeper.
    Exit {
        /// Time between the signals and SIGKILL, in milliseconds.
        grace_ms: u64,
    },
    /// Runs a command in a running container.
    Exec(Exec),
    /// Connects the descriptors to a running container's main process: from now on its output goes there too.
    Attach {
        /// The container's name.
        container: String,
        /// Whether input is taken from there.
        stdin: bool,
    },
    /// Changes the size of the terminal of a container's main process.
    Resize {
        /// The container's name.
        container: String,
        /// Height in characters.
        rows: u16,
        /// Width in characters.
        columns: u16,
    },
}

/// An attempt at running a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The container's name.
    pub container: String,
    /// 0 for the first start, then one more each restart.
    pub attempt: u32,
    /// Name (looked up in the environment's PATH) or path of the program.
    pub program: String,
    /// Arguments without the program's name.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub dir: String,
    /// Number of the signal that asks the program to stop.
    pub stop_signal: i32,
    /// Size in bytes at which a log file is rotated.
    pub log_limit: u64,
    /// Where its standard input comes from.
    #[serde(default)]
    pub input: Input,
    /// Whether its streams are a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// What its processes may use and become.
    #[serde(default)]
    pub confine: Confine,
}

/// What the processes of a container may use and become. All absent: whatever the keeper may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Confine {
    /// Name of its control groups; without one there are none.
    pub cgroup: Option<String>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_milli: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// User id.
    pub user: Option<u32>,
    /// Group id.
    pub group: Option<u32>,
    /// No program that it runs gives it privileges (`su`, `sudo`, file capabilities).
    pub no_new_privs: bool,
    /// The files it can get at; without one, all that its user can.
    pub sandbox: Option<Sandbox>,
}

/// What a container in a sandbox gets at beside the system's programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sandbox {
    /// Files and folders that it may read and run.
    pub read: Vec<String>,
    /// Those that it may also change.
    pub write: Vec<String>,
}

/// What the standard input of a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Input {
    /// Empty.
    #[default]
    None,
    /// What clients that attach to it type. It does not end.
    Open,
    /// The same, but it ends with the first client that types.
    Once,
}

/// A command in a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// The container whose environment and working directory it gets.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether the descriptors are a terminal, which becomes the process's controlling one.
    pub terminal: bool,
}

/// How the process of a [`Request::Exec`] or [`Request::Attach`] ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExecResult {
    /// It ran.
    Exited {
        /// Exit code; 128 + signal if a signal ended it.
        code: i32,
    },
    /// It did not run, and why.
    Failed(String),
}

/// All that the keeper knows: the latest attempt of each container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// In order of the containers' names.
    pub containers: Vec<Attempt>,
}

/// An attempt that was started; also what is on disk as `<container>/<attempt>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The container's name.
    pub container: String,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// Its main process; 0 if it could not be started.
    pub pid: i32,
    /// When that started, in clock ticks since boot: tells it from a later process with the same pid.
    #[serde(default)]
    pub started: u64,
    /// Unix time in milliseconds.
    pub started_ms: i64,
    /// How it ended; `None` while it runs.
    #[serde(default)]
    pub exit: Option<Exit>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Exit code; 128 + signal if a signal ended it; 128 if it could not be started.
    pub code: i32,
    /// Unix time in milliseconds.
    pub finished_ms: i64,
    /// Why it could not be started, or why nothing is known about its end.
    #[serde(default)]
    pub failure: Option<Failure>,
}

/// An end that is no program's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// The program could not be started, and why.
    Start(String),
    /// The keeper was lost, and with it how the program ended.
    Lost,
    /// The kernel killed a process of it: its memory was used up.
    OutOfMemory,
}

/// Who the keeper is; on disk as `keeper.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The keeper's pid.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}
