//! The heir's side of a handover.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::{Channel, HandoverError, Message, PATIENCE, PROTOCOL, Wants};
use crate::datapath::{ConnectionEstate, Datapath};
use crate::sync::PodEstate;

/// Everything of another balancer, which stands still until it is told that we serve.
#[derive(Debug)]
pub struct Estate {
    channel: Channel,
    listeners: Vec<(SocketAddr, OwnedFd)>,
    connections: Vec<(ConnectionEstate, Vec<OwnedFd>)>,
    /// Files to be held open.
    pub keepsakes: Vec<OwnedFd>,
    /// What it has told the API.
    pub pods: Vec<PodEstate>,
}

/// Asks the balancer that listens at the handover socket for everything, or whoever keeps copies of the listening sockets.
/// `None`: nobody has anything.
///
/// # Errors
/// There is a balancer, or must be one, and it does not hand over: it goes on.
pub fn find(handover: &Path, spare: Option<&Path>, must: bool) -> Result<Option<Estate>, HandoverError> {
    match Channel::connect(handover, PATIENCE) {
        Ok(channel) => return take(channel).map(Some),
        Err(error) if must => return Err(error.into()),
        Err(_) => {}
    }
    let left = spare
        .and_then(|path| Channel::connect(path, PATIENCE).ok())
        .map(take);
    match left {
        Some(Ok(estate)) => Ok(Some(estate)),
        Some(Err(error)) => {
            tracing::warn!(%error, "cannot have the listening sockets that were kept: opening new ones");
            Ok(None)
        }
        None => Ok(None),
    }
}

/// Asks for everything.
///
/// # Errors
/// See [`HandoverError`]. The other balancer goes on then.
pub fn take(channel: Channel) -> Result<Estate, HandoverError> {
    let hello = Message::Hello {
        protocol: PROTOCOL,
        wants: Wants::Everything,
    };
    channel.send(&hello, &[])?;
    let mut estate = Estate {
        channel,
        listeners: Vec::new(),
        connections: Vec::new(),
        keepsakes: Vec::new(),
        pods: Vec::new(),
    };
    loop {
        let (message, files) = estate.channel.receive()?;
        match message {
            Message::Keepsake => estate.keepsakes.extend(files),
            Message::Listener { addr } => {
                let sockets = files.into_iter().map(|file| (addr, file));
                estate.listeners.extend(sockets);
            }
            Message::Pods(pods) => estate.pods = pods,
            Message::Connection(state) => estate.connections.push((*state, files)),
            Message::End => return Ok(estate),
            Message::Refused { why } => return Err(HandoverError::Refused(why)),
            Message::Hello { .. } | Message::Gone { .. } | Message::Commit => {
                return Err(HandoverError::Unexpected);
            }
        }
    }
}

impl Estate {
    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Tells the other balancer that we serve from now on, and takes its sockets and connections. No table may have been
    /// applied yet.
    ///
    /// # Errors
    /// It does not wait any more: it goes on, and we must not begin.
    pub fn commit(self, datapath: &mut Datapath) -> Result<(), HandoverError> {
        self.channel.send(&Message::Commit, &[])?;
        for (addr, socket) in self.listeners {
            datapath.inherit(addr, socket);
        }
        for (state, files) in self.connections {
            datapath.adopt(state, files);
        }
        Ok(())
    }
}
