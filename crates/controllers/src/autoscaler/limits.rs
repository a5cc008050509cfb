//! How fast the number of pods may change: recommendations are steadied over a while, changes are limited in rate. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec};

/// For how long the highest recommendation holds, where the user does not say.
const STEADY_DOWN: i32 = 300;

/// What an autoscaler remembers.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was recommended, and when.
    recommended: Vec<(Timestamp, i32)>,
    /// By how much the number was changed, and when.
    changed: Vec<(Timestamp, i32)>,
}

/// The rules, complete.
#[derive(Clone, Debug)]
pub struct Rules {
    min: i32,
    max: i32,
    up: HPAScalingRules,
    down: HPAScalingRules,
}

/// Why the number is not the one recommended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is.
    No,
    /// Upstream's reason and sentence.
    By(&'static str, &'static str),
}

const FAST_UP: Held = Held::By(
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
);
const FAST_DOWN: Held = Held::By(
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
);
const TOO_MANY: Held = Held::By(
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
);
const TOO_FEW: Held = Held::By(
    "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
);

impl Rules {
    /// The spec's rules, and upstream's where it has none.
    pub fn of(spec: &HorizontalPodAutoscalerSpec) -> Self {
        let policy = |kind: &str, value| HPAScalingPolicy {
            type_: kind.to_owned(),
            value,
            period_seconds: 15,
        };
        let behavior = spec.behavior.clone().unwrap_or_default();
        let mut up = behavior.scale_up.unwrap_or_default();
        up.policies
            .get_or_insert_with(|| vec![policy("Pods", 4), policy("Percent", 100)]);
        let mut down = behavior.scale_down.unwrap_or_default();
        down.policies.get_or_insert_with(|| vec![policy("Percent", 100)]);
        down.stabilization_window_seconds.get_or_insert(STEADY_DOWN);
        Self {
            min: spec.min_replicas.unwrap_or(1),
            max: spec.max_replicas,
            up,
            down,
        }
    }
}

impl History {
    /// The number of pods to go to, given the one that is recommended now.
    pub fn decide(&mut self, rules: &Rules, current: i32, recommended: i32, now: Timestamp) -> (i32, Held) {
        let steady = self.steady(rules, current, recommended, now);
        self.limit(rules, current, steady, now)
    }

    /// Whether recent recommendations keep the number up.
    pub fn is_steadied(&self, rules: &Rules, recommended: i32, now: Timestamp) -> bool {
        let window = rules.down.stabilization_window_seconds.unwrap_or(0);
        let mut recent = self
            .recommended
            .iter()
            .filter(|(at, _)| is_within(*at, now, window));
        recent.any(|(_, other)| *other > recommended)
    }

    /// The lowest of the recommendations that ask for more, the highest of those that ask for less. What was there at the
    /// beginning counts as recommended.
    fn steady(&mut self, rules: &Rules, current: i32, recommended: i32, now: Timestamp) -> i32 {
        if self.recommended.is_empty() {
            self.recommended.push((now, current));
        }
        let up = rules.up.stabilization_window_seconds.unwrap_or(0);
        let down = rules.down.stabilization_window_seconds.unwrap_or(0);
        self.recommended
            .retain(|(at, _)| is_within(*at, now, up.max(down)));
        let recent = |window| {
            let recent = self
                .recommended
                .iter()
                .filter(move |(at, _)| is_within(*at, now, window));
            recent.map(|(_, other)| *other)
        };
        let least = recent(up).fold(recommended, i32::min);
        let most = recent(down).fold(recommended, i32::max);
        self.recommended.push((now, recommended));
        current.max(least).min(most)
    }

    fn limit(&self, rules: &Rules, current: i32, wanted: i32, now: Timestamp) -> (i32, Held) {
        if wanted > current {
            let most = self.most(&rules.up, current, now).max(current);
            return match wanted {
                wanted if wanted > most && most < rules.max => (most, FAST_UP),
                wanted if wanted > rules.max => (rules.max, TOO_MANY),
                wanted => (wanted, Held::No),
            };
        }
        if wanted < current {
            let least = self.least(&rules.down, current, now).min(current);
            return match wanted {
                wanted if wanted < least && least > rules.min => (least, FAST_DOWN),
                wanted if wanted < rules.min => (rules.min, TOO_FEW),
                wanted => (wanted, Held::No),
            };
        }
        (wanted, Held::No)
    }

    fn most(&self, rules: &HPAScalingRules, current: i32, now: Timestamp) -> i32 {
        let limits = rules.policies.iter().flatten().map(|policy| {
            let base = i64::from(self.at_start(policy, current, now));
            let value = i64::from(policy.value);
            match policy.type_.as_str() {
                "Percent" => (base * (100 + value) + 99).div_euclid(100),
                _ => base + value,
            }
        });
        chosen(rules, limits, current, i64::max)
    }

    fn least(&self, rules: &HPAScalingRules, current: i32, now: Timestamp) -> i32 {
        let limits = rules.policies.iter().flatten().map(|policy| {
            let base = i64::from(self.at_start(policy, current, now));
            let value = i64::from(policy.value);
            match policy.type_.as_str() {
                "Percent" => (base * (100 - value)).div_euclid(100),
                _ => base - value,
            }
        });
        chosen(rules, limits, current, i64::min)
    }

