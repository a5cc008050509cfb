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
use crate::keeper::protocol::{Attempt, Exit, Failure, Identity};
use crate::keeper::{IDENTITY, cgroup, record};
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
    let mut unfinished = record::attempts(pod);
    unfinished.retain(|attempt| attempt.exit.is_none());
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
    cgroup::remove_all(pod);
    for mut attempt in unfinished {
        give_up(pod, &mut attempt);
    }
}

/// The attempts that are on record. One that has not ended there and that no keeper knows has been lost, though a full disk
/// may have kept that, or its end, from the record.
pub fn attempts(pod: &Path, link: Option<&Link>) -> Vec<Attempt> {
    let mut attempts = record::attempts(pod);
    let kept = link.map(Link::state).unwrap_or_default().containers;
    for attempt in attempts.iter_mut().filter(|attempt| attempt.exit.is_none()) {
        let is_kept = kept
            .iter()
            .any(|kept| kept.container == attempt.container && kept.attempt == attempt.attempt);
        // A keeper may just have started it.
        if !is_kept && (link.is_none() || !process::is_alive(attempt.pid, attempt.started)) {
            give_up(pod, attempt);
        }
    }
    attempts
}

/// Puts it on record that nobody saw an attempt's end.
fn give_up(pod: &Path, attempt: &mut Attempt) {
    attempt.exit = Some(Exit {
        code: LOST_CODE,
        finished_ms: Timestamp::now().as_millisecond(),
        failure: Some(Failure::Lost),
    });
    let path = record::file(pod, &attempt.container, attempt.attempt, "json");
    if let Err(error) = record::write(&path, attempt) {
        tracing::warn!(path = %path.display(), %error, "cannot write a record");
    }
}

fn kill_all(pids: &[i32]) {
    pids.iter().for_each(|&pid| process::signal(pid, Signal::SIGKILL));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_attempt_that_no_keeper_knows_is_lost_though_the_disk_is_full() {
        let pod = tempfile::tempdir().unwrap();
        let attempt = |attempt, exit| Attempt {
            container: "web".into(),
            attempt,
            pid: 0,
            started: 0,
            started_ms: 1000,
            exit,
        };
        let ended = Exit {
            code: 0,
            finished_ms: 2000,
            failure: None,
        };
        let ended = attempt(0, Some(ended));
        record::prepare(pod.path(), "web", 0).unwrap();
        let path = |attempt| record::file(pod.path(), "web", attempt, "json");
        record::write(&path(0), &ended).unwrap();
        record::write(&path(1), &attempt(1, None)).unwrap();
        // What the record is written to first cannot be made, as on a full disk.
        let in_the_way = path(1).with_extension("new");
        fs::create_dir(&in_the_way).unwrap();
        let known = attempts(pod.path(), None);
        assert_eq!(known[0], ended);
        assert_eq!(
            known[1].exit.as_ref().and_then(|exit| exit.failure.clone()),
            Some(Failure::Lost)
        );
        assert_eq!(record::attempts(pod.path())[1].exit, None);

        fs::remove_dir(in_the_way).unwrap();
        let known = attempts(pod.path(), None);
        assert_eq!(record::attempts(pod.path()), known);
    }
}
