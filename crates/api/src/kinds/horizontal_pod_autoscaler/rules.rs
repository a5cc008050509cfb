//! What is valid in an autoscaler.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
    MetricIdentifier, MetricSpec, MetricTarget,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity::Amount;
use crate::validation::{Errors, Path, names};

const METRICS: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
/// Longest look back of a policy, and of a stabilization window, in seconds.
const MAX_PERIOD: i32 = 1800;
const MAX_WINDOW: i32 = 3600;

/// Checks the spec.
pub(super) fn spec(spec: &HorizontalPodAutoscalerSpec, errors: &mut Errors) {
    let path = Path::ROOT.field("spec");
    if let Some(min) = spec.min_replicas.filter(|min| *min < 1) {
        errors.invalid(
            &path.field("minReplicas"),
            &min,
            "must be greater than or equal to 1",
        );
    }
    let max_path = path.field("maxReplicas");
    if spec.max_replicas < 1 {
        errors.invalid(&max_path, &spec.max_replicas, "must be greater than 0");
    }
    if spec.min_replicas.is_some_and(|min| spec.max_replicas < min) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.invalid(&max_path, &spec.max_replicas, detail);
    }
    reference(&spec.scale_target_ref, &path.field("scaleTargetRef"), errors);
    let metrics = path.field("metrics");
    for (index, one) in spec.metrics.iter().flatten().enumerate() {
        metric(one, &metrics.index(index), errors);
    }
    let behavior = spec.behavior.clone().unwrap_or_default();
    let path = path.field("behavior");
    for (field, rules) in [("scaleUp", behavior.scale_up), ("scaleDown", behavior.scale_down)] {
        if let Some(rules) = rules {
            scaling_rules(&rules, &path.field(field), errors);
        }
    }
}

fn reference(reference: &CrossVersionObjectReference, path: &Path<'_>, errors: &mut Errors) {
    for (field, text) in [("kind", &reference.kind), ("name", &reference.name)] {
        if text.is_empty() {
            errors.required(&path.field(field), "");
        } else {
            errors.problems(&path.field(field), text, &names::path_segment(text));
        }
    }
}

fn metric(metric: &MetricSpec, path: &Path<'_>, errors: &mut Errors) {
    let sources = [
        ("object", metric.object.is_some()),
        ("pods", metric.pods.is_some()),
        ("resource", metric.resource.is_some()),
        ("external", metric.external.is_some()),
        ("containerResource", metric.container_resource.is_some()),
    ];
    let kind = metric.type_.as_str();
    let mut field = kind.to_owned();
    if let Some(first) = field.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    if kind.is_empty() {
        return errors.required(&path.field("type"), "must specify a metric source type");
    }
    if !METRICS.contains(&kind) {
        return errors.not_supported(&path.field("type"), kind, &METRICS);
    }
    for (other, is_there) in sources {
        if other == field && !is_there {
            let detail = "must populate information for the given metric source";
            errors.required(&path.field(other), detail);
        } else if other != field && is_there {
            let detail = "must populate the given metric source only";
            errors.forbidden(&path.field(other), detail);
        }
    }
    if let Some(source) = &metric.resource {
        resource(&source.name, &source.target, &path.field("resource"), errors);
    }
    if let Some(source) = &metric.container_resource {
        let path = path.field("containerResource");
        resource(&source.name, &source.target, &path, errors);
        if source.container.is_empty() {
            errors.required(&path.field("container"), "must specify a container");
        }
    }
    if let Some(source) = &metric.pods {
        let path = path.field("pods");
        identifier(&source.metric, &path, errors);
        target(&source.target, &path.field("target"), errors);
        if source.target.average_value.is_none() {
            let detail = "must specify a positive target averageValue";
            errors.required(&path.field("target").field("averageValue"), detail);
        }
    }
    if let Some(source) = &metric.object {
        let path = path.field("object");
        reference(&source.described_object, &path.field("describedObject"), errors);
        identifier(&source.metric, &path, errors);
        let missing = "must set either a target value or averageValue";
        value_or_average(&source.target, missing, &path.field("target"), errors);
    }
    if let Some(source) = &metric.external {
        let path = path.field("external");
        identifier(&source.metric, &path, errors);
        let missing = "must set either a target value for metric or a per-pod target";
        let target = path.field("target");
        value_or_average(&source.target, missing, &target, errors);
        if source.target.value.is_some() && source.target.average_value.is_some() {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&target.field("value"), detail);
        }
    }
}

