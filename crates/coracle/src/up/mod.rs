//! `coracle up`: starts a cluster and stays with it.

pub mod balancer;
mod cluster;
mod components;
mod nodes;
mod settings;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use cluster::{Cluster, Options};

use crate::cli::{UpArgs, init_tracing, runtime};
use crate::detach;

/// Runs `coracle up` until it is told to stop, or with `--detach` until the cluster is up.
pub fn command(args: UpArgs) -> anyhow::Result<ExitCode> {
    if args.detach {
        return detach::launch(&args);
    }
    init_tracing("warn");
    if args.detached {
        let up = detach::Report::take()?;
        return match runtime()?.block_on(serve(args, |text| up.succeeded(text))) {
            Err(error) => {
                up.failed(&format!("{error:#}"));
                Ok(ExitCode::FAILURE)
            }
            done => done,
        };
    }
    runtime()?.block_on(serve(args, |text| {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{text}\nCtrl-C stops the cluster; its objects stay for the next `coracle up`."
        )?;
        Ok(out.flush()?)
    }))
}

async fn serve(args: UpArgs, announce: impl Fn(&str) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    // Before anything is started: a signal from here on ends in an orderly stop.
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut hangup = Hangup::listen()?;
    let cluster = Cluster::start(Options::from(args)).await?;
    announce(&cluster.welcome().to_string())?;
    let stopped = tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
        failed = cluster.failed() => Err(failed),
    };
    if std::io::stdout().is_terminal() {
        println!("Stopping the pods, the balancer and the server...");
    }
    cluster.stop().await?;
    stopped.map(|()| ExitCode::SUCCESS)
}

/// The terminal was closed. `nohup` says that this is to change nothing, which listening for the signal would undo.
struct Hangup(Option<Signal>);

impl Hangup {
    fn listen() -> anyhow::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
        let ignored = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask & 1 != 0);
        if ignored {
            return Ok(Self(None));
        }
        let signal = signal(SignalKind::hangup()).context("cannot listen for signals")?;
        Ok(Self(Some(signal)))
    }

    async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}
