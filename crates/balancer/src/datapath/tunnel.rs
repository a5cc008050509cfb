//! An opaque connection: bytes both ways, each end's half-close passed on, until both are closed.

use serde::{Deserialize, Serialize};

use super::backend::End;
use super::connection::{Ending, Step};
use super::core::Core;
use super::socket::Received;
use super::wires::{Broken, Wires};

/// An opaque connection. It is never moved once a byte has passed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tunnel {
    /// The backend takes no more bytes: what the client still sends is dropped, what the backend said is delivered.
    deaf: bool,
}

impl Tunnel {
    /// Makes the connection opaque, beginning with these bytes of the client. A backend connection on which nothing is
    /// under way must be as fresh for them as for a request.
    pub fn begin(wires: &mut Wires, core: &mut Core, first: &[u8]) -> Step {
        let mut tunnel = Self { deaf: false };
        if wires.leg.is_some() && wires.is_unused() && !wires.is_fresh(core) {
            wires.drop_leg(End::Finished);
        }
        tunnel.send(wires, core, first);
        Step::Opaque(tunnel)
    }

    fn send(&mut self, wires: &mut Wires, core: &mut Core, bytes: &[u8]) {
        if !self.deaf && matches!(wires.forward(core, bytes), Err(Broken)) {
            self.deaf = true;
        }
    }

    pub fn step(&mut self, wires: &mut Wires, core: &mut Core, scratch: &mut [u8]) -> Step {
        wires.leave_unused();
        if !wires.supply(core) {
            return if wires.given_up(core) {
                Step::Abort
            } else {
                Step::Blocked
            };
        }
        let answered = match self.pull_backend(wires, core, scratch) {
            Ok(progress) => progress,
            Err(step) => return step,
        };
        let asked = match self.pull_client(wires, core, scratch) {
            Ok(progress) => progress,
            Err(step) => return step,
        };
        if wires.leg.is_none() || answered || asked {
            Step::Progress
        } else {
            Step::Blocked
        }
    }

    /// One turn of the way back. True if something was done.
    fn pull_backend(&mut self, wires: &mut Wires, core: &mut Core, scratch: &mut [u8]) -> Result<bool, Step> {
        let flushed = wires.flush_client().map_err(|_| Step::Abort)?;
        if !wires.to_client.is_empty() {
            return Ok(flushed);
        }
        match wires.receive(core, scratch) {
            Received::Bytes(count) => {
                // A read that fills the buffer has left some.
                let last = count < scratch.len() && wires.is_backend_ending();
                wires.deliver(&scratch[..count], last).map_err(|_| Step::Abort)?;
                return Ok(true);
            }
            Received::Broken if wires.is_unused() => {
                wires.refused(core);
                return Ok(true);
            }
            Received::Broken => {
                wires.broken(core, End::Cut);
                return Err(Ending::by_reset());
            }
            Received::Nothing | Received::End => {}
        }
        let ended = wires.leg.as_ref().is_some_and(|leg| leg.socket.is_ended());
        if ended && self.deaf {
            // It neither says nor takes anything any more, and the client still has something to say.
            wires.drop_leg(End::Cut);
            return Err(Ending::gracefully());
        }
        if ended && !wires.client.is_shut() {
            if wires.is_overdue() {
                wires.drop_leg(End::Cut);
                return Err(Ending::gracefully());
            }
            if wires.leg.as_ref().is_some_and(|leg| leg.socket.is_shut()) {
                // Both ways have ended: closing says so.
                return Err(Step::Close);
            }
            wires.client.shut();
            return Ok(true);
        }
        Ok(flushed)
    }

    /// One turn of the way there. True if something was done.
    fn pull_client(&mut self, wires: &mut Wires, core: &mut Core, scratch: &mut [u8]) -> Result<bool, Step> {
        if wires.client.has_gone() {
            return Err(Step::Abort);
        }
        let flushed = match wires.flush_backend(core) {
            Ok(flushed) => flushed,
            Err(Broken) => {
                self.deaf = true;
                wires.to_backend.clear();
                true
            }
        };
        if !wires.to_backend.is_empty() {
            return Ok(flushed);
        }
        match wires.client.receive(scratch) {
            Received::Bytes(count) => {
                self.send(wires, core, &scratch[..count]);
                return Ok(true);
            }
            Received::Broken => return Err(Step::Abort),
            Received::Nothing | Received::End => {}
        }
        if wires.client.is_ended() {
            wires.await_end(core);
        }
        let ended = wires.client.is_ended() && wires.to_backend.is_empty();
        if ended && wires.client.is_shut() {
            return Err(Step::Close);
        }
        Ok((ended && wires.shut_backend()) || flushed)
    }
}
