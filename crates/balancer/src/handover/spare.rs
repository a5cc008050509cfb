//! Copies of a balancer's listening sockets, in another process.
//!
//! A socket listens as long as anybody has it open. So while a balancer that crashed is being replaced, clients are not
//! refused: their connections wait in the accept queues of the copies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Channel, HandoverError, Message, PATIENCE, PROTOCOL, Wants, greet};
use crate::status::Near;

/// Between attempts to reach a balancer.
const RETRY: Duration = Duration::from_millis(100);

/// Copies of the listening sockets of whoever is the balancer.
#[derive(Debug, Default)]
pub struct Spare {
    sockets: Mutex<BTreeMap<SocketAddr, Arc<OwnedFd>>>,
}

impl Spare {
    /// Follows the balancer that listens at `handover`, and those after it, and gives what it has to a balancer that asks
    /// at `door`. Two threads do it, which end with the process: neither can be interrupted while it waits.
    ///
    /// # Errors
    /// The system gives no Unix socket.
    pub fn start(handover: PathBuf, door: &Path, stop: CancellationToken) -> std::io::Result<Arc<Self>> {
        let near = Near::to(door)?;
        // What an earlier process has left.
        let _ = std::fs::remove_file(near.path());
        let door = UnixListener::bind(near.path())?;
        let spare = Arc::new(Self::default());
        let (following, giving, stopped) = (spare.clone(), spare.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stop.is_cancelled() {
                if let Err(error) = following.follow(&handover) {
                    tracing::debug!(%error, "the balancer's listening sockets");
                }
                std::thread::sleep(RETRY);
            }
        });
        std::thread::spawn(move || {
            for stream in door.incoming() {
                if stopped.is_cancelled() {
                    return;
                }
                let given = stream
                    .map_err(|error| HandoverError::Channel(error.into()))
                    .and_then(greet)
                    .and_then(|(channel, _)| giving.give(&channel));
                if let Err(error) = given {
                    tracing::warn!(%error, "cannot give the listening sockets to a new balancer");
                    std::thread::sleep(RETRY);
                }
            }
        });
        Ok(spare)
    }

    /// Closes all copies.
    pub fn forget(&self) {
        self.sockets.lock().clear();
    }

    /// Keeps up with one balancer, until it ends; what it had then stays.
    fn follow(&self, handover: &Path) -> Result<(), HandoverError> {
        let channel = Channel::connect(handover, PATIENCE)?;
        let hello = Message::Hello {
            protocol: PROTOCOL,
            wants: Wants::Listeners,
        };
        channel.send(&hello, &[])?;
        let channel = channel.patient()?;
        let mut sockets = BTreeMap::new();
        loop {
            let (message, files) = channel.receive()?;
            match message {
                Message::Listener { addr } => {
                    sockets.extend(files.into_iter().map(|file| (addr, Arc::new(file))));
                }
                Message::Gone { addr } => {
                    sockets.remove(&addr);
                }
                Message::End => self.sockets.lock().clone_from(&sockets),
                Message::Refused { why } => return Err(HandoverError::Refused(why)),
                _ => return Err(HandoverError::Unexpected),
            }
        }
    }

    fn give(&self, channel: &Channel) -> Result<(), HandoverError> {
        let sockets = self.sockets.lock().clone();
        for (addr, socket) in &sockets {
            channel.send(&Message::Listener { addr: *addr }, &[socket.as_fd()])?;
        }
        channel.send(&Message::End, &[])?;
        match channel.receive()?.0 {
            Message::Commit => Ok(()),
            _ => Err(HandoverError::Unexpected),
        }
    }
}
