//! LimitRange: what one pod or container of a namespace may ask for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use crate::kind::Write;
use crate::quantity::Amount;
use crate::served::{Row, Served};
use crate::table::{CREATED_AT, column, created_at, name};
use crate::validation::{Errors, Path, names};

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
            errors.problems(&type_path, &item.type_, &names::qualified_name(&item.type_));
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
    if item.type_ == "Pod" {
        for (field, amounts) in [
            ("default", &item.default),
            ("defaultRequest", &item.default_request),
        ] {
            if amounts.iter().flatten().next().is_some() {
                let detail = "may not be specified when `type` is 'Pod'";
                errors.forbidden(&path.field(field), detail);
            }
        }
    }
    // From the least to the greatest; no pair may be the wrong way round.
    let ordered = [
        ("min", "min", &item.min),
        ("defaultRequest", "default request", &item.default_request),
        ("default", "default limit", &item.default),
        ("max", "max", &item.max),
    ];
    for (at, (field, low_name, low)) in ordered.iter().enumerate() {
        for (_, high_name, high) in &ordered[at + 1..] {
            for (resource, low) in low.iter().flatten() {
                let Some(high) = high.as_ref().and_then(|high| high.get(resource)) else {
                    continue;
                };
                if parse(low) > parse(high) {
                    let detail = format!(
                        "{low_name} value {} is greater than {high_name} value {}",
                        low.0, high.0
                    );
                    errors.invalid(&path.field(field).key(resource), &low.0, &detail);
                }
            }
        }
    }
    let path = path.field("maxLimitRequestRatio");
    for (resource, ratio) in item.max_limit_request_ratio.iter().flatten() {
        if parse(ratio) < Some(Amount::from_milli(1000)) {
            let detail = format!("ratio {} is less than 1", ratio.0);
            errors.invalid(&path.key(resource), &ratio.0, &detail);
        }
    }
}

fn parse(quantity: &Quantity) -> Option<Amount> {
    quantity.0.parse().ok()
}
