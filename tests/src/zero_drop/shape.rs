//! The shapes of traffic, each with the client that judges it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use load::{Client, Method, Protocol, SessionOptions, Sessions};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::wrk::Wrk;

/// How much of a failed run is told one by one.
const TOLD: usize = 20;

/// A shape of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// wrk with so many keep-alive connections, as fast as it can.
    Wrk(usize),
    /// wrk, each request with a connection of its own.
    WrkClose,
    /// Kept connections, 200 GET and HEAD a second.
    KeepAlive,
    /// A connection each, 100 GET a second.
    Close,
    /// Answers that take 1.2 s.
    Slow,
    /// Answers whose bodies take 1.5 s.
    Drip,
    /// 512 KB sent over 1.5 s.
    Upload,
    /// So many connections, a GET and a POST each second in turn, looking for a close first.
    Idle(usize),
    /// The same without looking.
    Idlex(usize),
    /// 200 POSTs a second, each echoed and, where the server can, recorded by its id.
    Post,
    /// 20 answers that take 20 s.
    LongAnswer,
    /// 20 bodies that take 60 s.
    LongDownload,
    /// 20 uploads that take 30 s.
    LongUpload,
    /// Sessions that their client ends after a second.
    Session(Protocol),
    /// Sessions that go on for ever, with a message every 50 ms.
    Busy(Protocol),
    /// Sessions that go on for ever in silence.
    Silent(Protocol),
}

impl Shape {
    /// Its name in the table.
    pub fn name(self) -> String {
        let protocol = |protocol| match protocol {
            Protocol::Opaque => "opaque",
            Protocol::WebSocket => "websocket",
            Protocol::H2c => "h2c",
            Protocol::Framing => "every framing",
        };
        match self {
            Self::Wrk(connections) => format!("wrk keep-alive {connections}"),
            Self::WrkClose => "wrk close".into(),
            Self::KeepAlive => "keep-alive".into(),
            Self::Close => "close".into(),
            Self::Slow => "slow".into(),
            Self::Drip => "drip".into(),
            Self::Upload => "upload".into(),
            Self::Idle(_) => "idle".into(),
            Self::Idlex(_) => "idlex".into(),
            Self::Post => "POST".into(),
            Self::LongAnswer => "20 s answer".into(),
            Self::LongDownload => "60 s download".into(),
            Self::LongUpload => "30 s upload".into(),
            Self::Session(spoken) => format!("{} 1 s", protocol(spoken)),
            Self::Busy(spoken) => format!("{} busy", protocol(spoken)),
            Self::Silent(spoken) => format!("{} silent", protocol(spoken)),
        }
    }

    /// Whether it goes to the plain echo rather than to the HTTP port.
    pub fn is_opaque(self) -> bool {
        matches!(
            self,
            Self::Session(Protocol::Opaque) | Self::Busy(Protocol::Opaque) | Self::Silent(Protocol::Opaque)
        )
    }

    /// Starts it. What takes its time takes a third of it in the short form.
    pub fn start(self, target: SocketAddr, short: bool, runtime: &Runtime) -> Load {
        match self {
            Self::Wrk(connections) => return Load::Wrk(Wrk::start(target, connections, true)),
            Self::WrkClose => return Load::Wrk(Wrk::start(target, 4, false)),
            _ => {}
        }
        let _guard = runtime.enter();
        match self.sessions(target) {
            Some(options) => Load::Sessions(Sessions::start(options)),
            None => Load::Strict(Client::start(
                self.requests(target, if short { 3 } else { 1 }),
                &CancellationToken::new(),
            )),
        }
    }

    fn sessions(self, target: SocketAddr) -> Option<SessionOptions> {
        let often = Some(Duration::from_millis(50));
        let (protocol, pause, life) = match self {
            Self::Session(protocol) => (protocol, often, Some(Duration::from_secs(1))),
            Self::Busy(protocol) => (protocol, often, None),
            Self::Silent(protocol) => (protocol, None, None),
            _ => return None,
        };
        Some(SessionOptions {
            target,
            protocol,
            count: 20,
            pause,
            life,
        })
    }

