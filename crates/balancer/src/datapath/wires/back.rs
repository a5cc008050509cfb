//! The way back: what the backend says, to the client.
//!
//! Flows in: the backend's bytes, and what is known of its end. Flows out: the same bytes to the client's socket, or held back
//! until that takes them. It never ends a connection.

use rustix::io::Errno;

use super::Wires;
use crate::datapath::core::Core;
use crate::datapath::socket::Received;

impl Wires {
    /// Reads from the backend.
    pub fn receive(&mut self, core: &Core, scratch: &mut [u8]) -> Received {
        match &mut self.leg {
            Some(leg) => leg.receive(core.now, scratch),
            None => Received::Nothing,
        }
    }

    /// Sends bytes to the client, or holds them back. `last`: nothing follows but the end of the stream, at once.
    pub fn deliver(&mut self, bytes: &[u8], last: bool) -> Result<(), Errno> {
        let sent = match self.to_client.is_empty() {
            true if last => self.client.send_last(bytes)?,
            true => self.client.send(bytes)?,
            false => 0,
        };
        self.to_client.push(&bytes[sent..]);
        Ok(())
    }

    /// Sends what is held back for the client. True if something went out.
    pub fn flush_client(&mut self) -> Result<bool, Errno> {
        if self.to_client.is_empty() {
            return Ok(false);
        }
        let sent = self.client.send(self.to_client.pending())?;
        self.to_client.consume(sent);
        Ok(sent > 0)
    }

    /// Whether the backend has ended its stream, though bytes of it may wait to be read.
    pub fn is_backend_ending(&self) -> bool {
        self.leg.as_ref().is_some_and(|leg| leg.socket.is_ending())
    }

    /// Whether an end of the backend's stream would come too early for the client, because the backend's time is over.
    pub fn is_overdue(&self) -> bool {
        !self.client.is_ended() && self.backend().is_some_and(|backend| backend.is_overdue())
    }

    /// The head of the answer has come, so long after the request.
    pub fn answered(&self, microseconds: u64) {
        if let Some(leg) = &self.leg {
            leg.lease.tally().responded(microseconds);
        }
    }
}
