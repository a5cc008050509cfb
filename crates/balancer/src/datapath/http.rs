//! An HTTP/1 connection: handled message by message, so that it can change its backend in between.
//!
//! Requests go to the backend one at a time; what a client sends ahead waits here. Bytes are never changed. Whatever is
//! not understood makes the connection opaque instead of being refused: the server is the one to say 400, in its own
//! words, and if it understands more than we do it may. The client can harm nobody but itself that way, for nobody else
//! ever uses its backend connection.
//!
//! A head must be complete within [`Times::head`](super::core::Times::head). A later one becomes opaque, too: from then
//! on the server sees the client's bytes as they come, and its own limits apply to them. A client that says nothing at all
//! is the server's from the beginning, and one that is idle between two messages may be so for ever.

use serde::{Deserialize, Serialize};

use super::backend::End;
use super::connection::{Ending, Step};
use super::core::Core;
use super::http1::{Exchange, MAX_HEAD, Next, Parsed, request};
use super::replay::Replay;
use super::socket::Received;
use super::tunnel::Tunnel;
use super::wires::{Broken, Wires};

/// The state of an HTTP/1 connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Http {
    /// The message pair under way; `None` between messages.
    exchange: Option<Exchange>,
    /// Bytes of the client that are not part of it: an incomplete head, pipelined requests.
    ahead: Vec<u8>,
    /// So many of them are the beginning of a head without its end.
    searched: usize,
    /// When that head has to be complete, in milliseconds on the datapath's clock; 0: none has begun.
    #[serde(default)]
    head_by: u64,
    /// The request under way, until a byte of the answer has come.
    replay: Replay,
    /// When the last byte of the request went out, in microseconds on the datapath's clock.
    asked: u64,
    /// The backend takes no more of the request: the rest is dropped, what the backend said is delivered.
    deaf: bool,
}

/// What became of bytes of the client.
enum Taken {
    /// So many belong to the message under way and went to the backend. None: it takes more bytes, a backend, or the
    /// end of the exchange under way before more can go out.
    Bytes(usize),
    /// They are not understood.
    Opaque,
}

impl Http {
    /// A connection whose client has said this much.
    pub fn new(ahead: Vec<u8>) -> Self {
        Self {
            exchange: None,
            ahead,
            searched: 0,
            head_by: 0,
            replay: Replay::default(),
            asked: 0,
            deaf: false,
        }
    }

    pub fn step(&mut self, wires: &mut Wires, core: &mut Core, scratch: &mut [u8]) -> Step {
        let Ok(mut progress) = wires.flush_client() else {
            return Step::Abort;
        };
        wires.leave_unused();
        if self.exchange.is_none() && self.ahead.is_empty() && wires.leg.is_none() && !wires.is_routed(core) {
            // Its Service, or the port, is gone: an end between two messages, not a reset of the next request.
            return Ending::gracefully();
        }
        if self.exchange.is_some() {
            if !wires.supply(core) {
                return if wires.given_up(core) {
                    Step::Abort
                } else {
                    self.watch_client(wires, scratch)
                };
            }
            progress |= self.flush_backend(wires, core);
            if let Some(step) = self.turn_over(wires, core) {
                return step;
            }
        }
        // Answers before requests: a stale answer or a close must be seen before the next request goes out.
        match self.pull_backend(wires, core, scratch) {
            Step::Blocked => {}
            Step::Progress => progress = true,
            other => return other,
        }
        match self.pull_client(wires, core, scratch) {
            Step::Blocked if progress => Step::Progress,
            step => step,
        }
    }

    fn flush_backend(&mut self, wires: &mut Wires, core: &mut Core) -> bool {
        wires.flush_backend(core).unwrap_or_else(|Broken| {
            // Why it broke is read from the other direction, behind what the backend still had to say.
            self.deaf = true;
            wires.to_backend.clear();
            true
        })
    }

    /// While a request waits for a backend: has the client gone?
    fn watch_client(&mut self, wires: &mut Wires, scratch: &mut [u8]) -> Step {
        if self.ahead.len() > MAX_HEAD {
            return Step::Blocked;
        }
        match wires.client.receive(scratch) {
            Received::Bytes(count) => self.ahead.extend_from_slice(&scratch[..count]),
            Received::Broken => return Step::Abort,
            Received::Nothing | Received::End => {}
        }
        Step::Blocked
    }

