//! LimitRange: what one pod or container of a namespace may ask for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use crate::kind::Write;
use crate::quantity::Amount;
use crate::served::{Row, Served};
use crate::table::{CREATED_AT, column, created_at, name};
use crate::validation::{Errors, Path, names, resources};

const TYPES: [&str; 3] = ["Container", "PersistentVolumeClaim", "Pod"];
const STORAGE: &str = "storage";

type Amounts = Option<BTreeMap<String, Quantity>>;

impl Served for LimitRange {
    const ROW: Row = Row {
        singular: "limitrange",
        short_names: &["limits"],
        columns: &[column("Name"), CREATED_AT],
        inert: true,
        ..Row::NAMESPACED
    };

    /// A container's limit is its maximum, its request is its limit or else its minimum.
    fn default(&mut self) {
        for item in &mut self.spec.get_or_insert_default().limits {
            if item.type_ != "Container" {
                continue;
            }
            fill(&mut item.default, &item.max);
            fill(&mut item.default_request, &item.default);
            fill(&mut item.default_request, &item.min);
        }
    }

    fn validate(&self, _old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let path = Path::ROOT.field("spec");
        let path = path.field("limits");
        let limits = self.spec.iter().flat_map(|spec| &spec.limits);
        let mut seen = Vec::new();
        for (index, item) in limits.enumerate() {
            let path = path.index(index);
            let type_path = path.field("type");
            let problems = names::qualified_name(&item.type_);
            errors.problems(&type_path, &item.type_, &problems);
            let is_standard = TYPES.contains(&item.type_.as_str()) || item.type_.contains('/');
            if problems.is_empty() && !is_standard {
                let detail = "must be a standard limit type or fully qualified";
                errors.invalid(&type_path, &item.type_, detail);
            }
            if seen.contains(&&item.type_) {
                errors.duplicate(&type_path, &item.type_);
            }
            seen.push(&item.type_);
            validate_item(item, &path, errors);
        }
    }

    fn cells(&self, _now: i64) -> Vec<Value> {
        vec![name(&self.metadata), created_at(&self.metadata)]
    }
}

fn fill(amounts: &mut Amounts, from: &Amounts) {
    for (resource, amount) in from.iter().flatten() {
        let amounts = amounts.get_or_insert_default();
        amounts.entry(resource.clone()).or_insert_with(|| amount.clone());
    }
}

fn validate_item(item: &LimitRangeItem, path: &Path<'_>, errors: &mut Errors) {
    let is_pod = item.type_ == "Pod";
    for (field, amounts, is_default) in [
        ("max", &item.max, false),
        ("min", &item.min, false),
        ("default", &item.default, true),
        ("defaultRequest", &item.default_request, true),
        ("maxLimitRequestRatio", &item.max_limit_request_ratio, false),
    ] {
        let path = path.field(field);
        if is_pod && is_default {
            if amounts.iter().flatten().next().is_some() {
                errors.forbidden(&path, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (resource, _) in amounts.iter().flatten() {
            if matches!(item.type_.as_str(), "Pod" | "Container") {
                resources::container_name(resource, &path.key(resource), errors);
            } else {
                resources::name(resource, &path.key(resource), errors);
            }
        }
    }
    if item.type_ == "PersistentVolumeClaim" && of(&item.min, STORAGE).or(of(&item.max, STORAGE)).is_none() {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&path.field("limits"), detail);
    }
    ordered(item, path, errors);
    ratios(item, &path.field("maxLimitRequestRatio"), errors);
}

/// From the least to the greatest; no pair may be the wrong way round. Each pair has its own field and value to blame.
fn ordered(item: &LimitRangeItem, path: &Path<'_>, errors: &mut Errors) {
    let (min, max) = (("min", &item.min), ("max", &item.max));
    let (mut request, mut limit) = (
        ("default request", &item.default_request),
        ("default", &item.default),
    );
    if item.type_ == "Pod" {
        (request.1, limit.1) = (&None, &None);
    }
    let (blame_low, blame_high) = (true, false);
    for (low, high, field, blamed) in [
        (min, max, "min", blame_low),
        (min, request, "defaultRequest", blame_high),
        (request, max, "defaultRequest", blame_low),
        (request, ("default limit", limit.1), "defaultRequest", blame_low),
        (min, limit, "default", blame_low),
        (limit, max, "default", blame_high),
    ] {
        let ((low_name, low), (high_name, high)) = (low, high);
        for (resource, low) in low.iter().flatten() {
            let Some(high) = high.as_ref().and_then(|high| high.get(resource)) else {
                continue;
            };
            if parse(low) > parse(high) {
                let detail = format!(
                    "{low_name} value {} is greater than {high_name} value {}",
                    low.0, high.0
                );
                let shown = if blamed == blame_low { low } else { high };
                errors.invalid(&path.field(field).key(resource), &shown.0, &detail);
            }
        }
    }
}

/// How many times a request a limit may be: at least one, and not more than the least and the greatest allow.
fn ratios(item: &LimitRangeItem, path: &Path<'_>, errors: &mut Errors) {
    for (resource, ratio) in item.max_limit_request_ratio.iter().flatten() {
        let path = path.key(resource);
        let Some(amount) = parse(ratio) else { continue };
        if amount < Amount::from_milli(1000) {
            let detail = format!("ratio {} is less than 1", ratio.0);
            errors.invalid(&path, &ratio.0, &detail);
        }
        let (Some(min), Some(max)) = (of(&item.min, resource), of(&item.max, resource)) else {
            continue;
        };
        let most = max.as_f64() / min.as_f64();
        if amount.as_f64() > most {
            let detail = format!("ratio {} is greater than max/min = {most:.6}", ratio.0);
            errors.invalid(&path, &ratio.0, &detail);
        }
    }
}

fn of(amounts: &Amounts, resource: &str) -> Option<Amount> {
    parse(amounts.as_ref()?.get(resource)?)
}

fn parse(quantity: &Quantity) -> Option<Amount> {
    quantity.0.parse().ok()
}
