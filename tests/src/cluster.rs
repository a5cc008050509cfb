//! A cluster of the real binary, for one test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::processes::{Process, marked};
use crate::{Background, Kubectl, Output, User, programs};

/// How long the server may take to say that it is up, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// How long the server may take to stop everything.
const STOP: Duration = Duration::from_secs(60);

/// How a cluster is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of nodes.
    pub nodes: u16,
    /// Who runs it.
    pub user: User,
    /// Leave it running in the background, with `--detach`.
    pub detached: bool,
    /// Pods listen on their declared ports.
    pub declared_ports: bool,
    /// Pods are only pretended to run.
    pub fake_pods: bool,
    /// How long a node's agent may be silent, in seconds; `None`: as users have it.
    pub node_grace: Option<u32>,
    /// In which folder everything of it is; `None`: where temporary files are.
    pub within: Option<PathBuf>,
    /// Which kubectl drives it; `None`: the one of the machine.
    pub kubectl: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            user: User::Same,
            detached: false,
            declared_ports: false,
            fake_pods: false,
            node_grace: None,
            within: None,
            kubectl: None,
        }
    }
}

/// A running cluster. Ended, with all that it started, when dropped; [`Cluster::stop`] ends it and looks.
pub struct Cluster {
    options: Options,
    program: PathBuf,
    folder: TempDir,
    server: Option<Background>,
}

impl Cluster {
    /// Starts three nodes as whoever runs the test, and waits until they are ready.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a cluster and waits until its nodes are ready.
    pub fn start_with(options: Options) -> Self {
        let within = options.within.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new()
            .prefix("coracle-test-")
            .tempdir_in(within)
            .expect("a temporary folder");
        options.user.own(folder.path());
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("a folder in our own folder");
        options.user.own(&home);
        let mut cluster = Self {
            program: program_for(&options, folder.path()),
            options,
            folder,
            server: None,
        };
        cluster.up();
        cluster.nodes_ready();
        cluster
    }

    /// Starts the server (again) and waits until it says that it is up. A cluster that comes back has the port it had.
    pub fn up(&mut self) {
        self.up_on(!self.data_dir().exists());
    }

    /// Starts the server again, with its API on another port.
    pub fn up_on_another_port(&mut self) {
        self.up_on(true);
    }

    fn up_on(&mut self, any_port: bool) {
        let nodes = self.options.nodes.to_string();
        let kubeconfig = self.kubeconfig();
        let mut command = self.coracle(&["up", "--nodes", &nodes]);
        if any_port {
            command.args(["--api-port", "0"]);
        }
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--data-dir")
            .arg(self.data_dir());
        if self.options.detached {
            command.arg("--detach");
        }
        if self.options.declared_ports {
            command.arg("--pod-ports=declared");
        }
        if self.options.fake_pods {
            command.arg("--fake-pods");
        }
        if let Some(seconds) = self.options.node_grace {
            command.arg(format!("--node-monitor-grace-period={seconds}s"));
        }
        let mut server = Background::start(&mut command);
        server.wait_for_line(START, |line| line.contains("https://127.0.0.1:"));
        if self.options.detached {
            let status = server.wait(START).expect("`coracle up --detach` returns");
            assert!(status.success(), "coracle up --detach ended with {status}");
        } else {
            self.server = Some(server);
        }
        // The line says where the API is; only an answer says that the kubeconfig leads there, too.
        self.kubectl().ok(&["get", "--raw", "/readyz"]);
    }

    /// Waits until all nodes are there and ready.
    pub fn nodes_ready(&self) {
        let kubectl = self.kubectl();
        let mut table = Background::start(&mut kubectl.command(&["get", "nodes", "-w", "--no-headers"]));
        let deadline = Instant::now() + START;
        let mut ready = BTreeSet::new();
        while ready.len() < usize::from(self.options.nodes) {
            let line = table.line(deadline).expect("the watch goes on");
            let mut cells = line.split_whitespace();
            if let (Some(name), Some("Ready")) = (cells.next(), cells.next()) {
                ready.insert(name.to_owned());
            }
        }
    }

    /// A command of the binary, as the cluster's user.
    pub fn coracle(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("HOME", self.home())
            .current_dir(self.home());
        command.env_remove("KUBECONFIG").env_remove("XDG_STATE_HOME");
        self.options.user.apply(&mut command);
        command
    }