    fn pull_backend(&mut self, wires: &mut Wires, core: &mut Core, scratch: &mut [u8]) -> Step {
        if !wires.to_client.is_empty() {
            return Step::Blocked;
        }
        let received = wires.receive(core, scratch);
        let Some(exchange) = &mut self.exchange else {
            // Between messages a backend has nothing to say: it closes, or it sends what nobody asked for.
            if received == Received::Nothing {
                return Step::Blocked;
            }
            wires.drop_leg(End::Finished);
            return Step::Progress;
        };
        let count = match received {
            Received::Nothing => return Step::Blocked,
            Received::End | Received::Broken => {
                return self.backend_ended(wires, core, received == Received::End);
            }
            Received::Bytes(count) => count,
        };
        self.replay = Replay::default();
        let waits = exchange.awaits_response();
        let (used, next) = exchange.response(&scratch[..count]);
        if waits && !exchange.awaits_response() {
            wires.answered(core.micros.saturating_sub(self.asked));
        }
        // The next turn closes the connection then.
        let last = next != Next::Opaque && exchange.response_complete() && !exchange.persistent();
        if wires.deliver(&scratch[..used], last).is_err() {
            return Step::Abort;
        }
        if next == Next::Opaque {
            return self.opaque(wires, core);
        }
        // More than one answer to one request: that connection is not to be trusted with another.
        wires.leave |= used < count;
        Step::Progress
    }

    /// The backend has closed, or broken, the connection while messages were under way.
    fn backend_ended(&mut self, wires: &mut Wires, core: &mut Core, in_order: bool) -> Step {
        let in_order = in_order && !self.deaf;
        let Some(exchange) = &mut self.exchange else {
            return Step::Progress;
        };
        if exchange.response_complete() || (in_order && exchange.response_ended()) {
            wires.drop_leg(End::Finished);
            return Ending::gracefully();
        }
        if wires.is_unused() {
            wires.refused(core);
            return Step::Progress;
        }
        // A request that will never be complete helps nobody a second time.
        let abandoned = wires.client.is_ended() && self.ahead.is_empty() && !exchange.request_complete();
        let lost = abandoned || !wires.is_hopeful(core);
        if let Some(request) = self.replay.again().filter(|_| !lost) {
            self.deaf = false;
            wires.to_backend.clear();
            wires.to_backend.push(request);
            wires.asking_again(core);
            return Step::Progress;
        }
        wires.broken(core, End::Cut);
        if in_order {
            Ending::gracefully()
        } else {
            Ending::by_reset()
        }
    }

    /// If the exchange is complete: a boundary, or the end of the connection. A response that was complete before its
    /// request still waits for the rest of it, unless the backend has announced that it will close.
    fn turn_over(&mut self, wires: &mut Wires, core: &mut Core) -> Option<Step> {
        let exchange = self
            .exchange
            .as_ref()
            .filter(|exchange| exchange.response_complete())?;
        let asked = exchange.request_complete() && wires.to_backend.is_empty();
        if !exchange.persistent() {
            wires.drop_leg(End::Finished);
            let quiet = asked && self.ahead.is_empty() && !wires.client.is_readable();
            let done = quiet && wires.to_client.is_empty();
            return Some(if done { Step::Close } else { Ending::gracefully() });
        }
        if !asked {
            return None;
        }
        self.exchange = None;
        wires.at_boundary(core);
        Some(Step::Progress)
    }

    fn pull_client(&mut self, wires: &mut Wires, core: &mut Core, scratch: &mut [u8]) -> Step {
        if wires.client.has_gone() {
            return Step::Abort;
        }
        if !wires.to_backend.is_empty() {
            return Step::Blocked;
        }
        if self.has_more() {
            let ahead = std::mem::take(&mut self.ahead);
            let taken = self.take(wires, core, &ahead);
            self.ahead = ahead;
            match taken {
                Taken::Bytes(0) if wires.given_up(core) => return Step::Abort,
                Taken::Bytes(0) => {}
                Taken::Bytes(used) => {
                    self.ahead.drain(..used);
                    if self.ahead.is_empty() {
                        self.ahead = Vec::new();
                    }
                    return Step::Progress;
                }
                Taken::Opaque => return self.opaque(wires, core),
            }
        }
        if self.head_by != 0 {
            if core.now >= self.head_by {
                return self.opaque(wires, core);
            }
            wires.wake_by(core, self.head_by);
        }
        if self.ahead.len() > MAX_HEAD {
            return Step::Blocked;
        }
        match wires.client.receive(scratch) {
            Received::Bytes(count) => self.said(wires, core, &scratch[..count]),
            Received::Broken => Step::Abort,
            Received::Nothing | Received::End if wires.client.is_ended() => self.client_ended(wires, core),
            Received::Nothing | Received::End => Step::Blocked,
        }
    }

