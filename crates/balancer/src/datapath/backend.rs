//! One backend and the connections it has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::counters::{Counter, Tally};
use super::shared;
use super::table::{Endpoint, Offer};

/// A crash breaks connections before anybody can take the backend out of service: those of so many milliseconds before the
/// drain belong to it.
const CRASH: u64 = 1000;

/// How a connection to a backend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client's connection lives on at another backend.
    Moved,
    /// Closed by either side at a moment of its choice.
    Finished,
    /// Broken by the backend before it answered; the request goes on at another backend, and the client notices nothing.
    Replayed,
    /// Broken by the backend in the middle of a message, or ended by it before the client was done, because its time
    /// was over.
    Cut,
    /// It never came to be.
    Refused,
}

/// An address that connections go to, for one owner. The same address under another owner is another backend: what was
/// left of the old one never reaches the new one.
pub struct Backend {
    addr: SocketAddr,
    owner: Arc<str>,
    /// Connections, those being opened included, of all threads.
    open: AtomicU32,
    /// Counts the backends of this process: the smaller, the longer it has been known.
    born: u64,
    /// Whether no route of the newest table offers it.
    draining: AtomicBool,
    /// Its time is over: an opaque connection that it ends from now on is cut.
    overdue: AtomicBool,
    /// Milliseconds on the datapath's clock until which others are preferred, after it refused a connection or broke one
    /// without a word; 0: it is not suspected.
    suspect_until: AtomicU64,
    moved: AtomicU32,
    finished: AtomicU32,
    cut: AtomicU32,
    /// When it last broke a connection, in milliseconds on the datapath's clock.
    broke: AtomicU64,
    /// Says that something has changed.
    notify: Arc<dyn Fn() + Send + Sync>,
}

/// What can be seen of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStatus {
    /// Where connections go.
    pub addr: SocketAddr,
    /// Whose address it is.
    pub owner: Arc<str>,
    /// Whether it gets new connections.
    pub state: BackendState,
    /// Connections now, those being opened included.
    pub open: u32,
    /// Connections that went on elsewhere since it began to drain, or just before: see [`CRASH`].
    pub moved: u32,
    /// Connections that ended by themselves since it began to drain.
    pub finished: u32,
    /// Connections that were cut since then: see [`End::Cut`].
    pub cut: u32,
}

/// A backend's part in the routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// It gets new connections.
    Ready,
    /// It gets no new connections and has some left, or a thread has not heard of it yet.
    Draining,
    /// It has no connection and cannot get one.
    Drained,
}

impl Backend {
    pub(super) fn new(addr: SocketAddr, owner: Arc<str>, notify: Arc<dyn Fn() + Send + Sync>) -> Self {
        static BORN: AtomicU64 = AtomicU64::new(0);
        Self {
            born: BORN.fetch_add(1, Ordering::Relaxed),
            addr,
            owner,
            open: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            overdue: AtomicBool::new(false),
            suspect_until: AtomicU64::new(0),
            moved: AtomicU32::new(0),
            finished: AtomicU32::new(0),
            cut: AtomicU32::new(0),
            broke: AtomicU64::new(0),
            notify,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What tells it from others, in every process alike.
    pub(super) fn identity(&self) -> (SocketAddr, &str) {
        (self.addr, &self.owner)
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint {
            addr: self.addr,
            owner: self.owner.clone(),
        }
    }

    /// Its time is over; for good.
    pub(super) fn set_overdue(&self) {
        self.overdue.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.overdue.load(Ordering::SeqCst)
    }

    /// Orders backends by how long they have been known, the oldest first.
    pub(super) fn born(&self) -> u64 {
        self.born
    }

    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }

    /// Marks it as draining or not; must precede the table that makes it so. Counts of ends start anew, and one that
    /// comes back is trusted again.
    pub(super) fn set_draining(&self, draining: bool) {
        if self.draining.swap(draining, Ordering::SeqCst) == draining {
            return;
        }
        if !draining {
            self.answers();
        } else {
            self.finished.store(0, Ordering::Relaxed);
            self.forget_old_breaks();
        }
    }

    /// Begins the counts of broken connections anew, unless the last of them belongs to what happens now.
    fn forget_old_breaks(&self) {
        if shared::micros() / 1000 - self.broke.load(Ordering::Relaxed) > CRASH {
            self.moved.store(0, Ordering::Relaxed);
            self.cut.store(0, Ordering::Relaxed);
        }
    }

    /// A connection was broken, not ended.
    fn breaks(&self) {
        if !self.draining.load(Ordering::Relaxed) {
            self.forget_old_breaks();
        }
        self.broke.store(shared::micros() / 1000, Ordering::Relaxed);
    }

    /// It refused a connection, or broke one without a word: prefer others for a while.
    pub(super) fn suspect(&self, until: u64) {
        self.suspect_until.store(until, Ordering::Relaxed);
    }

    /// It has answered, or is offered again: it is as good as any.
    pub(super) fn answers(&self) {
        if self.suspect_until.load(Ordering::Relaxed) != 0 {
            self.suspect_until.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn is_suspect(&self, now: u64) -> bool {
        self.suspect_until.load(Ordering::Relaxed) > now
    }

    pub(super) fn status(&self, state: BackendState) -> BackendStatus {
        BackendStatus {
            addr: self.addr,
            owner: self.owner.clone(),
            state,
            open: self.open(),
            moved: self.moved.load(Ordering::Relaxed),
            finished: self.finished.load(Ordering::Relaxed),
            cut: self.cut.load(Ordering::Relaxed),
        }
    }
}

/// One connection's place in its backend's count; given back when dropped.
pub struct Lease {
    offer: Arc<Offer>,
    /// The cells of the connection's thread.
    tally: Arc<Tally>,
}

impl Lease {
    /// Counts a connection that is about to be opened, by this thread.
    pub(super) fn new(offer: Arc<Offer>, thread: usize) -> Self {
        offer.backend.open.fetch_add(1, Ordering::SeqCst);
        let tally = offer.series.of(thread).clone();
        tally.add(Counter::Opened, 1);
        Self { offer, tally }
    }

    pub(super) fn backend(&self) -> &Arc<Backend> {
        &self.offer.backend
    }

    /// Where the connection's thread counts what happens on it.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Records how the connection ended. The count is given back by dropping.
    pub(super) fn ended(&self, end: End) {
        let backend = &self.offer.backend;
        let (since_drain, ever) = match end {
            End::Moved => (Some(&backend.moved), Some(Counter::Moved)),
            End::Replayed => (Some(&backend.moved), Some(Counter::Replays)),
            End::Finished => (Some(&backend.finished), None),
            End::Cut => (Some(&backend.cut), Some(Counter::Cut)),
            End::Refused => (None, Some(Counter::Failed)),
        };
        if matches!(end, End::Replayed | End::Cut) {
            backend.breaks();
        }
        if let Some(count) = since_drain {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(counter) = ever {
            self.tally.add(counter, 1);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.tally.add(Counter::Closed, 1);
        let backend = &self.offer.backend;
        if backend.open.fetch_sub(1, Ordering::SeqCst) == 1 && backend.draining.load(Ordering::SeqCst) {
            (backend.notify)();
        }
    }
}
