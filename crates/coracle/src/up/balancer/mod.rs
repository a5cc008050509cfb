//! The balancer's process, from both sides: its `main`, and (in [`care`]) the server's care for it.
//!
//! The balancer outlives the server, so that traffic flows on when the server dies. Which process it is stands in the
//! data folder. A process that becomes the balancer while another one is takes over from it, connections included; see
//! [`balancer::handover`].

mod care;

use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::{ClusterArgs, init_tracing, runtime};
use crate::data_dir::{DataDir, write_private};
use crate::network::Network;
use crate::output;
use crate::process::ProcessId;

pub use care::Balancer;

/// How long the balancer may take to end before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long a new balancer may take until it has taken over.
const REPLACE_LIMIT: Duration = Duration::from_secs(20);

/// `coracle balancer`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum BalancerCommand {
    /// Put a new process in the balancer's place; no connection is lost
    Replace(ClusterArgs),
    /// The balancer itself; started by the server
    #[command(hide = true)]
    Run(RunArgs),
}

/// Options of the hidden subcommand.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The cluster's data folder
    #[arg(long)]
    data_dir: PathBuf,
}

/// Does what was asked.
pub fn command(command: BalancerCommand) -> anyhow::Result<ExitCode> {
    match command {
        BalancerCommand::Run(args) => main(&args),
        BalancerCommand::Replace(args) => {
            let data_dir = DataDir::new(args.data_dir)?;
            let Some(old) = running(&data_dir) else {
                bail!(
                    "no balancer runs on {}: `coracle up{}` starts one",
                    data_dir.root().display(),
                    data_dir.option()
                );
            };
            let new = care::replace(&data_dir, old)?;
            output::line(format_args!(
                "The balancer is pid {} now, and pid {} has ended.",
                new.pid, old.pid
            ))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The balancer's process: serves until SIGTERM, or until another has taken over.
fn main(args: &RunArgs) -> anyhow::Result<ExitCode> {
    agent::process::close_inherited().context("cannot close what is not ours")?;
    // A signal to the server's process group (Ctrl-C, a closed terminal) is not for the balancer.
    nix::unistd::setsid().context("cannot leave the server's session")?;
    init_tracing("info");
    let data_dir = DataDir::new(Some(args.data_dir.clone()))?;
    let own = Note {
        process: ProcessId::own()?,
        api_port: api_port(&data_dir)?,
    };
    // The server that starts this process notes it as the balancer, perhaps before this line.
    let old = running(&data_dir).filter(|process| *process != own.process);
    if old.is_none() {
        // But it may be killed before it has; then nobody could ever find this process.
        own.write(&data_dir)?;
    }
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
        let file = kube::config::Kubeconfig::read_from(data_dir.kubeconfig("balancer"))?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await?;
        let client = kube::Client::try_from(config)?;
        let stop = CancellationToken::new();
        let announced = Arc::new(AtomicBool::new(old.is_none()));
        let config = configuration(&data_dir, old, (own, announced.clone()))?;
        let serving = balancer::run(config, client, stop.clone());
        tokio::pin!(serving);
        tokio::select! {
            done = &mut serving => done?,
            _ = terminate.recv() => {
                stop.cancel();
                serving.await?;
            }
            why = too_late(old, &announced) => bail!(why),
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn configuration(
    data_dir: &DataDir,
    old: Option<ProcessId>,
    (own, announced): (Note, Arc<AtomicBool>),
) -> anyhow::Result<balancer::Config> {
    let mut config = balancer::Config::new(status_socket(data_dir), handover_socket(data_dir));
    config.spare_socket = Some(spare_socket(data_dir));
    config.must_inherit = old.is_some();
    if old.is_none() {
        // The claim on the network: see the module `network`.
        let claim = std::io::stdin().as_fd().try_clone_to_owned();
        config.keepsakes.push(Arc::new(claim.context("standard input")?));
    }
    config.metrics = metrics_address(data_dir)?;
    let data_dir = data_dir.clone();
    config.announce = Arc::new(move || {
        announced.store(true, Ordering::SeqCst);
        if let Err(error) = own.write(&data_dir) {
            tracing::error!("nobody can know that this process is the balancer: {error:#}");
        }
    });
    Ok(config)
}

/// Resolves when a new balancer has to give up: the old one has ended without it, or time is over.
async fn too_late(old: Option<ProcessId>, announced: &AtomicBool) -> &'static str {
    if let Some(old) = old {
        let ended = tokio::time::timeout(REPLACE_LIMIT, old.ended()).await;
        if !announced.load(Ordering::SeqCst) {
            return match ended {
                Ok(()) => "the balancer that ran has ended without handing over",
                Err(_) => "the API could not be read in time; the balancer that ran goes on",
            };
        }
    }
    std::future::pending().await
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

/// Where the balancer waits for the next one.
fn handover_socket(data_dir: &DataDir) -> PathBuf {
    data_dir.balancer().join("handover.sock")
}

/// Where the server has copies of the listening sockets, for a balancer that comes after a crash.
fn spare_socket(data_dir: &DataDir) -> PathBuf {
    data_dir.balancer().join("spare.sock")
}

/// What stands in the data folder of the process that is the balancer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Note {
    #[serde(flatten)]
    process: ProcessId,
    /// Where it looks for the API: it reads its kubeconfig once. 0: it was noted by an older program.
    #[serde(default)]
    api_port: u16,
}

impl Note {
    fn read(data_dir: &DataDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(data_dir.balancer().join("pid")).ok()?).ok()
    }

    fn write(&self, data_dir: &DataDir) -> anyhow::Result<()> {
        write_private(&data_dir.balancer().join("pid"), &serde_json::to_vec(self)?)
    }
}

/// The port of the cluster's API, as the server has set it last.
fn api_port(data_dir: &DataDir) -> anyhow::Result<u16> {
    Ok(data_dir.settings()?.map_or(0, |settings| settings.api_port))
}

/// The balancer that serves this folder's cluster, if one runs.
pub fn running(data_dir: &DataDir) -> Option<ProcessId> {
    let note = Note::read(data_dir)?;
    note.process.is_alive().then_some(note.process)
}

/// Stops the balancer that serves this folder's cluster, if one runs.
pub fn stop(data_dir: &DataDir) {
    // Another may be taking over from it just now.
    for _ in 0..3 {
        let Some(balancer) = running(data_dir) else { return };
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
