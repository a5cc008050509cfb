//! Stops every pod of a data folder when no agent is there to do it: for `coracle down`.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::keeper::protocol::Request;
use crate::sandbox::launch;
use crate::sandbox::link::SocketPath;
use crate::sandbox::{self, Place};

/// Beyond the grace, the time that keepers have to kill what is left, to write it down and to end.
const RESERVE: Duration = Duration::from_secs(3);

/// Asks every keeper to stop its pod, and waits. What is left after `grace` is killed, and so is what lost its keeper.
/// The pods' folders stay: the next agent finds in them how the pods ended.
pub fn stop_all(data_dir: &Path, grace: Duration) -> io::Result<()> {
    let nodes = match std::fs::read_dir(data_dir.join("nodes")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        nodes => nodes?,
    };
    let names = nodes
        .flatten()
        .map(|node| node.file_name().to_string_lossy().into_owned());
    let pods: Vec<(PathBuf, Place)> = names
        .flat_map(|node| sandbox::existing(&sandbox::pods_dir(data_dir, &node)))
        .collect();
    let deadline = Instant::now() + grace + RESERVE;
    // All are asked before any is waited for.
    let asked: Vec<_> = pods
        .into_iter()
        .map(|(dir, place)| (ask(&dir, grace), dir, place))
        .collect();
    thread::scope(|scope| {
        for (keeper, dir, place) in asked {
            scope.spawn(move || {
                if let Err(error) = keeper.and_then(|keeper| wait(keeper, deadline)) {
                    tracing::info!(dir = %dir.display(), %error, "no keeper, or one that does not end");
                    launch::clear(&dir, &place.uid);
                }
            });
        }
    });
    Ok(())
}

fn ask(dir: &Path, grace: Duration) -> io::Result<UnixStream> {
    let socket = SocketPath::of(dir)?;
    let mut keeper = UnixStream::connect(socket.path())?;
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let mut line = serde_json::to_vec(&Request::Exit { grace_ms })?;
    line.push(b'\n');
    keeper.write_all(&line)?;
    Ok(keeper)
}

/// Waits until the keeper ends, which closes the connection.
fn wait(mut keeper: UnixStream, deadline: Instant) -> io::Result<()> {
    let mut data = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        keeper.set_read_timeout(Some(left))?;
        match keeper.read(&mut data) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
