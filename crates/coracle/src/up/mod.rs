//! `coracle up`: starts a cluster and stays with it.

pub mod balancer;
mod cluster;
mod components;
mod nodes;
mod settings;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

pub use cluster::{Cluster, Options};

use crate::cli::{UpArgs, init_tracing, runtime};
use crate::detach::{self, Report};
use crate::interrupt::Interrupt;

/// Runs `coracle up` until it is told to stop, or with `--detach` until the cluster is up.
pub fn command(args: UpArgs) -> anyhow::Result<ExitCode> {
    if args.detach {
        return detach::launch(&args);
    }
    init_tracing("warn");
    if args.detached {
        let launcher = Report::take()?;
        return match runtime()?.block_on(serve(args, Some(&launcher))) {
            Err(error) => {
                launcher.failed(&format!("{error:#}"));
                Ok(ExitCode::FAILURE)
            }
            done => done,
        };
    }
    runtime()?.block_on(serve(args, None))
}

async fn serve(args: UpArgs, launcher: Option<&Report>) -> anyhow::Result<ExitCode> {
    // Before anything is started: a signal from here on ends in an orderly stop.
    let mut interrupt = Interrupt::listen()?;
    let cluster = Cluster::start(Options::from(args)).await?;
    announce(&cluster, launcher)?;
    let stopped = tokio::select! {
        () = interrupt.recv() => Ok(()),
        gone = abandoned(launcher) => gone,
        failed = cluster.failed() => Err(failed),
    };
    if std::io::stdout().is_terminal() {
        println!("Stopping the pods, the balancer and the server...");
    }
    cluster.stop().await?;
    stopped.map(|()| ExitCode::SUCCESS)
}

/// Says that the cluster is up: to whoever detached it, or else to the terminal.
fn announce(cluster: &Cluster, launcher: Option<&Report>) -> anyhow::Result<()> {
    let welcome = cluster.welcome();
    if let Some(launcher) = launcher {
        return launcher.succeeded(&welcome.to_string());
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{welcome}\nCtrl-C stops the cluster; its objects stay for the next `coracle up`."
    )?;
    Ok(out.flush()?)
}

async fn abandoned(launcher: Option<&Report>) -> anyhow::Result<()> {
    match launcher {
        Some(launcher) => launcher.abandoned().await,
        None => std::future::pending().await,
    }
}
