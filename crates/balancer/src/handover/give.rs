//! The balancer's side of a handover.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::{Channel, HandoverError, Message, PROTOCOL, STANDSTILL, Wants};
use crate::datapath::{Datapath, Give};
use crate::sync::PodEstate;

/// One who has connected, and what it wants.
pub type Heir = (Channel, Wants);

/// Hears what one who has connected wants.
///
/// # Errors
/// It says nothing, or speaks another version, and was told so.
pub fn greet(stream: UnixStream) -> Result<Heir, HandoverError> {
    let channel = Channel::over(stream, STANDSTILL)?;
    match channel.receive()?.0 {
        Message::Hello {
            protocol: PROTOCOL,
            wants,
        } => Ok((channel, wants)),
        Message::Hello { protocol, .. } => {
            let why = format!("it speaks protocol {PROTOCOL}, not {protocol}");
            channel.send(&Message::Refused { why }, &[])?;
            Err(HandoverError::Version(protocol))
        }
        _ => Err(HandoverError::Unexpected),
    }
}

/// What is given, beside the datapath's own.
pub struct Offer<'a> {
    /// Files to be held open.
    pub keepsakes: &'a [&'a OwnedFd],
    /// What the API has been told.
    pub pods: Vec<PodEstate>,
    /// How long the datapath may stand still for it.
    pub standstill: Duration,
}

/// Gives everything to an heir. When this returns without an error, the heir serves, and the datapath must end; else it
/// goes on as before.
///
/// # Errors
/// The heir did not take it all, or did not say so in time.
pub fn give(heir: Channel, datapath: &Datapath, offer: Offer<'_>) -> Result<(), HandoverError> {
    let heir = Arc::new(heir.within(offer.standstill)?);
    datapath.freeze();
    let given = all(&heir, datapath, offer).and_then(|()| match heir.receive()?.0 {
        Message::Commit => Ok(()),
        _ => Err(HandoverError::Unexpected),
    });
    if given.is_err() {
        if let Ok((Message::Commit, _)) = heir.last_word() {
            return Ok(());
        }
        datapath.thaw();
    }
    given
}

fn all(heir: &Arc<Channel>, datapath: &Datapath, offer: Offer<'_>) -> Result<(), HandoverError> {
    for keepsake in offer.keepsakes {
        heir.send(&Message::Keepsake, &[keepsake.as_fd()])?;
    }
    for (_, addr, listener) in datapath.listening() {
        heir.send(&Message::Listener { addr }, &[listener])?;
    }
    heir.send(&Message::Pods(offer.pods), &[])?;
    let to = heir.clone();
    let give: Give = Arc::new(move |estate, files| to.send(&Message::Connection(Box::new(estate)), files));
    datapath.give(&give)?;
    Ok(heir.send(&Message::End, &[])?)
}
