//! From what pods use to how many there should be. Pure.

/// How much the pods may be above or below the target before anything is done, as a part of it.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Below the target.
    pub down: f64,
    /// Above it.
    pub up: f64,
}

/// What the pods should use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// So many percent of what they request.
    Utilization(i32),
    /// So much each, in thousandths.
    Average(i64),
}

/// Whether a pod's usage says something about the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves, and has been measured.
    Ready,
    /// It is starting, and busy with itself.
    Unready,
    /// It has not been measured.
    Missing,
}

/// One pod.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// How it stands.
    pub state: State,
    /// What it uses, in thousandths; of no meaning unless it is ready.
    pub usage: i64,
    /// What it requests, in thousandths.
    pub request: i64,
}

/// What comes out for one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The number of pods.
    pub replicas: i32,
    /// What ready pods use of their requests, in percent, if that is what the target is about.
    pub utilization: Option<i32>,
    /// What a ready pod uses on average, in thousandths.
    pub average: i64,
}

/// The number of pods at which each would use its target. `None`: no ready pod has been measured, or nothing is requested.
///
/// Pods that say nothing never make the change larger: unready ones count as idle when there should be more pods, those
/// not measured as busy when there should be fewer.
pub fn propose(current: i32, pods: &[Seen], target: Target, tolerance: Tolerance) -> Option<Proposal> {
    let of = |state| pods.iter().filter(move |pod| pod.state == state);
    let mut counted: Vec<Seen> = of(State::Ready).copied().collect();
    let (ratio, utilization, average) = measure(&counted, target)?;
    let proposal = |replicas| Proposal {
        replicas,
        utilization,
        average,
    };
    let missing = of(State::Missing).count();
    let counts_unready = ratio > 1.0 && of(State::Unready).next().is_some();
    if missing == 0 && !counts_unready {
        let wanted = ceil(ratio, counted.len());
        return Some(proposal(if tolerance.covers(ratio) { current } else { wanted }));
    }
    if ratio < 1.0 {
        counted.extend(of(State::Missing).map(|pod| Seen {
            usage: match target {
                Target::Utilization(percent) => pod.request * i64::from(percent.max(100)) / 100,
                Target::Average(amount) => amount,
            },
            ..*pod
        }));
    } else if ratio > 1.0 {
        let unready = of(State::Unready).filter(|_| counts_unready);
        counted.extend(
            of(State::Missing)
                .chain(unready)
                .map(|pod| Seen { usage: 0, ..*pod }),
        );
    }
    let (with_all, _, _) = measure(&counted, target)?;
    let turns = (ratio < 1.0 && with_all > 1.0) || (ratio > 1.0 && with_all < 1.0);
    let wanted = ceil(with_all, counted.len());
    let backwards = (with_all < 1.0 && wanted > current) || (with_all > 1.0 && wanted < current);
    let stays = turns || backwards || tolerance.covers(with_all);
    Some(proposal(if stays { current } else { wanted }))
}

impl Tolerance {
    fn covers(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// How far from the target, the percentage of the requests, and the average.
#[allow(
    clippy::cast_precision_loss,
    reason = "usage in thousandths is far below 2^53"
)]
fn measure(pods: &[Seen], target: Target) -> Option<(f64, Option<i32>, i64)> {
    let count = i64::try_from(pods.len()).ok().filter(|count| *count > 0)?;
    let used: i64 = pods.iter().fold(0, |sum, pod| sum.saturating_add(pod.usage));
    let average = used / count;
    match target {
        Target::Average(amount) => Some((average as f64 / amount.max(1) as f64, None, average)),
        Target::Utilization(percent) => {
            let requested = pods
                .iter()
                .fold(0_i64, |sum, pod| sum.saturating_add(pod.request));
            let used = used.saturating_mul(100).checked_div(requested)?;
            let used = i32::try_from(used).unwrap_or(i32::MAX);
            Some((f64::from(used) / f64::from(percent.max(1)), Some(used), average))
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a float cast saturates, and nobody has 2^53 pods"
)]
fn ceil(ratio: f64, pods: usize) -> i32 {
    (ratio * pods as f64).ceil() as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOLERANCE: Tolerance = Tolerance { down: 0.1, up: 0.1 };

    fn pod(state: State, usage: i64) -> Seen {
        Seen {
            state,
            usage,
            request: 1000,
        }
    }

    fn replicas(current: i32, pods: &[Seen], target: Target) -> Option<i32> {
        propose(current, pods, target, TOLERANCE).map(|proposal| proposal.replicas)
    }

    #[test]
    fn follows_the_ratio() {
        let ready = |usage| pod(State::Ready, usage);
        let half = Target::Utilization(50);
        assert_eq!(replicas(2, &[ready(900), ready(1100)], half), Some(4));
        assert_eq!(replicas(3, &[ready(100); 3], half), Some(1));
        // Within a tenth of the target nothing happens.
        assert_eq!(replicas(2, &[ready(540), ready(540)], half), Some(2));
        assert_eq!(
            replicas(2, &[ready(300), ready(300)], Target::Average(100)),
            Some(6)
        );
        assert_eq!(replicas(2, &[], half), None);
        let proposal = propose(2, &[ready(900), ready(1100)], half, TOLERANCE);
        assert_eq!(
            proposal.map(|it| (it.utilization, it.average)),
            Some((Some(100), 1000))
        );
    }

    #[test]
    fn pods_that_say_nothing_damp() {
        let half = Target::Utilization(50);
        let (ready, unready, missing) = (
            |usage| pod(State::Ready, usage),
            pod(State::Unready, 0),
            pod(State::Missing, 0),
        );
        // Alone the ready one would ask for two; with an idle one beside it, two are just right.
        assert_eq!(replicas(2, &[ready(1000), unready], half), Some(2));
        // Idle, but one might be at work.
        assert_eq!(replicas(2, &[ready(100), missing], half), Some(2));
        assert_eq!(replicas(2, &[ready(900), missing], half), Some(2));
        assert_eq!(
            replicas(4, &[ready(100), ready(100), ready(100), unready], half),
            Some(1)
        );
    }

    fn any_pod() -> impl Strategy<Value = Seen> {
        let state = prop_oneof![Just(State::Ready), Just(State::Unready), Just(State::Missing)];
        (state, 0..5000_i64, 1..2000_i64).prop_map(|(state, usage, request)| Seen {
            state,
            usage,
            request,
        })
    }

    proptest! {
        /// More load never asks for fewer pods, and pods that say nothing never turn the direction round.
        #[test]
        fn is_monotonous(pods in prop::collection::vec(any_pod(), 0..12), percent in 1..200, more in 0..3000_i64) {
            let current = i32::try_from(pods.len()).unwrap();
            let target = Target::Utilization(percent);
            let busier: Vec<_> = pods.iter().map(|pod| Seen { usage: pod.usage + more, ..*pod }).collect();
            if pods.iter().all(|pod| pod.state == State::Ready)
                && let (Some(less), Some(more)) = (replicas(current, &pods, target), replicas(current, &busier, target)) {
                prop_assert!(less <= more);
            }
            let ready: Vec<_> = pods.iter().filter(|pod| pod.state == State::Ready).copied().collect();
            if let (Some(wanted), Some((ratio, _, _))) = (replicas(current, &pods, target), measure(&ready, target)) {
                prop_assert!(wanted >= 0);
                prop_assert!(ratio >= 1.0 || wanted <= current);
            }
        }
    }
}