    /// Runs a command of the binary to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = self.coracle(args);
        command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
            .into()
    }

    /// The kubectl of this cluster.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl {
            program: self.options.kubectl.clone().unwrap_or_else(programs::kubectl),
            kubeconfig: self.kubeconfig(),
            home: self.home(),
            user: self.options.user,
        }
    }

    /// The cluster's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder that the cluster's user may use.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The kubeconfig that `up` writes.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The pid of the server.
    pub fn server_pid(&self) -> i32 {
        self.server
            .as_ref()
            .map(Background::pid)
            .expect("the server runs")
    }

    /// The pid of whoever is the balancer.
    pub fn balancer_pid(&self) -> i32 {
        let file = self.balancer_file();
        balancer_in(&file).unwrap_or_else(|| panic!("{} tells no pid", file.display()))
    }

    /// Where the balancer notes its pid.
    pub fn balancer_file(&self) -> PathBuf {
        self.data_dir().join("balancer/pid")
    }

    /// The port of the API.
    pub fn api_port(&self) -> u16 {
        let settings = self.settings();
        let port = settings["api_port"].as_u64().expect("a port");
        u16::try_from(port).expect("a port")
    }

    /// The second number of the addresses of pods.
    pub fn pod_block(&self) -> u64 {
        10 + self.settings()["network"].as_u64().expect("a number")
    }

    fn settings(&self) -> serde_json::Value {
        let file = self.data_dir().join("cluster.json");
        let text = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        serde_json::from_slice(&text).expect("JSON")
    }

    /// From the next start on the program is another file of the same content, as after an upgrade.
    pub fn upgrade(&mut self) {
        let copy = self.folder.path().join("coracle-upgraded");
        fs::copy(&self.program, &copy).unwrap_or_else(|error| panic!("copying {}: {error}", copy.display()));
        self.options.user.own(&copy);
        self.program = copy;
    }

    /// Ends the server with SIGKILL, as a crash would.
    pub fn crash(&mut self) {
        let server = self.server.take().expect("the server runs");
        server.end(Signal::SIGKILL);
    }

    /// Ends the server with Ctrl-C, which stops pods and balancer, too.
    pub fn interrupt(&mut self) {
        self.ask_to_end(Signal::SIGINT);
    }

    /// Ends the server with a signal on which it stops pods and balancer, too.
    pub fn ask_to_end(&mut self, signal: Signal) {
        let server = self.server.take().expect("the server runs");
        let (status, _) = server.end(signal);
        assert!(status.success(), "coracle up ended with {status}");
    }

    /// All processes of this cluster, but the test's own.
    pub fn processes(&self) -> BTreeSet<Process> {
        marked(&self.marks())
    }

    /// The processes of the pods, and nothing else: those that carry a pod's mark.
    pub fn pod_processes(&self) -> BTreeSet<Process> {
        marked(&self.pod_uids())
    }

    /// Ends the cluster with `coracle down`, and asserts that nothing of it is left.
    pub fn stop(mut self) {
        let marks = self.marks();
        let data_dir = self.data_dir();
        let down = self.run(&["down", "--data-dir", &data_dir.to_string_lossy()]);
        assert_eq!(down.code, Some(0), "coracle down: {down:?}");
        if let Some(mut server) = self.server.take() {
            let status = server.wait(STOP).expect("`coracle down` ends the server");
            assert!(status.success(), "coracle up ended with {status}");
        }
        let left = marked(&marks);
        assert!(left.is_empty(), "processes left behind: {left:#?}");
        assert!(!data_dir.exists(), "left behind: {}", data_dir.display());
        assert!(!self.kubeconfig().exists(), "the kubeconfig was left behind");
    }

    /// What the cluster's processes carry: its folder's name, or the uid of one of its pods.
    fn marks(&self) -> Vec<String> {
        let mut marks = self.pod_uids();
        marks.push(self.folder.path().to_string_lossy().into_owned());
        marks
    }

    /// Each pod that runs has a folder of its own, named by its uid.
    fn pod_uids(&self) -> Vec<String> {
        let nodes = fs::read_dir(self.data_dir().join("nodes"));
        let pods = nodes
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .map(|node| node.path().join("pods"));
        let uids = pods
            .filter_map(|pods| fs::read_dir(pods).ok())
            .flatten()
            .filter_map(Result::ok);
        uids.map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for Cluster {
    /// The way out of a failed test: no assertion, no wait without end.
    fn drop(&mut self) {
        let marks = self.marks();
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::SIGINT);
            server.wait(STOP);
        }
        let data_dir = self.data_dir();
        if data_dir.exists() {
            let _ = self.coracle(&["down", "--data-dir"]).arg(&data_dir).output();
        }
        for process in marked(&marks) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
}

/// The pid that a balancer has noted in a file.
pub fn balancer_in(file: &Path) -> Option<i32> {
    let noted: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    i32::try_from(noted["pid"].as_i64()?).ok()
}

/// The binary where the cluster's user can reach it: folders above the build may be closed to others.
fn program_for(options: &Options, folder: &Path) -> PathBuf {
    let program = programs::coracle();
    if options.user == User::Same {
        return program;
    }
    let copy = folder.join("coracle");
    fs::copy(&program, &copy).unwrap_or_else(|error| panic!("copying {}: {error}", program.display()));
    copy
}
