//! One connection: which phase it is in, and its way from one to the next.

use serde::{Deserialize, Serialize};

use super::backend::End;
use super::core::Core;
use super::held::Held;
use super::http::Http;
use super::http1::{Detected, detect};
use super::socket::Received;
use super::table::Protocol;
use super::tunnel::Tunnel;
use super::wires::Wires;

/// How often a connection on which nothing was said yet is opened anew after the backend closed it.
const SILENT_RECONNECTS: u8 = 2;
/// Turns of one connection before others get theirs.
const TURNS: usize = 16;

/// A client's connection.
pub struct Connection {
    pub wires: Wires,
    pub phase: Phase,
    /// Waits in the thread's queue to be run.
    pub queued: bool,
}

/// What is known of the conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Phase {
    Silent(Silent),
    Opaque(Tunnel),
    Http(Box<Http>),
    Ending(Ending),
}

/// What a phase's step led to.
pub enum Step {
    /// Nothing more to do until something happens.
    Blocked,
    /// Something was done; there may be more.
    Progress,
    /// From now on these are bytes.
    Opaque(Tunnel),
    /// From now on it is HTTP/1; these bytes of the client came first.
    Http(Vec<u8>),
    /// The client gets what is held back for it, then the end.
    End(Ending),
    /// Nothing is left to be done: close.
    Close,
    /// Reset both ends.
    Abort,
}

/// What becomes of a connection after it was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits for events.
    Keep,
    /// It has more to do, after others had their turn.
    Again,
    /// It is over.
    Over,
}

impl Connection {
    /// A connection just accepted.
    pub fn new(wires: Wires, protocol: Protocol) -> Self {
        let phase = match protocol {
            Protocol::Http1 => Phase::Http(Box::new(Http::new(Vec::new()))),
            Protocol::Detect => Phase::Silent(Silent::new(true)),
            // Connections there are none with UDP.
            Protocol::Opaque | Protocol::Udp => Phase::Silent(Silent::new(false)),
        };
        Self {
            wires,
            phase,
            queued: false,
        }
    }

    /// A connection of another process, in this phase.
    pub fn inherited(wires: Wires, phase: Phase) -> Self {
        Self {
            wires,
            phase,
            queued: false,
        }
    }

    /// Does all that can be done now.
    pub fn run(&mut self, core: &mut Core, scratch: &mut [u8]) -> Verdict {
        for _ in 0..TURNS {
            self.wires.check_leg(core);
            let step = match &mut self.phase {
                Phase::Silent(silent) => silent.step(&mut self.wires, core, scratch),
                Phase::Opaque(tunnel) => tunnel.step(&mut self.wires, core, scratch),
                Phase::Http(http) => http.step(&mut self.wires, core, scratch),
                Phase::Ending(ending) => ending.step(&mut self.wires, core, scratch),
            };
            match step {
                Step::Progress => {}
                Step::Blocked => return Verdict::Keep,
                Step::Opaque(tunnel) => self.phase = Phase::Opaque(tunnel),
                Step::Http(ahead) => self.phase = Phase::Http(Box::new(Http::new(ahead))),
                Step::End(ending) => {
                    self.wires.wake_at(core, 0);
                    self.phase = Phase::Ending(ending);
                }
                Step::Close => return self.close(core),
                Step::Abort => {
                    self.wires.count_refusal(core);
                    self.wires.client.reset_on_close();
                    if let Some(leg) = &self.wires.leg {
                        leg.socket.reset_on_close();
                    }
                    return self.close(core);
                }
            }
        }
        Verdict::Again
    }

    fn close(&mut self, core: &mut Core) -> Verdict {
        self.wires.drop_leg(End::Finished);
        self.wires.wake_at(core, 0);
        Verdict::Over
    }
}

/// Nothing has been said by either side. The backend connection is open already, for it may be the server that speaks
/// first; while nothing has been said, any other backend will do as well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Silent {
    /// Whether HTTP/1 is looked for.
    detect: bool,
    /// The client's first bytes, while they can be the beginning of a request line.
    first: Vec<u8>,
    reconnects: u8,
}

impl Silent {
    fn new(detect: bool) -> Self {
        Self {
            detect,
            first: Vec::new(),
            reconnects: 0,
        }
    }

    fn step(&mut self, wires: &mut Wires, core: &mut Core, scratch: &mut [u8]) -> Step {
        wires.leave_unused();
        if wires.supply(core) {
            match wires.receive(core, scratch) {
                Received::Nothing => {}
                Received::Bytes(count) => {
                    if wires.deliver(&scratch[..count], false).is_err() {
                        return Step::Close;
                    }
                    return self.opaque(wires, core);
                }
                Received::End if self.reconnects == SILENT_RECONNECTS => return self.opaque(wires, core),
                Received::Broken if self.reconnects == SILENT_RECONNECTS => return Step::Abort,
                Received::End | Received::Broken => {
                    self.reconnects += 1;
                    wires.refused(core);
                    return Step::Progress;
                }
            }
        } else if wires.given_up(core) {
            return Step::Abort;
        }
        self.listen(wires, core, scratch)
    }

    /// Reads what the client says first.
    fn listen(&mut self, wires: &mut Wires, core: &mut Core, scratch: &mut [u8]) -> Step {
        match wires.client.receive(scratch) {
            Received::Nothing => Step::Blocked,
            Received::Broken => Step::Close,
            Received::End => self.opaque(wires, core),
            Received::Bytes(count) => {
                self.first.extend_from_slice(&scratch[..count]);
                match if self.detect {
                    detect(&self.first)
                } else {
                    Detected::Other
                } {
                    Detected::Http1 => Step::Http(std::mem::take(&mut self.first)),
                    Detected::Other => self.opaque(wires, core),
                    Detected::Undecided => Step::Progress,
                }
            }
        }
    }

    fn opaque(&mut self, wires: &mut Wires, core: &mut Core) -> Step {
        let first = std::mem::take(&mut self.first);
        Tunnel::begin(wires, core, &first)
    }
}

/// The backend has had its say; the client gets the rest of it and the end of the stream. What it still sends is read
/// and dropped for a while, because closing a socket with unread bytes resets it, and a reset destroys what the client
/// has not read yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ending {
    /// Whether it ends by a reset, because the backend's connection did.
    reset: bool,
    lingering: bool,
    until: u64,
}

impl Ending {
    /// Ends in good order.
    pub fn gracefully() -> Step {
        Step::End(Self {
            reset: false,
            lingering: false,
            until: 0,
        })
    }

    /// Ends as the backend's connection did, by a reset.
    pub fn by_reset() -> Step {
        Step::End(Self {
            reset: true,
            lingering: false,
            until: 0,
        })
    }

    fn step(&mut self, wires: &mut Wires, core: &mut Core, scratch: &mut [u8]) -> Step {
        wires.to_backend = Held::default();
        if wires.flush_client().is_err() {
            return Step::Close;
        }
        if !wires.to_client.is_empty() {
            return Step::Blocked;
        }
        if self.reset {
            return Step::Abort;
        }
        if wires.client.is_ended() {
            return Step::Close;
        }
        if !self.lingering {
            self.lingering = true;
            wires.client.shut();
            self.until = core.now + core.times.linger;
            wires.wake_at(core, self.until);
        }
        if core.now >= self.until {
            return Step::Close;
        }
        match wires.client.receive(scratch) {
            Received::Bytes(_) => Step::Progress,
            Received::Nothing => Step::Blocked,
            Received::End | Received::Broken => Step::Close,
        }
    }
}
