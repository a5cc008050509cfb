//! What came of a run, or of a run so far.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::failure::{Cause, Failure};
use crate::response::Response;

/// Most failures that are kept one by one; all are counted.
const RECORDS: usize = 10_000;

/// What happened in one slice of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Good answers per version; answers that name none are under the empty string.
    pub versions: BTreeMap<String, u64>,
    /// Failed requests.
    pub failed: u64,
}

/// What came of a run, or of a run so far.
#[derive(Clone, Debug)]
pub struct Report {
    /// Since the start.
    pub elapsed: Duration,
    /// Requests that ended, well or not. A request whose connect failed counts.
    pub requests: u64,
    /// Failed requests by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// Failed requests one by one, the first 10,000 of them.
    pub failures: Vec<Failure>,
    /// Connections that were established.
    pub connections: u64,
    /// Keep-alive connections that ended after an answer that announced it (`Connection: close`).
    pub announced_closes: u64,
    /// Keep-alive connections that had to be replaced without such an announcement.
    pub unannounced_closes: u64,
    /// Good answers per pod that named itself.
    pub pods: BTreeMap<String, u64>,
    /// Width of the buckets of `timeline`.
    pub bucket: Duration,
    /// Good answers per version over time.
    pub timeline: Vec<Bucket>,
    /// Latencies of the good answers, in microseconds.
    pub latency: Histogram<u64>,
}

impl Report {
    pub(crate) fn new(bucket: Duration) -> Self {
        Self {
            elapsed: Duration::ZERO,
            requests: 0,
            causes: BTreeMap::new(),
            failures: Vec::new(),
            connections: 0,
            announced_closes: 0,
            unannounced_closes: 0,
            pods: BTreeMap::new(),
            bucket: bucket.max(Duration::from_millis(1)),
            timeline: Vec::new(),
            latency: Histogram::new(3).expect("three digits are within the histogram's range"),
        }
    }

    /// How many requests failed.
    pub fn failed(&self) -> u64 {
        self.causes.values().sum()
    }

    /// How many requests were answered well.
    pub fn succeeded(&self) -> u64 {
        self.requests - self.failed()
    }

    /// Good answers per version over the whole run.
    pub fn versions(&self) -> BTreeMap<&str, u64> {
        let mut totals = BTreeMap::new();
        for (version, count) in self.timeline.iter().flat_map(|bucket| &bucket.versions) {
            *totals.entry(version.as_str()).or_default() += count;
        }
        totals
    }

    /// The latency that this share of the good answers (0 to 1) did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(share))
    }

    pub(crate) fn success(&mut self, at: Duration, latency: Duration, response: &Response) {
        self.requests += 1;
        // Only an auto-resizing histogram without memory fails to record.
        let _ = self
            .latency
            .record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        if let Some(pod) = &response.pod {
            add_one(&mut self.pods, pod);
        }
        let version = response.image.as_deref().unwrap_or_default();
        add_one(&mut self.bucket_at(at).versions, version);
    }

    pub(crate) fn failure(&mut self, failure: Failure) {
        self.requests += 1;
        *self.causes.entry(failure.cause).or_default() += 1;
        self.bucket_at(failure.at).failed += 1;
        if self.failures.len() < RECORDS {
            self.failures.push(failure);
        }
    }

    fn bucket_at(&mut self, at: Duration) -> &mut Bucket {
        let index = usize::try_from(at.as_nanos() / self.bucket.as_nanos()).unwrap_or(usize::MAX - 1);
        if self.timeline.len() <= index {
            self.timeline.resize(index + 1, Bucket::default());
        }
        &mut self.timeline[index]
    }
}

/// Counts without allocating for a name that is known already.
fn add_one(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests in {:.1} s, {} failed, {} connections, {} closed without announcement",
            self.requests,
            self.elapsed.as_secs_f64(),
            self.failed(),
            self.connections,
            self.unannounced_closes,
        )?;
        writeln!(
            f,
            "latency p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(0.999),
            self.quantile(1.0),
        )?;
        for (cause, count) in &self.causes {
            writeln!(f, "failed: {count} x {cause}")?;
        }
        Ok(())
    }
}