    /// How many pods there were when the policy's period began.
    fn at_start(&self, policy: &HPAScalingPolicy, current: i32, now: Timestamp) -> i32 {
        let recent = self
            .changed
            .iter()
            .filter(|(at, _)| is_within(*at, now, policy.period_seconds));
        recent.fold(current, |base, (_, by)| base.saturating_sub(*by))
    }

    /// Remembers a change.
    pub fn changed(&mut self, rules: &Rules, from: i32, to: i32, now: Timestamp) {
        let all = rules.up.policies.iter().chain(&rules.down.policies).flatten();
        let longest = all.map(|policy| policy.period_seconds).max().unwrap_or(0);
        self.changed.retain(|(at, _)| is_within(*at, now, longest));
        self.changed.push((now, to.saturating_sub(from)));
    }
}

fn is_within(at: Timestamp, now: Timestamp, seconds: i32) -> bool {
    let age = now.duration_since(at);
    age < SignedDuration::from_secs(seconds.into())
}

/// The limit that goes furthest, or with `Min` the one that goes least far; `Disabled` allows no change.
fn chosen(
    rules: &HPAScalingRules,
    limits: impl Iterator<Item = i64>,
    current: i32,
    furthest: fn(i64, i64) -> i64,
) -> i32 {
    let nearest: fn(i64, i64) -> i64 = if furthest(0, 1) == 1 { i64::min } else { i64::max };
    let limit = match rules.select_policy.as_deref() {
        Some("Disabled") => None,
        Some("Min") => limits.reduce(nearest),
        _ => limits.reduce(furthest),
    };
    let limit = limit.unwrap_or(current.into());
    i32::try_from(limit.max(0)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn rules(behavior: &Value) -> Rules {
        let spec = json!({ "minReplicas": 2, "maxReplicas": 20, "scaleTargetRef": {}, "behavior": behavior });
        Rules::of(&serde_json::from_value(spec).unwrap())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn up_at_once_but_not_by_more_than_doubling_or_four() {
        let (mut history, rules) = (History::default(), rules(&Value::Null));
        assert_eq!(history.decide(&rules, 2, 15, at(0)), (6, FAST_UP));
        history.changed(&rules, 2, 6, at(0));
        assert_eq!(history.decide(&rules, 6, 15, at(5)), (6, FAST_UP));
        assert_eq!(history.decide(&rules, 6, 15, at(15)), (12, FAST_UP));
        history.changed(&rules, 6, 12, at(15));
        assert_eq!(history.decide(&rules, 12, 99, at(30)), (20, TOO_MANY));
    }

    #[test]
    fn down_only_after_five_quiet_minutes() {
        let (mut history, rules) = (History::default(), rules(&Value::Null));
        assert_eq!(history.decide(&rules, 10, 10, at(0)).0, 10);
        assert_eq!(history.decide(&rules, 10, 1, at(15)).0, 10);
        assert!(history.is_steadied(&rules, 1, at(15)));
        assert_eq!(history.decide(&rules, 10, 1, at(301)), (2, TOO_FEW));
    }

    #[test]
    fn the_users_rules() {
        let down = json!({ "stabilizationWindowSeconds": 0, "policies": [
            { "type": "Pods", "value": 1, "periodSeconds": 60 }, { "type": "Percent", "value": 50, "periodSeconds": 60 }] });
        let slow = rules(&json!({ "scaleDown": down, "scaleUp": { "selectPolicy": "Disabled" } }));
        assert_eq!(History::default().decide(&slow, 10, 2, at(0)), (5, FAST_DOWN));
        assert_eq!(History::default().decide(&slow, 10, 12, at(0)), (10, FAST_UP));
        let mut least = down;
        least["selectPolicy"] = json!("Min");
        let least = rules(&json!({ "scaleDown": least }));
        let mut history = History::default();
        assert_eq!(history.decide(&least, 10, 2, at(0)), (9, FAST_DOWN));
        history.changed(&least, 10, 9, at(0));
        assert_eq!(history.decide(&least, 9, 2, at(30)), (9, FAST_DOWN));
        assert_eq!(history.decide(&least, 9, 2, at(60)), (8, FAST_DOWN));
    }

    proptest! {
        /// Whatever is recommended: within the bounds, never past the recommendation, never the other way.
        #[test]
        fn stays_in_bounds(current in 2..=20, steps in prop::collection::vec((0..100, 1..40_i64), 1..30)) {
            let (mut history, rules) = (History::default(), rules(&Value::Null));
            let (mut current, mut second) = (current, 0);
            for (recommended, pause) in steps {
                second += pause;
                let (wanted, _) = history.decide(&rules, current, recommended, at(second));
                prop_assert!((2..=20).contains(&wanted));
                prop_assert!(wanted <= current || wanted <= recommended);
                prop_assert!(wanted >= current || wanted >= recommended.min(2));
                prop_assert!(wanted <= (current * 2).max(current + 4));
                if wanted != current {
                    history.changed(&rules, current, wanted, at(second));
                }
                current = wanted;
            }
        }
    }
}
