//! The command line: what can be typed, and which module does it.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::backup::BackupArgs;
use crate::data_dir::DataDir;
use crate::{backup, demo, down, image, node, output, status, up, verbs};

/// Kubernetes' rolling update on one machine, with plain processes for pods.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster; Ctrl-C stops it
    Up(UpArgs),
    /// Stop a cluster and remove its files
    Down(DownArgs),
    /// Say what runs: server, nodes, pods, balancer
    Status(ClusterArgs),
    /// Show a rolling update under load, and count the dropped requests
    Demo(demo::DemoArgs),
    /// Save a cluster in one file, while it runs or not
    Backup(BackupArgs),
    /// Make a cluster from a backup, in a data folder that has none
    Restore(BackupArgs),
    /// Nodes, and the agents that look after their pods
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// The image catalogue: which program an image name stands for
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// The balancer, which all traffic of Services goes through
    #[command(subcommand)]
    Balancer(up::balancer::BalancerCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    #[command(flatten)]
    Verb(verbs::Verb),

    /// Runs a pod's processes; started by the node agent
    #[command(hide = true)]
    Keeper(agent::keeper::Args),
    /// The stand-in web server; runs in pods
    #[command(hide = true)]
    Webserver(webserver::Args),
}

/// Which cluster a command is about.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterArgs {
    /// The cluster's data folder [default: $XDG_STATE_HOME/coracle/default]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Options of `coracle up`.
#[derive(Clone, Debug, clap::Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Number of nodes [default: 3, or as at the last start]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=250))]
    pub nodes: Option<u16>,
    /// Port of the API on 127.0.0.1; 0 takes a free one [default: 7443, or as at the last start]
    #[arg(long, value_name = "PORT")]
    pub api_port: Option<u16>,
    /// Write the kubeconfig to this file instead of merging it into the default one
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Leave the cluster running and return
    #[arg(long)]
    pub detach: bool,
    /// Give every declared container port a port of its own, or let pods listen on the declared ports
    #[arg(long, value_enum)]
    pub pod_ports: Option<PodPorts>,
    /// Where Prometheus finds the balancer's counters, from the balancer's next start on [default: a loopback address of
    /// the cluster, which `coracle status` shows, or as at the last start]
    #[arg(long, value_name = "IP:PORT", value_parser = loopback)]
    pub metrics_address: Option<SocketAddr>,
    /// How long a node's agent may be silent before its node is not ready, as of kube-controller-manager; more than the
    /// 10 s between two signs of life [default: 50s, or as at the last start]
    #[arg(long, value_name = "DURATION", value_parser = grace_period)]
    pub node_monitor_grace_period: Option<Duration>,
    /// Only pretend to run pods, for tests of scale: they are Running and ready at once, and have no processes; a cluster
    /// that is made so stays so
    #[arg(long)]
    pub fake_pods: bool,
    /// The server that `--detach` leaves behind: standard input is where it says that it is up.
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Which port a pod's process listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PodPorts {
    /// A port that no other pod has
    Distinct,
    /// The declared port, on the pod's own address
    Declared,
}

/// Options of `coracle down`.
#[derive(Clone, Debug, clap::Args)]
pub struct DownArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Stop everything, but keep the cluster's objects for the next `up`
    #[arg(long)]
    pub keep_data: bool,
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Keeper(args) => Ok(agent::keeper::main(args)),
            Command::Webserver(args) => Ok(small_runtime()?.block_on(webserver::run(args))),
            Command::Balancer(command) => up::balancer::command(command),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "coracle", &mut script);
                output::text_of(String::from_utf8_lossy(&script))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Node(command) => runtime()?.block_on(node::run(command)),
            Command::Image(command) => image::run(command),
            Command::Up(args) => up::command(args),
            Command::Down(args) => down::command(&args),
            Command::Backup(args) => backup::backup(&args),
            Command::Restore(args) => backup::restore(&args),
            Command::Status(args) => runtime()?.block_on(status::command(args)),
            Command::Demo(args) => {
                init_tracing("error");
                runtime()?.block_on(demo::run(args))
            }
            Command::Verb(verb) => runtime()?.block_on(async {
                let client = client().await?;
                verbs::run(verb, client).await
            }),
        }
    }
}

/// A client for the cluster that kubectl would talk to, or else the default cluster's administrator.
async fn client() -> anyhow::Result<kube::Client> {
    let own = DataDir::new(None)?.kubeconfig("admin");
    let config = match kube::Config::infer().await {
        Ok(config) => config,
        Err(_) if own.exists() => {
            let file = kube::config::Kubeconfig::read_from(&own)?;
            kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default()).await?
        }
        Err(_) => anyhow::bail!("no cluster is known here: start one with `coracle up`"),
    };
    Ok(kube::Client::try_from(config)?)
}

fn grace_period(text: &str) -> anyhow::Result<Duration> {
    let period: jiff::SignedDuration = text.parse().context("it is a time such as 50s or 1m30s")?;
    if period.as_secs() <= 10 {
        anyhow::bail!("an agent gives a sign of life every 10 s: it must be at least 11s");
    }
    Ok(period.try_into()?)
}

fn loopback(text: &str) -> anyhow::Result<SocketAddr> {
    let address: SocketAddr = text
        .parse()
        .context("it is an address and a port such as 127.0.0.1:9100")?;
    if !address.ip().is_loopback() {
        anyhow::bail!(
            "nothing listens beyond this machine: it must be a loopback address such as 127.0.0.1:9100"
        );
    }
    Ok(address)
}

/// Logs go to standard error; `RUST_LOG` says how much, `default` if it is not set.
pub fn init_tracing(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // It would be printed where nothing can be printed, and panic: a log on a full disk must end no process.
        .log_internal_errors(false)
        .init();
}

/// The runtime of the server and of the commands.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// The runtime of the processes that must stay small.
fn small_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_is_longer_than_the_time_between_two_signs_of_life() {
        assert_eq!(grace_period("50s").unwrap(), Duration::from_secs(50));
        assert_eq!(grace_period("1m30s").unwrap(), Duration::from_secs(90));
        for refused in ["10s", "-50s", "50", "soon"] {
            assert!(grace_period(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
