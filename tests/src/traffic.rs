//! Load of every kind at once on one address, and the verdict.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use load::{Client, Method, Report};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::wrk::{Counts, Wrk};

/// wrk and the strict client, each with keep-alive connections and with a connection a request, all at once.
pub struct Traffic {
    runtime: Runtime,
    wrk: Option<[Wrk; 2]>,
    strict: [Client; 2],
}

/// What came of it.
pub struct Verdict {
    /// wrk's counts, keep-alive and `Connection: close`; zero where it did not run.
    pub wrk: [Counts; 2],
    /// The strict client's reports, keep-alive and `Connection: close`.
    pub strict: [Report; 2],
}

impl Traffic {
    /// Everything at once, as fast as the answers allow.
    pub fn start(target: SocketAddr) -> Self {
        Self::with_connections(target, 32)
    }

    /// The same, with so many keep-alive connections of wrk.
    pub fn with_connections(target: SocketAddr, connections: usize) -> Self {
        let wrk = [
            Wrk::start(target, connections, true),
            Wrk::start(target, 4, false),
        ];
        Self {
            wrk: Some(wrk),
            ..Self::gentle(target)
        }
    }

    /// The strict client alone, at 400 requests a second.
    pub fn gentle(target: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let strict = |keep_alive, connections| {
            let _guard = runtime.enter();
            let options = load::Options {
                connections,
                keep_alive,
                methods: vec![Method::Get, Method::Get, Method::Head],
                rate: Some(200.0),
                response_timeout: Duration::from_secs(15),
                ..load::Options::new(target)
            };
            Client::start(options, &CancellationToken::new())
        };
        let strict = [strict(true, 8), strict(false, 4)];
        Self {
            runtime,
            wrk: None,
            strict,
        }
    }

    /// Waits until this many more requests have been answered by the strict client.
    ///
    /// # Panics
    /// If that takes over a minute.
    pub fn flows(&self, requests: u64) {
        let [mut kept, mut fresh] = self.strict.each_ref().map(Client::answered);
        let both = |kept: u64, fresh: u64| kept + fresh;
        let enough = both(*kept.borrow(), *fresh.borrow()) + requests;
        let flowing = async {
            while both(*kept.borrow_and_update(), *fresh.borrow_and_update()) < enough {
                tokio::select! {
                    changed = kept.changed() => changed,
                    changed = fresh.changed() => changed,
                }
                .expect("the clients are ours");
            }
        };
        let limit = Duration::from_secs(60);
        let flows = self.runtime.block_on(async { timeout(limit, flowing).await });
        assert!(
            flows.is_ok(),
            "traffic does not flow: {}",
            self.strict[0].so_far()
        );
    }

    /// Ends it.
    pub fn finish(self) -> Verdict {
        let wrk = self
            .wrk
            .map_or([Counts::default(); 2], |wrk| wrk.map(Wrk::finish));
        let strict = self.strict.map(|client| self.runtime.block_on(client.finish()));
        Verdict { wrk, strict }
    }
}

impl Verdict {
    /// Failures by all counts together.
    pub fn failed(&self) -> u64 {
        self.wrk.iter().map(Counts::failed).sum::<u64>()
            + self
                .strict
                .iter()
                .map(|report| report.failed() + report.unannounced_closes)
                .sum::<u64>()
    }

    /// Answered requests by all counts together.
    pub fn answered(&self) -> u64 {
        self.wrk.iter().map(|counts| counts.requests).sum::<u64>()
            + self.strict.iter().map(Report::succeeded).sum::<u64>()
    }

    /// Asserts that there was traffic and that nothing was dropped.
    #[track_caller]
    pub fn assert_clean(&self) {
        println!("{self}");
        assert!(self.answered() > 100, "hardly any traffic: {self}");
        assert_eq!(self.failed(), 0, "dropped requests: {self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (counts, mode) in self.wrk.iter().zip(["keep-alive", "close"]) {
            writeln!(f, "wrk, {mode}: {counts:?}")?;
        }
        for (report, mode) in self.strict.iter().zip(["keep-alive", "close"]) {
            write!(f, "strict, {mode}: {report}")?;
            report
                .failures
                .iter()
                .take(10)
                .try_for_each(|failure| writeln!(f, "  {failure}"))?;
        }
        Ok(())
    }
}
