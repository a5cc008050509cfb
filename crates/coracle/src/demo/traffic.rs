//! The load on the Service: the strict client always, wrk where it is installed.

use std::net::SocketAddr;
use std::time::Duration;

use load::Report;
use tokio_util::sync::CancellationToken;

use super::DemoArgs;
use super::scene::Flow;
use super::wrk::{Counts, Wrk};

/// Width of the slices of time in which answers are counted.
const BUCKET: Duration = Duration::from_millis(250);

/// Both load clients at work. Dropping it ends them.
pub struct Traffic {
    strict: load::Client,
    wrk: Option<Wrk>,
    versions: [String; 2],
    _stop: tokio_util::sync::DropGuard,
}

/// What both clients counted.
pub struct Tally {
    /// The strict client's report.
    pub strict: Report,
    /// wrk's counts; `None` if it is not installed.
    pub wrk: Option<Counts>,
}

impl Traffic {
    /// Starts both clients against `target`.
    ///
    /// # Errors
    /// When wrk is installed but does not start.
    pub fn start(target: SocketAddr, args: &DemoArgs) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let mut options = load::Options::new(target);
        options.connections = usize::from(args.connections);
        options.rate = Some(f64::from(args.rate));
        options.bucket = BUCKET;
        Ok(Self {
            strict: load::Client::start(options, &stop),
            wrk: Wrk::start(target, args.connections)?,
            versions: [args.from.clone(), args.to.clone()],
            _stop: stop.drop_guard(),
        })
    }

    /// Whether wrk takes part.
    pub fn has_wrk(&self) -> bool {
        self.wrk.is_some()
    }

    /// What flows at present.
    pub fn flow(&self) -> Flow {
        let report = self.strict.so_far();
        Flow {
            per_second: self.versions.clone().map(|version| {
                let rate = per_second(&report, &version);
                (version, rate)
            }),
            requests: report.requests,
            dropped: report.failed(),
        }
    }

    /// Ends both clients and returns what they counted.
    ///
    /// # Errors
    /// When wrk's report cannot be read.
    pub async fn finish(self) -> anyhow::Result<Tally> {
        let wrk = match self.wrk {
            Some(wrk) => Some(wrk.finish().await?),
            None => None,
        };
        Ok(Tally {
            strict: self.strict.finish().await,
            wrk,
        })
    }
}

/// Answers of `version` in the second before the slice that is still being filled.
fn per_second(report: &Report, version: &str) -> u64 {
    let in_slices =
        |time: Duration| usize::try_from(time.as_millis() / BUCKET.as_millis()).unwrap_or_default();
    let (now, second) = (in_slices(report.elapsed), in_slices(Duration::from_secs(1)));
    let last = report.timeline.iter().take(now).skip(now.saturating_sub(second));
    last.filter_map(|bucket| bucket.versions.get(version)).sum()
}
