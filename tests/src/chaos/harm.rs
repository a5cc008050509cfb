//! What damage explains a dropped request.
//!
//! Flows in: what was killed and when, and a failed request. Flows out: the kill that the request cannot have survived, or
//! nothing. It is strict: a request that the balancer could send again must not fail with its pod, and nothing but a kill
//! explains anything.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use load::{Cause, Failure};

/// From a process's end until its client must have noticed, on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// What was killed.
#[derive(Clone, Debug)]
pub enum Killed {
    /// The balancer, with all connections.
    Balancer {
        /// No server was there to keep its listening sockets and to start another.
        alone: bool,
    },
    /// A pod's processes.
    Pod {
        /// Which Service it belongs to.
        service: usize,
        /// Its name.
        name: String,
        /// What was killed of it.
        what: &'static str,
    },
}

/// One kill.
#[derive(Clone, Debug)]
pub struct Harm {
    /// What.
    pub killed: Killed,
    /// When.
    pub at: Instant,
    /// When its last process was gone, or its successor was there; `None`: not yet.
    pub over: Option<Instant>,
}

/// All kills of a round, in order.
#[derive(Clone, Default)]
pub struct Harms(Arc<Mutex<Vec<Harm>>>);

impl Harms {
    /// Notes one that happens now; the answer says when it is over.
    pub fn note(&self, killed: Killed) -> impl FnOnce() + Send + use<> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (harms, index) = (self.clone(), all.len());
        all.push(Harm {
            killed,
            at: Instant::now(),
            over: None,
        });
        move || {
            let mut all = harms.0.lock().unwrap_or_else(PoisonError::into_inner);
            all[index].over = Some(Instant::now());
        }
    }

    /// The kill that a failed request of this Service cannot have survived.
    pub fn explain(&self, service: usize, failed_at: Instant, failure: &Failure) -> Option<Harm> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let in_time =
            |harm: &&Harm| harm.at <= failed_at && harm.over.is_none_or(|over| failed_at <= over + SLACK);
        let mut fitting: Vec<&Harm> = all
            .iter()
            .filter(in_time)
            .filter(|harm| harm.killed.explains(service, failure))
            .collect();
        // Of several, the one of the pod that the connection was last served by; else the latest.
        fitting.sort_by_key(|harm| (harm.killed.pod() == failure.last_pod.as_deref(), harm.at));
        fitting.pop().cloned()
    }
}

impl Killed {
    fn pod(&self) -> Option<&str> {
        match self {
            Self::Balancer { .. } => None,
            Self::Pod { name, .. } => Some(name),
        }
    }

    fn explains(&self, service: usize, failure: &Failure) -> bool {
        let is_cut = matches!(
            failure.cause,
            Cause::Reset | Cause::ClosedBeforeResponse | Cause::ClosedWithinResponse
        );
        match self {
            Self::Balancer { alone } => {
                is_cut || *alone && matches!(failure.cause, Cause::Refused | Cause::ConnectTimeout)
            }
            Self::Pod { service: of, .. } => {
                let may_have_been_executed = failure.method == "POST" || failure.bytes > 0;
                is_cut && may_have_been_executed && *of == service
            }
        }
    }
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balancer { alone: false } => f.write_str("kill -9 of the balancer"),
            Self::Balancer { alone: true } => f.write_str("kill -9 of the balancer while no server ran"),
            Self::Pod { name, what, .. } => write!(f, "kill -9 of the {what} of {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(method: &'static str, cause: Cause, bytes: u64) -> Failure {
        Failure {
            at: Duration::ZERO,
            cause,
            detail: String::new(),
            local_port: None,
            answered_before: 0,
            bytes,
            last_pod: None,
            method,
        }
    }

    fn pod() -> Killed {
        Killed::Pod {
            service: 1,
            name: "web-1-x".into(),
            what: "program",
        }
    }

    #[test]
    fn a_killed_pod_explains_only_what_could_not_be_sent_again() {
        let harms = Harms::default();
        harms.note(pod())();
        let explained = |service, failure| harms.explain(service, Instant::now(), &failure).is_some();
        assert!(explained(1, failure("POST", Cause::ClosedBeforeResponse, 0)));
        assert!(explained(1, failure("GET", Cause::ClosedWithinResponse, 10)));
        assert!(!explained(1, failure("GET", Cause::ClosedBeforeResponse, 0)));
        assert!(!explained(1, failure("POST", Cause::Refused, 0)));
        assert!(!explained(1, failure("POST", Cause::Timeout, 0)));
        assert!(!explained(0, failure("POST", Cause::Reset, 0)));
    }

    #[test]
    fn only_a_balancer_that_dies_alone_refuses_connections() {
        for alone in [false, true] {
            let harms = Harms::default();
            harms.note(Killed::Balancer { alone })();
            let explained = |cause| {
                let failure = failure("GET", cause, 0);
                harms.explain(2, Instant::now(), &failure).is_some()
            };
            assert!(explained(Cause::Reset));
            assert_eq!(explained(Cause::Refused), alone);
            assert!(!explained(Cause::Status(503)));
        }
    }

    #[test]
    fn what_fails_long_after_a_kill_or_before_it_is_not_explained() {
        let before = Instant::now();
        let harms = Harms::default();
        let over = harms.note(pod());
        let post = failure("POST", Cause::Reset, 0);
        let later = Instant::now() + SLACK * 3;
        assert!(harms.explain(1, later, &post).is_some(), "it is not over");
        over();
        assert!(harms.explain(1, later, &post).is_none());
        assert!(harms.explain(1, before, &post).is_none());
    }
}
