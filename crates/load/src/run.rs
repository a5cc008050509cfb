//! A run: the connections' tasks and what they share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::options::{Method, Options};
use crate::report::Report;
use crate::response::{Fault, Response};

/// Pause after a failed connect, so that a refused run does not eat the machine that it judges.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// Longest time between two requests of a connection, however low the rate.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

struct Shared {
    options: Options,
    start: Instant,
    /// Makes the ids of two runs differ.
    run: u64,
    next_id: AtomicU64,
    /// Held for the few instructions of one count, never across an await.
    report: Mutex<Report>,
    /// Good answers, for those who wait for them.
    answered: watch::Sender<u64>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn report(&self) -> Report {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        report.elapsed = self.start.elapsed();
        report
    }
}

/// A run under way.
pub struct Client {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
    stop: CancellationToken,
}

impl Client {
    /// Starts a run; it goes on until its duration is over, `stop` is cancelled or it is finished. Requests under way
    /// then are still answered and counted.
    pub fn start(options: Options, stop: &CancellationToken) -> Self {
        let stop = stop.child_token();
        let mut workers = JoinSet::new();
        if let Some(duration) = options.duration {
            let stop = stop.clone();
            workers.spawn(async move {
                tokio::select! {
                    () = sleep(duration) => stop.cancel(),
                    () = stop.cancelled() => {}
                }
            });
        }
        let shared = Arc::new(Shared {
            start: Instant::now(),
            run: run_number(),
            next_id: AtomicU64::new(0),
            report: Mutex::new(Report::new(options.bucket)),
            answered: watch::Sender::default(),
            options,
        });
        for index in 0..shared.options.connections.max(1) {
            workers.spawn(work(shared.clone(), index, stop.clone()));
        }
        Self {
            shared,
            workers,
            stop,
        }
    }

    /// The report so far.
    pub fn so_far(&self) -> Report {
        self.shared.report()
    }

    /// The number of good answers so far, to be awaited.
    pub fn answered(&self) -> watch::Receiver<u64> {
        self.shared.answered.subscribe()
    }

    /// Ends the run now and returns its report once the requests under way are answered.
    pub async fn finish(self) -> Report {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits for the run's end and returns its report.
    pub async fn ended(mut self) -> Report {
        while self.workers.join_next().await.is_some() {}
        self.shared.report()
    }
}

/// A whole run.
pub async fn run(options: Options, stop: &CancellationToken) -> Report {
    Client::start(options, stop).ended().await
}

/// A number that no other run or session has, in this process or in one that started at another time.
pub(crate) fn run_number() -> u64 {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_micros());
    // The low bits are what differs.
    (u64::try_from(now).unwrap_or_default() << 12) | (RUNS.fetch_add(1, Ordering::Relaxed) & 0xfff)
}

/// When a connection's requests are due.
struct Pace {
    next: Instant,
    interval: Option<Duration>,
}

impl Pace {
    fn new(options: &Options, start: Instant, index: usize) -> Self {
        let connections = options.connections.max(1);
        let interval = options
            .rate
            .filter(|rate| rate.is_finite() && *rate > 0.0)
            .map(|rate| {
                Duration::try_from_secs_f64(connections as f64 / rate)
                    .unwrap_or(LONGEST)
                    .min(LONGEST)
            });
        let share = index as f64 / connections as f64;
        Self {
            next: start + interval.unwrap_or_default().mul_f64(share),
            interval,
        }
    }

    /// Waits for the next request's time and returns it; `None`: stopped.
    async fn due(&mut self, stop: &CancellationToken) -> Option<Instant> {
        if let Some(interval) = self.interval {
            let due = self.next;
            self.next += interval;
            tokio::select! {
                () = sleep_until(due) => {}
                () = stop.cancelled() => return None,
            }
            return Some(due);
        }
        (!stop.is_cancelled()).then(Instant::now)
    }
}

async fn work(shared: Arc<Shared>, index: usize, stop: CancellationToken) {
    let options = &shared.options;
    let mut pace = Pace::new(options, shared.start, index);
    let mut connection = None;
    let mut request = String::new();
    let methods = if options.methods.is_empty() {
        &[Method::Get][..]
    } else {
        &options.methods[..]
    };
    for method in methods.iter().copied().cycle() {
        let Some(due) = pace.due(&stop).await else { return };
        if let Some(fault) = connection
            .as_mut()
            .filter(|_| options.looks)
            .and_then(Connection::look)
        {
            shared.count(|report| report.unannounced_closes += 1);
            if !fault.cause.is_close() {
                fail(&shared, method, fault, connection.as_ref());
            }
            connection = None;
        }
        let open = match connection.take() {
            Some(open) => open,
            None => match Connection::open(options).await {
                Ok(open) => {
                    shared.count(|report| report.connections += 1);
                    open
                }
                Err(fault) => {
                    fail(&shared, method, fault, None);
                    tokio::select! {
                        () = sleep(CONNECT_PAUSE) => continue,
                        () = stop.cancelled() => return,
                    }
                }
            },
        };
        connection = one_request(&shared, open, method, due, &mut request).await;
    }
}

/// Sends one request and counts what came of it. Returns the connection if it can be used again.
async fn one_request(
    shared: &Shared,
    mut connection: Connection,
    method: Method,
    due: Instant,
    request: &mut String,
) -> Option<Connection> {
    let options = &shared.options;
    let id = format!(
        "{:x}-{:x}",
        shared.run,
        shared.next_id.fetch_add(1, Ordering::Relaxed)
    );
    match connection.exchange(options, method, &id, request).await {
        Ok(response) => {
            let latency = due.elapsed();
            shared.count(|report| {
                report.success(shared.start.elapsed(), latency, &response);
                if options.keep_alive && response.closes {
                    report.announced_closes += 1;
                }
            });
            shared.answered.send_modify(|answered| *answered += 1);
            keep(options, &response).then_some(connection)
        }
        Err(fault) => {
            if options.keep_alive && fault.cause.is_close() {
                shared.count(|report| report.unannounced_closes += 1);
            }
            fail(shared, method, fault, Some(&connection));
            None
        }
    }
}

fn keep(options: &Options, response: &Response) -> bool {
    options.keep_alive && !response.closes
}

fn fail(shared: &Shared, method: Method, fault: Fault, connection: Option<&Connection>) {
    let failure = Failure {
        at: shared.start.elapsed(),
        cause: fault.cause,
        detail: fault.detail,
        local_port: connection.and_then(|connection| connection.local_port),
        answered_before: connection.map_or(0, |connection| connection.answered),
        bytes: connection.map_or(0, Connection::received),
        last_pod: connection.and_then(|connection| connection.last_pod.clone()),
        method: method.name(),
    };
    shared.count(|report| report.failure(failure));
}