    fn requests(self, target: SocketAddr, faster: u32) -> load::Options {
        let usual = load::Options {
            connections: 8,
            response_timeout: Duration::from_secs(15),
            ..load::Options::new(target)
        };
        let idle = |connections: usize, looks| load::Options {
            connections,
            rate: Some(connections as f64),
            methods: vec![Method::Get, Method::Post { body: 10 }],
            looks,
            ..usual.clone()
        };
        let long = |seconds: u64| load::Options {
            connections: 20,
            response_timeout: Duration::from_secs(seconds + 30),
            ..usual.clone()
        };
        // A rate that all connections together just keep up: so they are never in step.
        let staggered = load::Options {
            rate: Some(5.0 * f64::from(faster)),
            ..usual.clone()
        };
        match self {
            Self::Close => load::Options {
                keep_alive: false,
                rate: Some(100.0),
                ..usual
            },
            Self::Slow => load::Options {
                path: format!("/slow?ms={}", 1_200 / faster),
                ..staggered
            },
            Self::Drip => drip(staggered, 1_500 / faster, 100_000),
            Self::Upload => upload(staggered, Duration::from_millis(1_500) / faster),
            Self::Idle(connections) => idle(connections, true),
            Self::Idlex(connections) => idle(connections, false),
            Self::Post => load::Options {
                path: "/echo".into(),
                methods: vec![Method::Post { body: 100 }],
                length: Some(100),
                rate: Some(200.0),
                ..usual
            },
            Self::LongAnswer => load::Options {
                path: "/slow?ms=20000".into(),
                ..long(20)
            },
            Self::LongDownload => drip(long(60), 60_000, 1_000_000),
            Self::LongUpload => upload(long(30), Duration::from_secs(30)),
            _ => load::Options {
                methods: vec![Method::Get, Method::Get, Method::Head],
                rate: Some(200.0),
                ..usual
            },
        }
    }

    /// How long its slowest request takes, in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Self::LongAnswer => 20,
            Self::LongUpload => 30,
            Self::LongDownload => 60,
            _ => 2,
        }
    }

    /// Whether its POSTs are recorded.
    pub fn posts(self) -> bool {
        matches!(
            self,
            Self::Post
                | Self::Upload
                | Self::LongUpload
                | Self::Idle(_)
                | Self::Idlex(_)
                | Self::Session(Protocol::Framing)
        )
    }
}

fn drip(options: load::Options, milliseconds: u32, bytes: u64) -> load::Options {
    load::Options {
        path: format!("/drip?ms={milliseconds}&bytes={bytes}"),
        length: Some(bytes),
        ..options
    }
}

fn upload(options: load::Options, time: Duration) -> load::Options {
    load::Options {
        methods: vec![Method::Post { body: 512 * 1024 }],
        body_time: time,
        ..options
    }
}

/// A shape under way.
pub enum Load {
    /// wrk's.
    Wrk(Wrk),
    /// The strict client's.
    Strict(Client),
    /// Sessions.
    Sessions(Sessions),
}

/// What came of a shape.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// Requests, or messages of sessions.
    pub requests: u64,
    /// Failed ones by cause.
    pub failed: BTreeMap<String, u64>,
    /// POSTs that failed.
    pub failed_posts: u64,
    /// Kept connections that had to be opened anew, announced or not.
    pub reconnects: u64,
    /// Sessions that the other side ended.
    pub cut: u64,
    /// The first failures: when, why, which pod.
    pub told: Vec<String>,
}

impl Count {
    /// All failures.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

impl Load {
    /// The number of good answers so far; `None`: it tells only at its end, or gets none after the first.
    pub fn answered(&self) -> Option<watch::Receiver<u64>> {
        match self {
            Self::Wrk(_) => None,
            Self::Strict(client) => Some(client.answered()),
            Self::Sessions(sessions) => sessions.is_talking().then(|| sessions.answered()),
        }
    }

    /// Ends it. What is under way is still answered.
    pub fn finish(self, runtime: &Runtime) -> Count {
        match self {
            Self::Wrk(wrk) => of_wrk(wrk),
            Self::Strict(client) => of_strict(&runtime.block_on(client.finish())),
            Self::Sessions(sessions) => {
                let report = runtime.block_on(sessions.finish());
                let failed = [("session refused", report.refused), ("session cut", report.cut)];
                Count {
                    requests: report.messages + report.within + report.refused,
                    failed: non_zero(failed),
                    cut: report.cut,
                    told: report
                        .failures
                        .iter()
                        .take(TOLD)
                        .map(|(at, why)| format!("{:>8.3}s {why}", at.as_secs_f64()))
                        .collect(),
                    ..Count::default()
                }
            }
        }
    }
}

fn of_wrk(wrk: Wrk) -> Count {
    let counts = wrk.finish();
    Count {
        requests: counts.requests + counts.failed(),
        failed: non_zero([
            ("wrk connect", counts.connect),
            ("wrk read", counts.read),
            ("wrk write", counts.write),
            ("wrk timeout", counts.timeout),
            ("wrk status", counts.status),
        ]),
        ..Count::default()
    }
}

fn of_strict(report: &load::Report) -> Count {
    let causes = report.causes.iter();
    Count {
        requests: report.requests,
        failed: causes.map(|(cause, count)| (cause.to_string(), *count)).collect(),
        failed_posts: report
            .failures
            .iter()
            .filter(|failure| failure.method == "POST")
            .count() as u64,
        reconnects: report.announced_closes + report.unannounced_closes,
        cut: 0,
        told: report
            .failures
            .iter()
            .take(TOLD)
            .map(ToString::to_string)
            .collect(),
    }
}

fn non_zero<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    counts.map(|(name, count)| (name.to_owned(), count)).collect()
}
