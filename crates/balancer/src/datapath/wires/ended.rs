//! A client that has ended its stream while an answer is under way: it waits, or it has gone for good.
//!
//! The two look alike. Flows out: after a while a question, by the system, to which the socket of one that has gone is
//! answered by an error. Never a limit on the wait itself: a half-closed client is answered however long that takes.

use super::Wires;
use crate::datapath::core::Core;

impl Wires {
    /// The client has ended its stream and is owed something by the backend. Most of these are done soon, and cost nothing.
    pub fn await_end(&mut self, core: &mut Core) {
        // Until then the timer is that of the attempt to connect.
        if !self.leg.as_ref().is_some_and(|leg| leg.connected) {
            return;
        }
        if self.ask_client == 0 {
            self.ask_client = core.now + core.times.ended;
        }
        if core.now >= self.ask_client {
            self.client.probe();
        } else {
            self.wake_by(core, self.ask_client);
        }
    }
}
