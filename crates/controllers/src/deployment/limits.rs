//! How many replicas a Deployment may have at a time: the arithmetic of maxSurge and maxUnavailable. Pure.

use k8s_openapi::api::apps::v1::DeploymentSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The numbers that bound a rollout. Upstream's `ResolveFenceposts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Replicas wanted.
    pub replicas: i32,
    /// How many more than wanted there may be.
    pub surge: i32,
    /// How many of the wanted ones may be unavailable.
    pub unavailable: i32,
    /// Whether new replicas come while old ones go (else all old ones go first).
    pub is_rolling: bool,
}

impl Limits {
    /// Resolves percentages: surge is rounded up, unavailable down. If nothing could move, one may be unavailable.
    pub fn of(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1).max(0);
        let strategy = spec.strategy.as_ref();
        let is_rolling = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate");
        if !is_rolling {
            return Self {
                replicas,
                surge: 0,
                unavailable: 0,
                is_rolling,
            };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = resolve(
            rolling.and_then(|rolling| rolling.max_surge.as_ref()),
            replicas,
            Round::Up,
        );
        let unavailable = resolve(
            rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
            replicas,
            Round::Down,
        );
        let unavailable = if surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        };
        Self {
            replicas,
            surge,
            unavailable: unavailable.min(replicas),
            is_rolling,
        }
    }

    /// The most replicas that ReplicaSets may ask for together.
    pub fn max_total(&self) -> i32 {
        self.replicas.saturating_add(self.surge)
    }

    /// The fewest replicas that must be available.
    pub fn min_available(&self) -> i32 {
        self.replicas - self.unavailable
    }
}

#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
}

/// A number as it is, a percentage of `of`; 25% if absent.
fn resolve(value: Option<&IntOrString>, of: i32, round: Round) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(number)) => return (*number).max(0),
        Some(IntOrString::String(text)) => text.trim_end_matches('%').parse().unwrap_or(0),
        None => 25,
    };
    let hundredths = i64::from(of) * i64::from(percent.max(0));
    let resolved = match round {
        Round::Up => (hundredths + 99) / 100,
        Round::Down => hundredths / 100,
    };
    i32::try_from(resolved).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::{DeploymentStrategy, RollingUpdateDeployment};

    use super::*;

    fn limits(replicas: i32, surge: &str, unavailable: &str) -> Limits {
        let value = |text: &str| match text.parse() {
            Ok(number) => IntOrString::Int(number),
            Err(_) => IntOrString::String(text.to_owned()),
        };
        let rolling_update = RollingUpdateDeployment {
            max_surge: Some(value(surge)),
            max_unavailable: Some(value(unavailable)),
        };
        Limits::of(&DeploymentSpec {
            replicas: Some(replicas),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(rolling_update),
            }),
            ..Default::default()
        })
    }

    #[test]
    fn percentages_are_rounded_as_upstream_rounds_them() {
        for (replicas, surge, unavailable, expected) in [
            (4, "25%", "25%", (1, 1, 5, 3)),
            (3, "25%", "25%", (1, 0, 4, 3)),
            (1, "25%", "25%", (1, 0, 2, 1)),
            (10, "30%", "20%", (3, 2, 13, 8)),
            (2, "0%", "1%", (0, 1, 2, 1)),
            (0, "25%", "25%", (0, 0, 0, 0)),
            (4, "0", "9", (0, 4, 4, 0)),
            (4, "100%", "0", (4, 0, 8, 4)),
        ] {
            let limits = limits(replicas, surge, unavailable);
            let got = (
                limits.surge,
                limits.unavailable,
                limits.max_total(),
                limits.min_available(),
            );
            assert_eq!(got, expected, "{replicas} {surge}/{unavailable}");
        }
    }

    #[test]
    fn recreate_has_no_leeway_and_absent_means_a_quarter() {
        let strategy = DeploymentStrategy {
            type_: Some("Recreate".into()),
            rolling_update: None,
        };
        let recreate = DeploymentSpec {
            replicas: Some(4),
            strategy: Some(strategy),
            ..Default::default()
        };
        let limits = Limits::of(&recreate);
        assert_eq!(
            (limits.max_total(), limits.min_available(), limits.is_rolling),
            (4, 4, false)
        );
        let absent = Limits::of(&DeploymentSpec {
            replicas: Some(4),
            ..Default::default()
        });
        assert_eq!((absent.max_total(), absent.min_available()), (5, 3));
    }
}