fn identifier(metric: &MetricIdentifier, path: &Path<'_>, errors: &mut Errors) {
    let path = path.field("metric.name");
    if metric.name.is_empty() {
        errors.required(&path, "must specify a metric name");
    } else {
        errors.problems(&path, &metric.name, &names::path_segment(&metric.name));
    }
}

fn resource(name: &str, wanted: &MetricTarget, path: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(&path.field("name"), "must specify a resource name");
    }
    let path = path.field("target");
    target(wanted, &path, errors);
    let field = path.field("averageUtilization");
    match (&wanted.average_value, wanted.average_utilization) {
        (None, None) => errors.required(
            &field,
            "must set either a target raw value or a target utilization",
        ),
        (Some(_), Some(_)) => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.forbidden(&path.field("averageValue"), detail);
        }
        _ => {}
    }
}

fn value_or_average(wanted: &MetricTarget, missing: &str, path: &Path<'_>, errors: &mut Errors) {
    target(wanted, path, errors);
    if wanted.value.is_none() && wanted.average_value.is_none() {
        errors.required(&path.field("averageValue"), missing);
    }
}

fn target(target: &MetricTarget, path: &Path<'_>, errors: &mut Errors) {
    match target.type_.as_str() {
        "" => errors.required(&path.field("type"), "must specify a metric target type"),
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            let detail = "must be either Utilization, Value, or AverageValue";
            errors.invalid(&path.field("type"), other, detail);
        }
    }
    let is_bad = |quantity: &Quantity| !quantity.0.parse::<Amount>().is_ok_and(Amount::is_positive);
    for (field, quantity) in [("value", &target.value), ("averageValue", &target.average_value)] {
        if let Some(quantity) = quantity.as_ref().filter(|quantity| is_bad(quantity)) {
            errors.invalid(&path.field(field), &quantity.0, "must be positive");
        }
    }
    if let Some(percent) = target.average_utilization.filter(|percent| *percent < 1) {
        errors.invalid(
            &path.field("averageUtilization"),
            &percent,
            "must be greater than 0",
        );
    }
}

fn scaling_rules(rules: &HPAScalingRules, path: &Path<'_>, errors: &mut Errors) {
    let window = path.field("stabilizationWindowSeconds");
    match rules.stabilization_window_seconds {
        Some(seconds) if seconds < 0 => {
            errors.invalid(&window, &seconds, "must be greater than or equal to zero");
        }
        Some(seconds) if seconds > MAX_WINDOW => {
            let detail = format!("must be less than or equal to {MAX_WINDOW}");
            errors.invalid(&window, &seconds, &detail);
        }
        _ => {}
    }
    let select = rules.select_policy.as_deref();
    errors.one_of(&path.field("selectPolicy"), select, &["Disabled", "Max", "Min"]);
    let policies = rules.policies.as_deref().unwrap_or_default();
    let path = path.field("policies");
    if policies.is_empty() {
        errors.required(&path, "must specify at least one Policy");
    }
    for (index, policy) in policies.iter().enumerate() {
        let path = path.index(index);
        errors.one_of(&path.field("type"), Some(&policy.type_), &["Percent", "Pods"]);
        if policy.value <= 0 {
            errors.invalid(&path.field("value"), &policy.value, "must be greater than zero");
        }
        let period = path.field("periodSeconds");
        match policy.period_seconds {
            ..=0 => errors.invalid(&period, &policy.period_seconds, "must be greater than zero"),
            1..=MAX_PERIOD => {}
            seconds => {
                let detail = format!("must be less than or equal to {MAX_PERIOD}");
                errors.invalid(&period, &seconds, &detail);
            }
        }
    }
}

/// Checks the counts.
pub(super) fn status(autoscaler: &HorizontalPodAutoscaler, errors: &mut Errors) {
    let status = autoscaler.status.clone().unwrap_or_default();
    let path = Path::ROOT.field("status");
    for (field, count) in [
        ("currentReplicas", status.current_replicas),
        ("desiredReplicas", Some(status.desired_replicas)),
    ] {
        errors.non_negative(&path.field(field), count.map(i64::from));
    }
}
