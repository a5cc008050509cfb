//! How long each node's agent has been silent.
//!
//! Flows in: the times of renewal that Leases show. Flows out: for how long none has changed. Counted by this process's
//! own clock and only while it runs: after a restart, or a pause in which this process was stopped like all agents in
//! it, every agent has time to renew before anything is said of its silence. Never waits.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

/// How often [`Renewals::attend`] must be called.
pub const ATTENDANCE: Duration = Duration::from_secs(5);

/// Without a call for so long, this process has not been running.
const PAUSE: Duration = Duration::from_secs(15);

/// A renewal of a Lease, and when it was first seen.
struct Renewal {
    at: Option<MicroTime>,
    seen: Instant,
}

/// The latest renewal of each node's Lease.
pub struct Renewals {
    latest: HashMap<String, Renewal>,
    attended: Instant,
}

impl Renewals {
    /// Knows of no node yet.
    pub fn new(now: Instant) -> Self {
        Self {
            latest: HashMap::new(),
            attended: now,
        }
    }

    /// This process runs. If it has not for a while, all silence is counted anew.
    pub fn attend(&mut self, now: Instant) {
        if now.duration_since(self.attended) > PAUSE {
            tracing::warn!("the server was stopped for a while: giving all nodes time to report");
            self.latest.values_mut().for_each(|renewal| renewal.seen = now);
        }
        self.attended = now;
    }

    /// How long the node's Lease has said `at`; a node that is missing has none, and the time it is missing is counted.
    pub fn silent_for(&mut self, node: &str, at: Option<MicroTime>, now: Instant) -> Duration {
        self.attend(now);
        let latest = self.latest.entry(node.to_owned());
        let renewal = latest
            .and_modify(|known| {
                if known.at != at {
                    known.at.clone_from(&at);
                    known.seen = now;
                }
            })
            .or_insert(Renewal { at, seen: now });
        now.duration_since(renewal.seen)
    }

    /// The node is of no interest any more.
    pub fn forget(&mut self, node: &str) {
        self.latest.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn renewed(second: i64) -> Option<MicroTime> {
        Some(MicroTime(Timestamp::from_second(second).unwrap()))
    }

    #[test]
    fn silence_is_counted_while_this_process_runs() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut renewals = Renewals::new(start);
        assert_eq!(renewals.silent_for("a", renewed(1), at(0)).as_secs(), 0);
        (1..=8).for_each(|tick| renewals.attend(at(5 * tick)));
        assert_eq!(renewals.silent_for("a", renewed(1), at(45)).as_secs(), 45);
        assert_eq!(renewals.silent_for("a", renewed(2), at(46)).as_secs(), 0);
        renewals.attend(at(51));
        assert_eq!(
            renewals.silent_for("a", renewed(2), at(600)).as_secs(),
            0,
            "nobody could renew while this process was stopped"
        );
        (1..=10).for_each(|tick| renewals.attend(at(600 + 5 * tick)));
        assert_eq!(renewals.silent_for("a", renewed(2), at(651)).as_secs(), 51);
    }
}
