//! `coracle up`: starts a cluster and stays with it.

pub mod balancer;
mod cluster;
mod components;
mod settings;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

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
    let cluster = Cluster::start(Options::from(args)).await?;
    announce(&cluster.welcome().to_string())?;
    let stopped = tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        failed = cluster.failed() => Err(failed),
    };
    if std::io::stdout().is_terminal() {
        println!("Stopping the pods, the balancer and the server...");
    }
    cluster.stop().await?;
    stopped.map(|()| ExitCode::SUCCESS)
}
