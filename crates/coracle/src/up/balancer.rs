//! The balancer's process, from both sides: its `main`, and the server's care for it.
//!
//! The balancer outlives the server, so that traffic flows on when the server dies. A server that starts takes over the
//! balancer that runs; one that finds it dead starts it again at once.

use std::fs::{self, DirBuilder, OpenOptions};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::{init_tracing, runtime};
use crate::data_dir::{DataDir, write_private};
use crate::network::Network;
use crate::process::ProcessId;

use super::cluster::Stage;

/// How long the balancer may take to end before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A balancer that lived shorter than this is restarted only after as long a pause.
const TOO_SHORT: Duration = Duration::from_secs(1);

/// Options of the hidden subcommand.
#[derive(Clone, Debug, clap::Args)]
pub struct BalancerArgs {
    /// The cluster's data folder
    #[arg(long)]
    data_dir: PathBuf,
}

/// The balancer's process: serves until SIGTERM.
pub fn main(args: &BalancerArgs) -> anyhow::Result<ExitCode> {
    // A signal to the server's process group (Ctrl-C, a closed terminal) is not for the balancer.
    nix::unistd::setsid().context("cannot leave the server's session")?;
    init_tracing("info");
    let data_dir = DataDir::new(Some(args.data_dir.clone()))?;
    // The server notes it too, but may be killed before it has; then nobody could ever find this process.
    note(&data_dir, &ProcessId::own()?)?;
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
        let file = kube::config::Kubeconfig::read_from(data_dir.kubeconfig("balancer"))?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await?;
        let client = kube::Client::try_from(config)?;
        let stop = CancellationToken::new();
        let mut config = balancer::Config::new(status_socket(&data_dir));
        config.metrics = metrics_address(&data_dir)?;
        let serving = balancer::run(config, client, stop.clone());
        tokio::pin!(serving);
        tokio::select! {
            done = &mut serving => done?,
            _ = terminate.recv() => {
                stop.cancel();
                serving.await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Where the balancer's counters are: as the user has said, or an address of the cluster.
fn metrics_address(data_dir: &DataDir) -> anyhow::Result<Option<SocketAddr>> {
    let settings = data_dir.settings()?;
    Ok(settings.map(|settings| {
        let usual = Network(settings.network).metrics();
        settings.metrics_address.unwrap_or(usual)
    }))
}

/// Where the balancer says what it does.
pub fn status_socket(data_dir: &DataDir) -> PathBuf {
    data_dir.balancer().join("status.sock")
}

/// The balancer that serves this folder's cluster, if one runs.
pub fn running(data_dir: &DataDir) -> Option<ProcessId> {
    let text = fs::read(data_dir.balancer().join("pid")).ok()?;
    serde_json::from_slice::<ProcessId>(&text)
        .ok()
        .filter(ProcessId::is_alive)
}

/// Stops the balancer that serves this folder's cluster, if one runs.
pub fn stop(data_dir: &DataDir) {
    if let Some(balancer) = running(data_dir) {
        end(balancer);
    }
}

fn end(balancer: ProcessId) {
    balancer.signal(Signal::SIGTERM);
    if !balancer.wait(STOP_LIMIT) {
        balancer.signal(Signal::SIGKILL);
        balancer.wait(STOP_LIMIT);
    }
}

/// The server's care for the balancer.
pub struct Balancer {
    current: watch::Receiver<ProcessId>,
}

impl Balancer {
    /// Takes over the balancer that runs, or starts one; starts another whenever it has died, until the stage ends. The
    /// claim on the network is `None` if the balancer that runs holds it: when that one dies, it is taken back.
    pub fn supervise(
        data_dir: &DataDir,
        running: Option<ProcessId>,
        (network, claim): (Network, Option<OwnedFd>),
        stage: &Stage,
    ) -> anyhow::Result<Self> {
        let first = match running {
            Some(process) => process,
            None => spawn(data_dir, claim.as_ref())?,
        };
        let (sender, current) = watch::channel(first);
        let (folder, stop) = (data_dir.clone(), stage.stop.clone());
        stage.tasks.spawn(async move {
            stop.run_until_cancelled(keep_alive(&folder, (network, claim), &sender))
                .await
        });
        Ok(Self { current })
    }

    /// Stops the balancer; the stage that supervises it must have ended.
    pub async fn stop(&self) {
        let balancer = *self.current.borrow();
        // A panic in there has been printed; there is nothing to add.
        let _ = tokio::task::spawn_blocking(move || end(balancer)).await;
    }
}

/// Waits for the balancer's end, again and again, and starts another.
async fn keep_alive(
    data_dir: &DataDir,
    (network, mut claim): (Network, Option<OwnedFd>),
    current: &watch::Sender<ProcessId>,
) {
    let mut since = Instant::now();
    loop {
        let process = *current.borrow();
        process.ended().await;
        tracing::warn!(pid = process.pid, "the balancer has died: starting another");
        if since.elapsed() < TOO_SHORT {
            tokio::time::sleep(TOO_SHORT).await;
        }
        since = Instant::now();
        if claim.is_none() {
            claim = network.claim().unwrap_or_default();
        }
        match spawn(data_dir, claim.as_ref()) {
            Ok(process) => {
                current.send_replace(process);
            }
            Err(error) => tracing::error!("cannot start the balancer: {error:#}"),
        }
    }
}

/// Starts the balancer, which keeps the network claim as its standard input, and notes its pid.
fn spawn(data_dir: &DataDir, claim: Option<&OwnedFd>) -> anyhow::Result<ProcessId> {
    let folder = data_dir.balancer();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(folder.join("log"))?;
    let stdin = match claim {
        Some(claim) => Stdio::from(claim.try_clone()?),
        None => Stdio::null(),
    };
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .arg("balancer")
        .arg("--data-dir")
        .arg(data_dir.root())
        .stdin(stdin)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the balancer")?;
    let process = ProcessId::of(i32::try_from(child.id())?).context("the balancer died as it started")?;
    // Reaps it, so that `ended` sees it go.
    std::thread::spawn(move || child.wait());
    if let Err(error) = note(data_dir, &process) {
        process.signal(Signal::SIGKILL);
        return Err(error);
    }
    Ok(process)
}

/// Writes down which process is the balancer.
fn note(data_dir: &DataDir, process: &ProcessId) -> anyhow::Result<()> {
    write_private(&data_dir.balancer().join("pid"), &serde_json::to_vec(process)?)
}
