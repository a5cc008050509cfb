//! A side of the benchmark: starts its processes, and says when they answer.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::upstream::Programs;
use super::{Error, proc};
use crate::cluster::balancer_in;
use crate::{Background, programs};

/// How long a side may take to answer.
const START: Duration = Duration::from_secs(120);
/// Between two questions whether it does.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// Which side.
pub enum Target {
    /// This repository's program.
    Coracle,
    /// etcd, kube-apiserver and the rest.
    Upstream(Programs),
}

/// How many nodes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 10, for up to 1,100 pods.
    Small,
    /// 100, for up to 11,000 pods.
    Large,
}

impl Size {
    /// The number.
    pub fn nodes(self) -> u16 {
        match self {
            Self::Small => 10,
            Self::Large => 100,
        }
    }
}

/// A side that answers.
pub struct Running<'a> {
    target: &'a Target,
    size: Size,
    folder: TempDir,
    port: u16,
    processes: Vec<Background>,
    start: Duration,
    /// A client with all rights.
    pub client: Client,
}

impl Target {
    /// Starts it with nothing in it.
    pub async fn start(&self, size: Size) -> Result<Running<'_>, Error> {
        let folder = tempfile::Builder::new().prefix("coracle-bench-").tempdir()?;
        self.start_in(folder, size, free_port()?).await
    }

    async fn start_in(&self, folder: TempDir, size: Size, port: u16) -> Result<Running<'_>, Error> {
        let begun = Instant::now();
        let mut processes = match self {
            Self::Coracle => vec![coracle(folder.path(), size, port)],
            Self::Upstream(programs) => programs.api_server(folder.path(), port)?,
        };
        let client = answering(begun, || self.config(folder.path(), port)).await?;
        let start = begun.elapsed();
        if let Self::Upstream(programs) = self {
            processes.extend(programs.controllers(folder.path(), (port, size), &client).await?);
        }
        Ok(Running {
            target: self,
            size,
            folder,
            port,
            processes,
            start,
            client,
        })
    }

    /// How it is reached; an error as long as it has not said so.
    async fn config(&self, folder: &Path, port: u16) -> Result<Config, Error> {
        match self {
            Self::Coracle => {
                let file = Kubeconfig::read_from(folder.join("kubeconfig"))?;
                Ok(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)
            }
            Self::Upstream(programs) => programs.config(port),
        }
    }
}

impl<'a> Running<'a> {
    /// How many nodes it has.
    pub fn size(&self) -> Size {
        self.size
    }

    /// How long the start took until it answered, in milliseconds.
    pub fn start_ms(&self) -> f64 {
        self.start.as_secs_f64() * 1e3
    }

    /// Resident memory of all its processes, in MiB.
    pub fn memory(&self) -> Result<f64, Error> {
        proc::resident(&self.pids())
    }

    /// The most that they have ever had, in MiB.
    pub fn peak(&self) -> Result<f64, Error> {
        proc::peak(&self.pids())
    }

    fn pids(&self) -> Vec<i32> {
        let balancer = balancer_in(&self.folder.path().join("data/balancer/pid"));
        self.processes
            .iter()
            .map(Background::pid)
            .chain(balancer)
            .collect()
    }

    /// Ends it and starts it again with what it holds.
    pub async fn restart(self) -> Result<Running<'a>, Error> {
        let Self {
            target,
            size,
            folder,
            port,
            processes,
            ..
        } = self;
        if matches!(target, Target::Coracle) {
            down(folder.path(), &["--keep-data"])?;
        }
        end(processes);
        target.start_in(folder, size, port).await
    }

    /// Ends it and removes what it holds.
    pub fn stop(self) -> Result<(), Error> {
        if matches!(self.target, Target::Coracle) {
            down(self.folder.path(), &[])?;
        }
        end(self.processes);
        Ok(())
    }
}

/// Ends processes, the last that was started first.
fn end(processes: Vec<Background>) {
    for process in processes.into_iter().rev() {
        process.end(Signal::SIGTERM);
    }
}

fn coracle(folder: &Path, size: Size, port: u16) -> Background {
    let mut command = Command::new(programs::coracle());
    command
        .args(["up", "--fake-pods", "--nodes", &size.nodes().to_string()])
        .args(["--api-port", &port.to_string()])
        .arg("--kubeconfig")
        .arg(folder.join("kubeconfig"))
        .arg("--data-dir")
        .arg(folder.join("data"))
        .env("HOME", folder)
        .env("RUST_LOG", "error");
    Background::start(&mut command)
}

fn down(folder: &Path, options: &[&str]) -> Result<(), Error> {
    let status = Command::new(programs::coracle())
        .arg("down")
        .args(options)
        .arg("--data-dir")
        .arg(folder.join("data"))
        .stdout(std::process::Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("coracle down: {status}").into())
    }
}

/// A port that nobody listens on just now.
pub fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Asks until `/readyz` is answered well.
async fn answering<F>(begun: Instant, config: impl Fn() -> F) -> Result<Client, Error>
where
    F: Future<Output = Result<Config, Error>>,
{
    loop {
        let error = match config().await {
            Ok(config) => {
                let client = Client::try_from(config)?;
                let request = http::Request::get("/readyz").body(Vec::new())?;
                match client.request_text(request).await {
                    Ok(_) => return Ok(client),
                    Err(error) => error.into(),
                }
            }
            Err(error) => error,
        };
        if begun.elapsed() > START {
            return Err(error);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}
