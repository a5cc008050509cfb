//! `coracle up --detach`: starts the server as a process of its own and says how its start went.
//!
//! The server's standard input is a socket on which it reports once: the welcome text, or why it could not start. The
//! launcher confirms a welcome when it has passed it on; if it is gone before, it was interrupted, and the server stops as
//! on Ctrl-C. The server's output goes to `server.log` in the data folder.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::cli::{PodPorts, UpArgs, runtime};
use crate::data_dir::DataDir;
use crate::interrupt::Interrupt;
use crate::output;

/// How the start went.
#[derive(Serialize, Deserialize)]
enum Outcome {
    Up(String),
    Failed(String),
}

/// The server's side: reports how the start went.
pub struct Report(UnixStream);

impl Report {
    /// Leaves the terminal's session and the launcher's open files, and takes the socket that the launcher gave.
    pub fn take() -> anyhow::Result<Self> {
        agent::process::close_inherited().context("cannot close what is not ours")?;
        nix::unistd::setsid().context("cannot leave the terminal's session")?;
        let socket = std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .context("standard input")?;
        Ok(Self(UnixStream::from(socket)))
    }

    /// The cluster is up. Whether the launcher is there to hear it, [`Report::abandoned`] tells.
    pub fn succeeded(&self, welcome: &str) -> anyhow::Result<()> {
        match self.send(&Outcome::Up(welcome.to_owned())) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot tell the launcher that the cluster is up")
            }
            _ => Ok(()),
        }
    }

    /// Resolves when the launcher is gone and has told nobody that the cluster is up.
    pub async fn abandoned(&self) -> anyhow::Result<()> {
        let socket = self.0.try_clone().and_then(nonblocking);
        let mut socket = socket.context("cannot listen to the launcher")?;
        if socket.read_u8().await.is_ok() {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// The cluster could not start, or has failed.
    pub fn failed(&self, why: &str) {
        if self.send(&Outcome::Failed(why.to_owned())).is_err() {
            // The launcher has heard that the cluster was up, and gone: the log is all there is.
            tracing::error!("{why}");
        }
    }

    fn send(&self, outcome: &Outcome) -> std::io::Result<()> {
        (&self.0).write_all(&serde_json::to_vec(outcome)?)?;
        self.0.shutdown(std::net::Shutdown::Write)
    }
}

fn nonblocking(socket: UnixStream) -> std::io::Result<tokio::net::UnixStream> {
    socket.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(socket)
}

/// Starts the server and waits until it is up.
pub fn launch(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let data_dir = DataDir::new(args.cluster.data_dir.clone())?;
    data_dir.create()?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(data_dir.server_log())
        .with_context(|| format!("cannot write {}", data_dir.server_log().display()))?;
    runtime()?.block_on(start(arguments(args, &data_dir), &data_dir, log))
}

async fn start(arguments: Vec<OsString>, data_dir: &DataDir, log: File) -> anyhow::Result<ExitCode> {
    // Before anything is started: a signal from here on ends the server, too.
    let mut interrupt = Interrupt::listen()?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut server = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the server")?;
    let mut ours = nonblocking(ours)?;
    let mut answer = Vec::new();
    tokio::select! {
        biased;
        () = interrupt.recv() => {
            drop(ours);
            server.wait().await.context("the server")?;
            eprintln!("Interrupted: the cluster is stopped.");
            return Ok(ExitCode::from(130));
        }
        read = ours.read_to_end(&mut answer) => read.context("the server")?,
    };
    match serde_json::from_slice(&answer) {
        Ok(Outcome::Up(welcome)) => {
            let told = output::line(format_args!(
                "{welcome}\nIt stays up; `coracle down{}` stops it.",
                data_dir.option()
            ));
            ours.write_u8(1).await.context("the server")?;
            told?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Outcome::Failed(why)) => bail!(why),
        Err(_) => bail!(
            "the server died while it started: see {}",
            data_dir.server_log().display()
        ),
    }
}

fn arguments(args: &UpArgs, data_dir: &DataDir) -> Vec<OsString> {
    let mut list = vec![
        "up".into(),
        "--detached".into(),
        "--data-dir".into(),
        data_dir.root().into(),
    ];
    if let Some(nodes) = args.nodes {
        list.extend(["--nodes".into(), nodes.to_string().into()]);
    }
    if let Some(port) = args.api_port {
        list.extend(["--api-port".into(), port.to_string().into()]);
    }
    if let Some(file) = &args.kubeconfig {
        list.extend(["--kubeconfig".into(), file.into()]);
    }
    if let Some(ports) = args.pod_ports {
        let ports = if ports == PodPorts::Declared {
            "declared"
        } else {
            "distinct"
        };
        list.extend(["--pod-ports".into(), ports.into()]);
    }
    if let Some(period) = args.node_monitor_grace_period {
        list.extend([
            "--node-monitor-grace-period".into(),
            format!("{}s", period.as_secs()).into(),
        ]);
    }
    if let Some(address) = args.metrics_address {
        list.extend(["--metrics-address".into(), address.to_string().into()]);
    }
    if args.fake_pods {
        list.push("--fake-pods".into());
    }
    list
}
