//! One balancer takes over from another, and nobody notices.
//!
//! A balancer listens at a Unix socket for its heir: a process of the same user, for the folder is his alone. The heir has
//! read the API already, so it can serve at once. In this order, on one connection:
//!
//! 1. The heir says [`Message::Hello`]; if the protocol is another, or now is a bad time, it gets [`Message::Refused`].
//! 2. The balancer begins no write to the API any more, waits for those under way, and stops its threads where they are.
//! 3. It gives everything: files to be held open ([`Message::Keepsake`]), listening sockets ([`Message::Listener`]) with
//!    what waits in them, what it has told the API of each pod ([`Message::Pods`]), and every connection with its sockets
//!    and its state ([`Message::Connection`]), HTTP in mid-message and opaque ones as well; then [`Message::End`].
//! 4. The heir has looked at nothing but the messages so far. It makes itself known as the balancer, says
//!    [`Message::Commit`], and serves: tables from the API, connections where they were.
//! 5. The balancer that hears `Commit` ends, closing its copies of the sockets. One that hears none in time, or finds the
//!    heir gone, closes its ears, and if nothing was said before that it goes on where it stopped.
//!
//! Whether `Commit` was said is the one thing that decides, and both sides find the same: after the ears are closed it
//! cannot be said any more. So at each instant one process serves and one counts connections, there is no time of two
//! balancers, and until the last step whatever fails costs a moment's pause and nothing else.
//!
//! What must never happen: the old balancer shutting down a socket that it shares (closing its own copy is all), or
//! either side touching a connection that may be the other's.
//!
//! UDP is not part of it: the heir opens sockets of its own beside the old ones, and sessions begin anew, so datagrams
//! under way at that moment may be lost. What is remembered for session affinity begins anew as well; most clients
//! get the same pod again, because it is ranked by a hash of the two.
//!
//! A crash is another matter, for connections die with their process. But listening sockets need not: the server holds
//! copies of them ([`Spare`]) and gives them, by the same messages, to the balancer that it starts next, so that meanwhile
//! clients wait instead of being refused.

mod channel;
mod give;
mod spare;
mod take;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::datapath::ConnectionEstate;
use crate::sync::PodEstate;

pub use channel::{Channel, ChannelError};
pub use give::{Heir, Offer, give, greet};
pub use spare::Spare;
pub use take::{Estate, find, take};

/// The version of all this, [`ConnectionEstate`] and [`PodEstate`] included: to be raised with each change that the
/// balancer before it cannot read.
const PROTOCOL: u32 = 1;

/// How long threads may stand still for a handover.
pub const STANDSTILL: Duration = Duration::from_secs(3);

/// How long an heir waits for everything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said in a handover.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The first word of whoever wants something.
    Hello {
        /// The version of the protocol.
        protocol: u32,
        /// What is wanted.
        wants: Wants,
    },
    /// There will be no handover.
    Refused {
        /// Why, for people.
        why: String,
    },
    /// A file to be held open, and to be given to the next one.
    Keepsake,
    /// A listening socket.
    Listener {
        /// Its address.
        addr: SocketAddr,
    },
    /// This address is not listened on any more.
    Gone {
        /// The address.
        addr: SocketAddr,
    },
    /// What the API has been told of the pods.
    Pods(Vec<PodEstate>),
    /// A connection: the client's socket, and the backend's if there is one.
    Connection(Box<ConnectionEstate>),
    /// That was all.
    End,
    /// The heir is the balancer from now on.
    Commit,
}

/// What one who says hello wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wants {
    /// To be the balancer.
    Everything,
    /// Copies of the listening sockets, now and whenever they change.
    Listeners,
}

/// Why a handover did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The other process could not be spoken with.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The other process refused.
    #[error("the other balancer refused: {0}")]
    Refused(String),
    /// A program of another version.
    #[error("the other balancer is of another version (protocol {0}, and ours is {PROTOCOL})")]
    Version(u32),
    /// A message came that has no place there.
    #[error("the other balancer does not keep to the protocol")]
    Unexpected,
}
