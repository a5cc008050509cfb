//! What a run does.

use std::net::SocketAddr;
use std::time::Duration;

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: the answer has a length but no body.
    Head,
    /// POST with a body of this many bytes.
    Post {
        /// Length of the body.
        body: usize,
    },
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post { .. } => "POST",
        }
    }
}

/// What a run does. Start from [`Options::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to connect to.
    pub target: SocketAddr,
    /// Path and query of each request.
    pub path: String,
    /// How many connections are used at the same time, each with one request at a time (at least 1).
    pub connections: usize,
    /// `true`: connections are kept for many requests. `false`: each request has its own and says `Connection: close`.
    pub keep_alive: bool,
    /// Each connection goes through these in turn, so a method given twice is sent twice as often. Empty: GET.
    pub methods: Vec<Method>,
    /// A POST's body is sent evenly over this time; zero: at once.
    pub body_time: Duration,
    /// The length that every answer's body (but a HEAD's) must have; `None`: whatever its framing says.
    pub length: Option<u64>,
    /// Looks whether a kept connection has been closed before it sends a request on it, and opens another then, as a
    /// careful client does. The close counts as one without announcement, but fails no request.
    pub looks: bool,
    /// Requests a second over all connections; `None`: as many as the answers allow. With a rate, latency counts
    /// from when the request was due, so that a stalled server cannot hide behind requests that were not sent.
    pub rate: Option<f64>,
    /// Ends the run after this time; `None`: when it is stopped.
    pub duration: Option<Duration>,
    /// How long a connect may take.
    pub connect_timeout: Duration,
    /// How long a request may take from its first byte to the last one of its answer.
    pub response_timeout: Duration,
    /// Width of the buckets in which answers are counted over time.
    pub bucket: Duration,
}

impl Options {
    /// 16 keep-alive connections that GET `/` as fast as the answers allow, until stopped.
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            path: "/".to_owned(),
            connections: 16,
            keep_alive: true,
            methods: vec![Method::Get],
            body_time: Duration::ZERO,
            length: None,
            looks: false,
            rate: None,
            duration: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(10),
            bucket: Duration::from_millis(500),
        }
    }
}
