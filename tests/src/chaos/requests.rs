//! The load on the three Services, and every dropped request with the kill that explains it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use load::{Client, Failure, Method, Options};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::harm::{Harm, Harms};
use super::world::{SERVICES, name};
use crate::{Kubectl, http};

const POST: Method = Method::Post { body: 64 };

/// nginx takes no POST for a page.
const METHODS: [&[Method]; SERVICES] = [
    &[Method::Get, Method::Get, POST],
    &[Method::Get, Method::Head],
    &[Method::Get, Method::Head, POST],
];

/// The first spends its time inside the pods.
const PATHS: [&str; SERVICES] = ["/slow?ms=20", "/", "/"];

/// The clients of all Services.
pub struct Requests {
    runtime: Runtime,
    clients: Vec<(usize, Instant, Client)>,
}

/// A dropped request.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// Which Service it was for.
    pub service: usize,
    /// When it failed.
    pub at: Instant,
    /// How.
    pub failure: Failure,
    /// The kill that it cannot have survived.
    pub why: Option<Harm>,
}

/// What came of all requests.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many were sent.
    pub sent: u64,
    /// How many failed.
    pub failed: u64,
    /// Those one by one.
    pub dropped: Vec<Dropped>,
    /// Good answers by Service.
    pub answered: BTreeMap<usize, u64>,
    /// The longest time that an answer took.
    pub longest: Duration,
}

impl Requests {
    /// Starts kept connections and such for one request on each Service.
    pub fn start(kubectl: &Kubectl) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut clients = Vec::new();
        for service in 0..SERVICES {
            let target = http::cluster_ip(kubectl, &name(service));
            for keep_alive in [true, false] {
                let _guard = runtime.enter();
                let client = Client::start(options(service, target, keep_alive), &CancellationToken::new());
                clients.push((service, Instant::now(), client));
            }
        }
        Self { runtime, clients }
    }

    /// Waits until every client has got so many more answers.
    ///
    /// # Panics
    /// If that takes over a minute.
    pub fn flow(&self, more: u64) {
        let answered = || {
            self.clients
                .iter()
                .map(|(_, _, client)| client.so_far().succeeded())
        };
        let enough: Vec<u64> = answered().map(|before| before + more).collect();
        self.runtime.block_on(async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            for _ in 0..3000 {
                tick.tick().await;
                if answered().zip(&enough).all(|(now, enough)| now >= *enough) {
                    return;
                }
            }
            panic!("traffic does not flow");
        });
    }

    /// Ends it, and explains what can be explained.
    pub fn finish(self, harms: &Harms) -> Outcome {
        let Self { runtime, clients } = self;
        let mut outcome = Outcome::default();
        for (service, begin, client) in clients {
            let report = runtime.block_on(client.finish());
            outcome.sent += report.requests;
            outcome.failed += report.failed();
            outcome.longest = outcome.longest.max(report.quantile(1.0));
            *outcome.answered.entry(service).or_default() += report.succeeded();
            outcome.dropped.extend(report.failures.into_iter().map(|failure| {
                let at = begin + failure.at;
                let why = harms.explain(service, at, &failure);
                Dropped {
                    service,
                    at,
                    failure,
                    why,
                }
            }));
        }
        outcome.dropped.sort_by_key(|dropped| dropped.at);
        outcome
    }
}

fn options(service: usize, target: SocketAddr, keep_alive: bool) -> Options {
    Options {
        path: PATHS[service].to_owned(),
        connections: if keep_alive { 8 } else { 4 },
        keep_alive,
        methods: METHODS[service].to_vec(),
        rate: Some(if keep_alive { 150.0 } else { 50.0 }),
        // As long as everything that stands still does so, one after the other.
        response_timeout: Duration::from_secs(15),
        ..Options::new(target)
    }
}
