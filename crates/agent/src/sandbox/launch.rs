//! Starts a keeper, or finds the one that is there.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::link::{Link, SocketPath};
use crate::keeper::protocol::{Exit, Failure, Identity};
use crate::keeper::{IDENTITY, record};
use crate::process;

/// Exit code of a container whose end nobody saw, as upstream reports it.
const LOST_CODE: i32 = 137;

/// Starts the keeper of a pod's folder and connects to it. `program` is this very program.
pub async fn launch(program: &Path, pod: &Path, uid: &str) -> io::Result<Link> {
    let socket = SocketPath::of(pod)?;
    match std::fs::remove_file(socket.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Bound before the keeper runs, so that the connection need not wait for it.
    let listener = UnixListener::bind(socket.path())?;
    std::fs::set_permissions(socket.path(), std::fs::Permissions::from_mode(0o600))?;
    let messages = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(pod.join("keeper.log"))?;
    let mut child = tokio::process::Command::new(program)
        .arg("keeper")
        .arg("--dir")
        .arg(pod)
        .env(process::POD_MARK, uid)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(messages)
        .spawn()?;
    let link = Link::connect(pod).await;
    if link.is_err() {
        // The next attempt starts another one, which must be the only one. That it has ended already is no harm.
        let _ = child.start_kill();
    }
    tokio::spawn(async move { child.wait().await });
    link
}

/// Whether the keeper that was here last still runs.
pub fn is_kept(pod: &Path) -> bool {
    record::read::<Identity>(&pod.join(IDENTITY))
        .is_some_and(|keeper| process::is_alive(keeper.pid, keeper.started))
}

/// Connects to the keeper of a pod's folder if it is well. Otherwise nothing of it is left when this returns, and
/// containers that nobody saw end are on record as lost.
pub async fn find(pod: &Path, uid: &str) -> Option<Link> {
    match Link::connect(pod).await {
        Ok(link) => return Some(link),
        Err(error) => tracing::info!(pod = %pod.display(), %error, "keeper does not answer"),
    }
    let (pod, uid) = (pod.to_owned(), uid.to_owned());
    // Reading all of /proc takes its time.
    let cleared = tokio::task::spawn_blocking(move || clear(&pod, &uid)).await;
    if let Err(error) = cleared {
        tracing::warn!(%error, "cannot clear a lost keeper away");
    }
    None
}

/// Kills a keeper that does not answer and everything of its pod.
pub fn clear(pod: &Path, uid: &str) {
    let keeper = record::read::<Identity>(&pod.join(IDENTITY));
    if let Some(keeper) = &keeper
        && process::is_alive(keeper.pid, keeper.started)
    {
        process::signal(keeper.pid, Signal::SIGKILL);
    }
    let unfinished: Vec<_> = record::attempts(pod)
        .into_iter()
        .filter(|attempt| attempt.exit.is_none())
        .collect();
    // A program that sets its title, such as nginx, has overwritten the mark that is looked for below.
    for main in &unfinished {
        if process::is_alive(main.pid, main.started) {
            kill_all(&process::tree(main.pid));
        }
        if let Some(keeper) = &keeper {
            kill_all(&process::group(main.pid, main.started, keeper.pid));
            // One in a terminal leads a session of its own.
            kill_all(&process::group(main.pid, main.started, main.pid));
        }
    }
    process::kill_marked(uid);
    for mut attempt in unfinished {
        attempt.exit = Some(Exit {
            code: LOST_CODE,
            signal: None,
            finished_ms: Timestamp::now().as_millisecond(),
            failure: Some(Failure::Lost),
        });
        let path = record::file(pod, &attempt.container, attempt.attempt, "json");
        if let Err(error) = record::write(&path, &attempt) {
            tracing::warn!(path = %path.display(), %error, "cannot write a record");
        }
    }
}

fn kill_all(pids: &[i32]) {
    pids.iter().for_each(|&pid| process::signal(pid, Signal::SIGKILL));
}
