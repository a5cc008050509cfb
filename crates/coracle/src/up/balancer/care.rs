//! The server's care for the balancer: starts it, replaces it by one of its own program, and starts another when it has
//! died.
//!
//! Replacing needs no server: the new process asks the old one for everything. The server only watches whichever process
//! is the balancer, and keeps copies of its listening sockets, so that after a crash none is missing for a moment.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use balancer::handover::Spare;
use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::{Note, REPLACE_LIMIT, api_port, end, handover_socket, running, spare_socket, stop};
use crate::data_dir::DataDir;
use crate::network::Network;
use crate::process::ProcessId;
use crate::up::cluster::Stage;

/// A balancer that lived shorter than this does not count as started.
const TOO_SHORT: Duration = Duration::from_secs(1);

/// So many that did not live long are started at once, one after the other; the next only after a pause.
const ATTEMPTS: u32 = 2;

/// How often one who waits for two processes looks at the other.
const GLANCE: Duration = Duration::from_millis(10);

/// The server's care for the balancer.
pub struct Balancer {
    data_dir: DataDir,
    current: watch::Receiver<ProcessId>,
    spare: Arc<Spare>,
}

impl Balancer {
    /// Takes care of the balancer that runs, or starts one; replaces it if its program is not ours, or if it looks for the
    /// API where it no longer is; starts another whenever it has died, until the stage ends. The claim on the network is `None` if the balancer that runs holds it: when
    /// that one dies, it is taken back.
    pub fn supervise(
        data_dir: &DataDir,
        running: Option<ProcessId>,
        (network, claim): (Network, Option<OwnedFd>),
        stage: &Stage,
    ) -> anyhow::Result<Self> {
        make_folder(data_dir)?;
        let spare = Spare::start(
            handover_socket(data_dir),
            &spare_socket(data_dir),
            stage.stop.clone(),
        )
        .context("cannot keep copies of the balancer's sockets")?;
        let (first, is_other) = match running {
            Some(process) => (process, !is_our_program(process) || !knows_our_port(data_dir)?),
            None => (start(data_dir, claim.as_ref())?, false),
        };
        let (sender, current) = watch::channel(first);
        let (folder, stop) = (data_dir.clone(), stage.stop.clone());
        stage.tasks.spawn(async move {
            stop.run_until_cancelled(async {
                if is_other {
                    upgrade(&folder, first).await;
                }
                keep_alive(&folder, (network, claim), &sender).await;
            })
            .await
        });
        Ok(Self {
            data_dir: data_dir.clone(),
            current,
            spare,
        })
    }

    /// Stops the balancer; the stage that supervises it must have ended.
    pub async fn stop(&self) {
        let (balancer, data_dir) = (*self.current.borrow(), self.data_dir.clone());
        // A panic in there has been printed; there is nothing to add.
        let _ = tokio::task::spawn_blocking(move || {
            // This one whatever has become of the data folder.
            end(balancer);
            stop(&data_dir);
        })
        .await;
        self.spare.forget();
    }
}

/// Puts a balancer of our program, which knows where our API is, in the place of another.
async fn upgrade(data_dir: &DataDir, old: ProcessId) {
    let folder = data_dir.clone();
    match tokio::task::spawn_blocking(move || replace(&folder, old)).await {
        Ok(Ok(new)) => tracing::info!(old = old.pid, new = new.pid, "replaced the balancer"),
        Ok(Err(error)) => tracing::warn!("the balancer could not be replaced and serves on: {error:#}"),
        // It has been printed.
        Err(_panic) => {}
    }
}

/// Waits for the balancer's end, again and again, and starts another unless one has taken over.
async fn keep_alive(
    data_dir: &DataDir,
    (network, mut claim): (Network, Option<OwnedFd>),
    current: &watch::Sender<ProcessId>,
) {
    let (mut since, mut failures) = (Instant::now(), 0);
    loop {
        let process = *current.borrow();
        process.ended().await;
        if let Some(next) = running(data_dir) {
            current.send_replace(next);
            continue;
        }
        tracing::warn!(pid = process.pid, "the balancer has died: starting another");
        failures = if since.elapsed() < TOO_SHORT {
            failures + 1
        } else {
            0
        };
        if failures > ATTEMPTS {
            tokio::time::sleep(TOO_SHORT).await;
        }
        since = Instant::now();
        if claim.is_none() {
            claim = network.claim().unwrap_or_default();
        }
        match start(data_dir, claim.as_ref()) {
            Ok(process) => {
                current.send_replace(process);
            }
            Err(error) => tracing::error!("cannot start the balancer: {error:#}"),
        }
    }
}

/// Puts a new process of our program in the balancer's place. On an error the old one serves on.
pub fn replace(data_dir: &DataDir, old: ProcessId) -> anyhow::Result<ProcessId> {
    let new = spawn(data_dir, None)?;
    let deadline = Instant::now() + REPLACE_LIMIT;
    while Instant::now() < deadline && !new.wait(GLANCE) {
        if !old.is_alive() {
            return Ok(new);
        }
    }
    new.signal(Signal::SIGKILL);
    bail!(
        "the new balancer did not take over from pid {}, which goes on: {} says why",
        old.pid,
        log(data_dir).display()
    )
}

/// Whether a process runs the same file as we do.
fn is_our_program(process: ProcessId) -> bool {
    // These links lead to the files themselves, wherever they are now and even if they have been removed.
    let identity = |process: &str| {
        let file = fs::metadata(Path::new("/proc").join(process).join("exe")).ok()?;
        Some((
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
        ))
    };
    identity(&process.pid.to_string()) == identity("self")
}

/// Whether the balancer looks for the API where it is now.
fn knows_our_port(data_dir: &DataDir) -> anyhow::Result<bool> {
    let port = api_port(data_dir)?;
    Ok(Note::read(data_dir).is_some_and(|note| note.api_port == port))
}

/// Starts the balancer where there is none, and notes its pid.
fn start(data_dir: &DataDir, claim: Option<&OwnedFd>) -> anyhow::Result<ProcessId> {
    let api_port = api_port(data_dir)?;
    let process = spawn(data_dir, claim)?;
    if let Err(error) = (Note { process, api_port }).write(data_dir) {
        process.signal(Signal::SIGKILL);
        return Err(error);
    }
    Ok(process)
}

/// Starts a balancer's process, which keeps the network claim as its standard input.
fn spawn(data_dir: &DataDir, claim: Option<&OwnedFd>) -> anyhow::Result<ProcessId> {
    make_folder(data_dir)?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log(data_dir))?;
    let stdin = match claim {
        Some(claim) => Stdio::from(claim.try_clone()?),
        None => Stdio::null(),
    };
    let name = std::env::current_exe()?;
    // Our own program, even if its file has been replaced by that of another version.
    let program = if name.exists() {
        name.as_path()
    } else {
        Path::new("/proc/self/exe")
    };
    let mut child = std::process::Command::new(program)
        .arg0(&name)
        .args(["balancer", "run", "--data-dir"])
        .arg(data_dir.root())
        .stdin(stdin)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the balancer")?;
    let process = ProcessId::of(i32::try_from(child.id())?).context("the balancer died as it started")?;
    // Reaps it, so that `ended` sees it go.
    std::thread::spawn(move || child.wait());
    Ok(process)
}

fn make_folder(data_dir: &DataDir) -> anyhow::Result<()> {
    let folder = data_dir.balancer();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))
}

fn log(data_dir: &DataDir) -> PathBuf {
    data_dir.balancer().join("log")
}
