//! The autoscaler's status, put together during one look.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus, MetricStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Held;

/// The status as it will be written.
pub struct Report {
    /// Numbers and times.
    pub status: HorizontalPodAutoscalerStatus,
    conditions: Vec<HorizontalPodAutoscalerCondition>,
    now: Timestamp,
}

impl Report {
    /// Begins with the status as it is.
    pub fn new(autoscaler: &HorizontalPodAutoscaler, now: Timestamp) -> Self {
        let mut status = autoscaler.status.clone().unwrap_or_default();
        let conditions = status.conditions.take().unwrap_or_default();
        status.current_metrics = None;
        Self {
            status,
            conditions,
            now: Timestamp::from_second(now.as_second()).unwrap_or(now),
        }
    }

    /// The time, in whole seconds.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Sets a condition; its time moves with its status only.
    pub fn condition(&mut self, type_: &str, is_true: bool, reason: &str, message: &str) {
        let status = if is_true { "True" } else { "False" };
        let old = self
            .conditions
            .iter()
            .position(|condition| condition.type_ == type_);
        let kept = old
            .and_then(|at| self.conditions.get(at))
            .filter(|old| old.status == status);
        let since = kept.and_then(|kept| kept.last_transition_time.clone());
        let new = HorizontalPodAutoscalerCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: since.or(Some(Time(self.now))),
        };
        match old.and_then(|at| self.conditions.get_mut(at)) {
            Some(old) => *old = new,
            None => self.conditions.push(new),
        }
    }

    /// Adds what was measured.
    pub fn metric(&mut self, metric: MetricStatus) {
        self.status.current_metrics.get_or_insert_default().push(metric);
    }

    /// Whether a limit changed the number.
    pub fn held(&mut self, held: Held) {
        match held {
            Held::By(reason, message) => self.condition("ScalingLimited", true, reason, message),
            Held::No => {
                let message = "the desired count is within the acceptable range";
                self.condition("ScalingLimited", false, "DesiredWithinRange", message);
            }
        }
    }

    /// Recent recommendations were higher.
    pub fn steadied(&mut self) {
        let message =
            "recent recommendations were higher than current one, applying the highest recent recommendation";
        self.condition("AbleToScale", true, "ScaleDownStabilized", message);
    }

    /// Nothing keeps the autoscaler from scaling.
    pub fn ready(&mut self) {
        let message = "recommended size matches current size";
        self.condition("AbleToScale", true, "ReadyForNewScale", message);
    }

    /// The status.
    pub fn finish(self) -> HorizontalPodAutoscalerStatus {
        HorizontalPodAutoscalerStatus {
            conditions: Some(self.conditions),
            ..self.status
        }
    }
}
