//! `coracle demo`: the main job in half a minute. A cluster in a temporary folder, a Deployment under load, a rolling
//! update and its undo, and a report of every request that was dropped.
//!
//! Flows in: a few options. Flows out: a live view (plain lines without a terminal), a report, and an exit code that is 0
//! only if nothing was dropped. Leaves nothing behind: no process, no file.

mod bars;
mod pods;
mod report;
mod scene;
mod screen;
mod story;
mod target;
mod text;
mod traffic;
mod view;
mod wrk;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::interrupt::Interrupt;
use crate::up::{Cluster, Options};

use screen::Screen;

/// The story has this long; the rest of the 90 seconds is for stopping.
const STORY: Duration = Duration::from_secs(70);
/// After this time the demo ends, whatever happens.
const WHOLE: Duration = Duration::from_secs(89);

/// Options of `coracle demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Number of pods
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    replicas: u16,
    /// The image to start with
    #[arg(long, default_value = "nginx:1.7.9", value_name = "IMAGE")]
    from: String,
    /// The image to change to
    #[arg(long, default_value = "nginx:1.8", value_name = "IMAGE")]
    to: String,
    /// Connections of each load client
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Requests a second of the strict client; wrk, where installed, sends as fast as it can
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds that a new pod must have been ready before the next one is replaced: time to watch. 0 shows how fast it can be
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=3))]
    min_ready_seconds: u8,
}

/// Runs the demo.
///
/// # Errors
/// When the cluster does not start or stop, or a step of the story does not succeed in time.
pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    // Before anything is started: a signal from here on ends in an orderly stop.
    let mut interrupt = Interrupt::listen()?;
    let started = Instant::now();
    let folder = tempfile::Builder::new()
        .prefix("coracle-demo-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let options = Options {
        data_dir: Some(folder.path().join("cluster")),
        nodes: Some(3),
        api_port: Some(0),
        kubeconfig: Some(folder.path().join("kubeconfig")),
        ..Options::default()
    };
    let cluster = Cluster::start(options).await?;
    let mut screen = Screen::open(started.into_std());
    screen.say(&format!(
        "A cluster of 3 nodes is up after {} ms",
        started.elapsed().as_millis()
    ));
    let client = cluster.client();
    let ended = tokio::select! {
        told = story::tell(&args, &client, &mut screen) => told.map(Some),
        () = interrupt.recv() => Ok(None),
        () = sleep_until(started + STORY) => {
            Err(anyhow!("the demo did not come to its end within {} s and was stopped", STORY.as_secs()))
        }
        error = cluster.failed() => Err(error.context("a part of the cluster has failed")),
    };
    screen.close();
    let stopped = timeout_at(started + WHOLE, cluster.stop()).await;
    let removed = folder.close();
    let outcome = ended?;
    stopped.context("the cluster did not stop in time")??;
    removed.context("cannot remove the temporary folder")?;
    let Some(outcome) = outcome else {
        eprintln!("Interrupted: the cluster is stopped, nothing is left behind.");
        return Ok(ExitCode::from(130));
    };
    print!("{}", report::text(&outcome, &screen));
    Ok(if outcome.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
