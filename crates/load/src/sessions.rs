//! Many sessions at the same time, and what became of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::response::Fault;
use crate::session::{Protocol, Session};

/// Pause after a session that could not be opened.
const OPEN_PAUSE: Duration = Duration::from_millis(10);

/// What a run of sessions does.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Where to connect to.
    pub target: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// How many sessions there are at the same time; one that ends is followed by another.
    pub count: usize,
    /// Time from one message to the next; `None`: one message, then silence.
    pub pause: Option<Duration>,
    /// After this time the client ends a session; `None`: only with the run.
    pub life: Option<Duration>,
}

/// What came of a run of sessions, or of a run so far.
#[derive(Clone, Debug, Default)]
pub struct SessionReport {
    /// Sessions that were opened.
    pub opened: u64,
    /// Sessions that ended as their client wanted.
    pub completed: u64,
    /// Messages whose echo came.
    pub messages: u64,
    /// Sessions that the other side ended.
    pub cut: u64,
    /// Those of them that it ended while an echo was awaited.
    pub within: u64,
    /// Sessions that could not be opened.
    pub refused: u64,
    /// When, since the start, and why each of the latter two ended; the first 1,000.
    pub failures: Vec<(Duration, String)>,
}

/// A run of sessions under way.
pub struct Sessions {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
    stop: CancellationToken,
}

struct Shared {
    options: SessionOptions,
    start: Instant,
    /// Held for the few instructions of one count, never across an await.
    report: Mutex<SessionReport>,
    /// Messages whose echo came, for those who wait for them.
    answered: watch::Sender<u64>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut SessionReport)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn fail(&self, fault: &Fault, count: impl FnOnce(&mut SessionReport)) {
        let at = self.start.elapsed();
        self.count(|report| {
            count(report);
            if report.failures.len() < 1_000 {
                report
                    .failures
                    .push((at, format!("{}: {}", fault.cause, fault.detail)));
            }
        });
    }
}

impl Sessions {
    /// Starts a run; it goes on until it is finished.
    pub fn start(options: SessionOptions) -> Self {
        let stop = CancellationToken::new();
        let mut workers = JoinSet::new();
        let shared = Arc::new(Shared {
            start: Instant::now(),
            report: Mutex::default(),
            answered: watch::Sender::default(),
            options,
        });
        for number in 0..shared.options.count {
            workers.spawn(work(shared.clone(), number, stop.clone()));
        }
        Self {
            shared,
            workers,
            stop,
        }
    }

    /// Whether sessions have more than one message each.
    pub fn is_talking(&self) -> bool {
        self.shared.options.pause.is_some()
    }

    /// The report so far.
    pub fn so_far(&self) -> SessionReport {
        self.shared
            .report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The number of messages whose echo has come so far, to be awaited.
    pub fn answered(&self) -> watch::Receiver<u64> {
        self.shared.answered.subscribe()
    }

    /// Ends all sessions and returns the report.
    pub async fn finish(mut self) -> SessionReport {
        self.stop.cancel();
        while self.workers.join_next().await.is_some() {}
        self.so_far()
    }
}

async fn work(shared: Arc<Shared>, number: usize, stop: CancellationToken) {
    let options = &shared.options;
    while !stop.is_cancelled() {
        match Session::open(options.protocol, options.target).await {
            Ok(session) => {
                shared.count(|report| report.opened += 1);
                match live(&shared, session, number, &stop).await {
                    Ok(()) => shared.count(|report| report.completed += 1),
                    Err(fault) => shared.fail(&fault, |report| report.cut += 1),
                }
            }
            Err(fault) => {
                shared.fail(&fault, |report| report.refused += 1);
                sleep(OPEN_PAUSE).await;
            }
        }
    }
}

/// One session from its first message to its end.
async fn live(
    shared: &Shared,
    mut session: Session,
    number: usize,
    stop: &CancellationToken,
) -> Result<(), Fault> {
    let options = &shared.options;
    let end = options.life.map(|life| Instant::now() + life);
    let over = async || match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    };
    for message in 0_u64.. {
        let text = format!("session {number} message {message}\n");
        let echoed = session.exchange(&text).await;
        shared.count(|report| match echoed {
            Ok(()) => report.messages += 1,
            Err(_) => report.within += 1,
        });
        echoed?;
        shared.answered.send_modify(|answered| *answered += 1);
        let next = async || match options.pause {
            Some(pause) => sleep(pause).await,
            None => std::future::pending().await,
        };
        tokio::select! {
            () = next() => {}
            () = over() => break,
            () = stop.cancelled() => break,
            fault = session.until_closed() => return Err(fault),
        }
    }
    session.close().await
}
