//! HorizontalPodAutoscaler: a number of replicas that follows what their pods use.

mod first_version;
mod rules;

use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricStatus, MetricTarget, MetricValueStatus, ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use crate::defaults::text;
use crate::kind::{Column, Subresource, Write};
use crate::served::{Row, Served};
use crate::table::{age, column, name};
use crate::validation::Errors;

/// How much of the request pods may use where the user does not say, in percent.
const UTILIZATION: i32 = 80;
/// How many targets a cell shows.
const MAX_TARGETS: usize = 2;

const COLUMNS: &[Column] = &[
    column("Name"),
    column("Reference"),
    column("Targets"),
    column("MinPods"),
    column("MaxPods"),
    column("Replicas"),
    column("Age"),
];

impl Served for HorizontalPodAutoscaler {
    const ROW: Row = Row {
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: &["all"],
        columns: COLUMNS,
        subresources: &[Subresource::Status],
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        self.spec.min_replicas.get_or_insert(1);
        if self.spec.metrics.iter().flatten().next().is_none() {
            self.spec.metrics = Some(vec![cpu_utilization(UTILIZATION)]);
        }
        if let Some(behavior) = &mut self.spec.behavior {
            let up = behavior.scale_up.get_or_insert_default();
            up.stabilization_window_seconds.get_or_insert(0);
            scaling_rules(up, vec![policy("Pods", 4), policy("Percent", 100)]);
            let down = behavior.scale_down.get_or_insert_default();
            scaling_rules(down, vec![policy("Percent", 100)]);
        }
        self.status.get_or_insert_default();
    }

    fn validate(&self, _old: Option<&Self>, write: Write, errors: &mut Errors) {
        match write {
            Write::Status => rules::status(self, errors),
            _ => rules::spec(&self.spec, errors),
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let status = self.status.clone().unwrap_or_default();
        let current = status.current_metrics.unwrap_or_default();
        let (target, min) = (&self.spec.scale_target_ref, self.spec.min_replicas);
        let min = min.map_or_else(|| "<unset>".to_owned(), |min| min.to_string());
        vec![
            name(&self.metadata),
            format!("{}/{}", target.kind, target.name).into(),
            targets(&self.spec, &current).into(),
            min.into(),
            self.spec.max_replicas.into(),
            status.current_replicas.unwrap_or(0).into(),
            age(&self.metadata, now),
        ]
    }
}

/// A metric: so many percent of the CPU that pods request.
fn cpu_utilization(percent: i32) -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..Default::default()
            },
        }),
        ..Default::default()
    }
}

fn policy(kind: &str, value: i32) -> HPAScalingPolicy {
    HPAScalingPolicy {
        type_: kind.to_owned(),
        value,
        period_seconds: 15,
    }
}

fn scaling_rules(rules: &mut HPAScalingRules, policies: Vec<HPAScalingPolicy>) {
    text(&mut rules.select_policy, "Max");
    rules.policies.get_or_insert(policies);
}

/// `cpu: 10%/80%`; the first few metrics.
fn targets(spec: &HorizontalPodAutoscalerSpec, current: &[MetricStatus]) -> String {
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    if metrics.is_empty() {
        return crate::table::NONE.to_owned();
    }
    let texts = metrics
        .iter()
        .take(MAX_TARGETS)
        .enumerate()
        .map(|(at, metric)| target(metric, current.get(at)));
    let shown = texts.collect::<Vec<_>>().join(", ");
    match metrics.len() {
        count if count > MAX_TARGETS => format!("{shown} + {} more...", count - MAX_TARGETS),
        _ => shown,
    }
}

fn target(metric: &MetricSpec, status: Option<&MetricStatus>) -> String {
    let value = |current: Option<Option<Quantity>>, target: &Option<Quantity>| {
        let current = current
            .flatten()
            .map_or("<unknown>".to_owned(), |current| current.0);
        format!(
            "{current}/{}",
            target.as_ref().map_or("<auto>", |target| &target.0)
        )
    };
    let average = |current: Option<MetricValueStatus>| current.map(|current| current.average_value);
    let plain = |current: Option<MetricValueStatus>| current.map(|current| current.value);
    let resource = |name: &str, target: &MetricTarget, current: Option<MetricValueStatus>| {
        if target.average_value.is_some() {
            return format!("{name}: {}", value(average(current), &target.average_value));
        }
        let percent = |number: Option<i32>, absent: &str| {
            number.map_or_else(|| absent.to_owned(), |number| format!("{number}%"))
        };
        let used = current.and_then(|current| current.average_utilization);
        let wanted = percent(target.average_utilization, "<auto>");
        format!("{name}: {}/{wanted}", percent(used, "<unknown>"))
    };
    match metric.type_.as_str() {
        "Resource" => metric.resource.as_ref().map(|source| {
            let current = status.and_then(|status| status.resource.clone());
            resource(&source.name, &source.target, current.map(|status| status.current))
        }),
        "ContainerResource" => metric.container_resource.as_ref().map(|source| {
            let current = status.and_then(|status| status.container_resource.clone());
            resource(&source.name, &source.target, current.map(|status| status.current))
        }),
        "Pods" => metric.pods.as_ref().map(|source| {
            let current = status.and_then(|status| status.pods.clone());
            value(
                average(current.map(|status| status.current)),
                &source.target.average_value,
            )
        }),
        "Object" => metric.object.as_ref().map(|source| {
            let current = status
                .and_then(|status| status.object.clone())
                .map(|status| status.current);
            if source.target.average_value.is_some() {
                return format!("{} (avg)", value(average(current), &source.target.average_value));
            }
            value(plain(current), &source.target.value)
        }),
        "External" => metric.external.as_ref().map(|source| {
            let current = status
                .and_then(|status| status.external.clone())
                .map(|status| status.current);
            if source.target.average_value.is_some() {
                return format!("{} (avg)", value(average(current), &source.target.average_value));
            }
            value(plain(current), &source.target.value)
        }),
        _ => None,
    }
    .unwrap_or_else(|| "<unknown type>".to_owned())
}
