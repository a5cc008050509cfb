//! `coracle down`: stops whatever of a cluster still runs, the server alive or not, and removes its files.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;

use crate::cli::DownArgs;
use crate::data_dir::DataDir;
use crate::{kubeconfig, output, up};

/// How long the server may take to stop its pods, the balancer and itself.
const SERVER_LIMIT: Duration = Duration::from_secs(30);

/// How long pods may take to stop if there is no server to stop them.
const POD_GRACE: Duration = Duration::from_secs(5);

/// Stops the cluster.
pub fn command(args: &DownArgs) -> anyhow::Result<ExitCode> {
    let data_dir = DataDir::new(args.cluster.data_dir.clone())?;
    // First the server: one that is starting has not yet written what the folder holds.
    if let Some(server) = data_dir.server() {
        server.signal(Signal::SIGTERM);
        if !server.wait(SERVER_LIMIT) {
            bail!(
                "the server (pid {}) does not stop: look into it, or kill it and try again",
                server.pid
            );
        }
    }
    let Some(settings) = data_dir.settings()? else {
        output::line(format_args!(
            "There is no cluster in {}.",
            data_dir.root().display()
        ))?;
        return Ok(ExitCode::SUCCESS);
    };
    // From here on nobody else works on this folder; what a killed server left behind is ours to end.
    let lock = data_dir.lock()?;
    let pods = agent::stop_all(data_dir.root(), POD_GRACE);
    up::balancer::stop(&data_dir);
    pods.with_context(|| format!("cannot stop the pods of {}", data_dir.root().display()))?;
    if args.keep_data {
        output::line(format_args!(
            "The cluster is stopped; its objects stay in {}.",
            data_dir.root().display()
        ))?;
    } else {
        // A start that failed early has written neither this one nor the user's.
        if let Ok(ours) = std::fs::read_to_string(data_dir.kubeconfig("admin"))
            && let Err(error) = kubeconfig::remove(
                &settings.kubeconfig,
                &settings.context,
                &ours,
                settings.context_before.as_deref(),
            )
        {
            eprintln!("warning: the context {} stays: {error:#}", settings.context);
        }
        data_dir.remove()?;
        output::line(format_args!("The cluster is gone."))?;
    }
    drop(lock);
    Ok(ExitCode::SUCCESS)
}
