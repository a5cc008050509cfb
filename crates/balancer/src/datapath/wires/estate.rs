//! What is passed on of a connection's two ends when another process takes it over.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Leg, Wires};
use crate::datapath::backend::Lease;
use crate::datapath::core::Core;
use crate::datapath::counters::Tally;
use crate::datapath::held::Held;
use crate::datapath::socket::{INTEREST, Socket, SocketEstate};
use crate::datapath::table::Endpoint;
use crate::datapath::worker::{Side, token};

/// The state of the two ends, beside their sockets. Times are those of the machine's clock, so they hold everywhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WiresEstate {
    client: SocketEstate,
    pub leg: Option<LegEstate>,
    to_backend: Held,
    to_client: Held,
    leave: bool,
    give_up: u64,
    not_before: u64,
    deadline: u64,
    asking: bool,
}

/// The state of a connection to a backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LegEstate {
    /// The backend.
    pub endpoint: Endpoint,
    socket: SocketEstate,
    connected: bool,
    used: bool,
    heard: bool,
    idle_since: u64,
}

/// The sockets of a connection that was passed on.
pub struct Ends {
    pub client: OwnedFd,
    /// There is one if the state has one.
    pub leg: Option<(OwnedFd, Lease)>,
}

impl Wires {
    /// The state, and the sockets: the client's and, if there is one, the backend's.
    pub fn estate(&self) -> (WiresEstate, Vec<BorrowedFd<'_>>) {
        let leg = self.leg.as_ref().map(|leg| LegEstate {
            endpoint: leg.lease.backend().endpoint(),
            socket: leg.socket.estate(),
            connected: leg.connected,
            used: leg.used,
            heard: leg.heard,
            idle_since: leg.idle_since,
        });
        let estate = WiresEstate {
            client: self.client.estate(),
            leg,
            to_backend: self.to_backend.clone(),
            to_client: self.to_client.clone(),
            leave: self.leave,
            give_up: self.give_up,
            not_before: self.not_before,
            deadline: self.deadline,
            asking: self.asking,
        };
        let legs = self.leg.iter().map(|leg| leg.socket.as_fd());
        (estate, [self.client.as_fd()].into_iter().chain(legs).collect())
    }

    /// A connection that was passed on, as it was.
    ///
    /// # Errors
    /// The system cannot watch its sockets.
    pub fn inherited(
        estate: WiresEstate,
        ends: Ends,
        (listener, clients): (u32, Arc<Tally>),
        key: u32,
        core: &mut Core,
    ) -> Result<Self, Errno> {
        let generation = core.next_generation();
        epoll::add(
            &core.epoll,
            &ends.client,
            token(key, Side::Client, generation),
            INTEREST,
        )?;
        let client = Socket::inherited(ends.client, estate.client);
        let mut wires = Self::new(client, listener, key, generation, clients);
        if let (Some((fd, lease)), Some(leg)) = (ends.leg, estate.leg) {
            let generation = core.next_generation();
            epoll::add(&core.epoll, &fd, token(key, Side::Backend, generation), INTEREST)?;
            wires.leg = Some(Leg {
                socket: Socket::inherited(fd, leg.socket),
                lease,
                generation,
                connected: leg.connected,
                used: leg.used,
                heard: leg.heard,
                idle_since: leg.idle_since,
            });
        }
        wires.to_backend = estate.to_backend;
        wires.to_client = estate.to_client;
        wires.leave = estate.leave;
        wires.give_up = estate.give_up;
        wires.not_before = estate.not_before;
        wires.asking = estate.asking;
        wires.wake_at(core, estate.deadline);
        Ok(wires)
    }
}
