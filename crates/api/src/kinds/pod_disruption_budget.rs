//! PodDisruptionBudget: how many pods may be evicted at once.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::kind::{Subresource, Write};
use crate::served::{Row, Served};
use crate::table::{age, column, name, number};
use crate::validation::{self, Errors, Path, values};

impl Served for PodDisruptionBudget {
    const ROW: Row = Row {
        singular: "poddisruptionbudget",
        short_names: &["pdb"],
        columns: &[
            column("Name"),
            column("Min Available"),
            column("Max Unavailable"),
            number("Allowed Disruptions"),
            column("Age"),
        ],
        subresources: &[Subresource::Status],
        generation: true,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        self.spec.get_or_insert_default();
        let status = self.status.get_or_insert_default();
        for count in [
            &mut status.disruptions_allowed,
            &mut status.current_healthy,
            &mut status.desired_healthy,
            &mut status.expected_pods,
        ] {
            count.get_or_insert(0);
        }
    }

    /// A new budget allows nothing until its pods have been counted.
    fn prepare(object: &mut Value, old: Option<&Value>, _write: Write) {
        if old.is_none()
            && let Ok(mut budget) = serde_json::from_value::<Self>(object.clone())
        {
            Served::default(&mut budget);
            *object = serde_json::json!(budget);
        }
    }

    fn validate(&self, _old: Option<&Self>, write: Write, errors: &mut Errors) {
        if write == Write::Status {
            return counts(self, errors);
        }
        let spec = self.spec.clone().unwrap_or_default();
        let path = Path::ROOT.field("spec");
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            let detail = "minAvailable and maxUnavailable cannot be both set";
            errors.invalid(&path, &spec, detail);
        }
        for (field, value) in [
            ("minAvailable", &spec.min_available),
            ("maxUnavailable", &spec.max_unavailable),
        ] {
            if let Some(value) = value {
                let path = path.field(field);
                values::count_or_percent(value, &path, errors);
                values::at_most_all(value, &path, errors);
            }
        }
        if let Some(selector) = &spec.selector {
            validation::selector::validate(selector, &path.field("selector"), errors);
        }
        if let Some(policy) = spec.unhealthy_pod_eviction_policy.as_deref()
            && !["AlwaysAllow", "IfHealthyBudget"].contains(&policy)
        {
            let path = path.field("unhealthyPodEvictionPolicy");
            errors.not_supported(&path, policy, &["AlwaysAllow", "IfHealthyBudget"]);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        let limit = |value: Option<IntOrString>| match value {
            Some(IntOrString::Int(number)) => number.to_string(),
            Some(IntOrString::String(text)) => text,
            None => "N/A".to_owned(),
        };
        let allowed = self.status.as_ref().and_then(|status| status.disruptions_allowed);
        vec![
            name(&self.metadata),
            limit(spec.min_available).into(),
            limit(spec.max_unavailable).into(),
            allowed.unwrap_or(0).into(),
            age(&self.metadata, now),
        ]
    }
}

fn counts(budget: &PodDisruptionBudget, errors: &mut Errors) {
    let status = budget.status.clone().unwrap_or_default();
    let path = Path::ROOT.field("status");
    for (field, count) in [
        ("disruptionsAllowed", status.disruptions_allowed),
        ("currentHealthy", status.current_healthy),
        ("desiredHealthy", status.desired_healthy),
        ("expectedPods", status.expected_pods),
    ] {
        errors.non_negative(&path.field(field), count.map(i64::from));
    }
}