    /// Whether what waits can be more than the beginning of a head. A head is not looked at again for each of its bytes:
    /// it cannot have ended without another line's end.
    fn has_more(&self) -> bool {
        match &self.exchange {
            None if self.searched > 0 && self.ahead.len() <= MAX_HEAD => {
                self.ahead[self.searched..].contains(&b'\n')
            }
            _ => !self.ahead.is_empty(),
        }
    }

    /// The client has said more.
    fn said(&mut self, wires: &mut Wires, core: &mut Core, bytes: &[u8]) -> Step {
        // What waits already is looked at first, in the next step.
        let taken = if self.ahead.is_empty() {
            self.take(wires, core, bytes)
        } else {
            Taken::Bytes(0)
        };
        let used = if let Taken::Bytes(used) = taken { used } else { 0 };
        self.ahead.extend_from_slice(&bytes[used..]);
        if matches!(taken, Taken::Opaque) {
            self.opaque(wires, core)
        } else {
            Step::Progress
        }
    }

    /// Sends on what belongs to the request under way, or begins one.
    fn take(&mut self, wires: &mut Wires, core: &mut Core, bytes: &[u8]) -> Taken {
        let begun = match self.exchange {
            Some(_) => 0,
            None => match request(bytes) {
                Parsed::Partial if bytes.len() <= MAX_HEAD => {
                    self.searched = bytes.len();
                    if self.head_by == 0 {
                        self.head_by = core.now + core.times.head;
                    }
                    return Taken::Bytes(0);
                }
                Parsed::Partial | Parsed::Opaque => return Taken::Opaque,
                Parsed::Complete(head) => {
                    if !wires.is_fresh(core) {
                        wires.drop_leg(if wires.leave { End::Moved } else { End::Finished });
                    }
                    if !wires.supply(core) {
                        return Taken::Bytes(0);
                    }
                    self.begin(Exchange::new(&head));
                    wires.asking();
                    head.length
                }
            },
        };
        let Some(exchange) = &mut self.exchange else {
            return Taken::Bytes(0);
        };
        let Ok(body) = exchange.request(&bytes[begun..]) else {
            // The head is out of the way already if it was part of these bytes.
            return if begun == 0 {
                Taken::Opaque
            } else {
                self.forward(wires, core, &bytes[..begun])
            };
        };
        self.forward(wires, core, &bytes[..begun + body])
    }

    fn begin(&mut self, exchange: Exchange) {
        self.searched = 0;
        self.head_by = 0;
        self.replay = Replay::new(exchange.idempotent());
        self.deaf = false;
        self.exchange = Some(exchange);
    }

    fn forward(&mut self, wires: &mut Wires, core: &mut Core, bytes: &[u8]) -> Taken {
        self.asked = core.micros;
        self.replay.keep(bytes);
        if !self.deaf && matches!(wires.forward(core, bytes), Err(Broken)) {
            self.deaf = true;
        }
        Taken::Bytes(bytes.len())
    }

    /// The client has closed, or half-closed, and everything it said before has been read.
    fn client_ended(&mut self, wires: &mut Wires, core: &mut Core) -> Step {
        match (&self.exchange, self.ahead.is_empty()) {
            (None, true) => {
                wires.drop_leg(End::Finished);
                // The end of the last answer may be held back still.
                Ending::gracefully()
            }
            (None, false) if wires.is_waiting() => Step::Blocked,
            // An unfinished head.
            (None, false) => self.opaque(wires, core),
            // The rest of a request that has its answer already will never come.
            (Some(exchange), _) if exchange.response_complete() && !exchange.request_complete() => {
                wires.drop_leg(End::Finished);
                Ending::gracefully()
            }
            // Behind its last request a client's half-close is passed on, and the answer still comes, if it waits for it.
            (Some(_), is_last) => {
                wires.await_end(core);
                if is_last && wires.shut_backend() {
                    Step::Progress
                } else {
                    Step::Blocked
                }
            }
        }
    }

    /// From here on bytes are bytes.
    fn opaque(&mut self, wires: &mut Wires, core: &mut Core) -> Step {
        Tunnel::begin(wires, core, &std::mem::take(&mut self.ahead))
    }
}
