//! ResourceQuota: how much a namespace may have.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec, ScopeSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use crate::kind::{Subresource, Write};
use crate::served::{Row, Served};
use crate::table::{age, column, name};
use crate::validation::{Errors, Path, resources};

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// Scopes that a pod is in or not, whatever their values.
const PLAIN_SCOPES: [&str; 5] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "Terminating",
];
const COMPUTE: [&str; 6] = [
    "cpu",
    "limits.cpu",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.memory",
];
const UNFIT: &str = "unsupported scope applied to resource";

impl Served for ResourceQuota {
    const ROW: Row = Row {
        singular: "resourcequota",
        short_names: &["quota"],
        columns: &[column("Name"), column("Request"), column("Limit"), column("Age")],
        subresources: &[Subresource::Status],
        inert: true,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        self.spec.get_or_insert_default();
        self.status.get_or_insert_default();
    }

    fn validate(&self, old: Option<&Self>, write: Write, errors: &mut Errors) {
        let path = Path::ROOT.field("spec");
        if write == Write::Status {
            let status = self.status.clone().unwrap_or_default();
            let path = Path::ROOT.field("status");
            amounts(status.hard.as_ref(), &path.field("hard"), errors);
            return amounts(status.used.as_ref(), &path.field("used"), errors);
        }
        let spec = self.spec.clone().unwrap_or_default();
        amounts(spec.hard.as_ref(), &path.field("hard"), errors);
        scopes(&spec, &path, errors);
        if let Some(old) = old.and_then(|old| old.spec.as_ref()) {
            errors.immutable(&path.field("scopes"), &spec.scopes, &old.scopes);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let status = self.status.clone().unwrap_or_default();
        let used = status.used.unwrap_or_default();
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        // What nobody has counted yet is not shown.
        for (resource, hard) in status.hard.iter().flatten() {
            let used = used.get(resource).map_or("0", |used| used.0.as_str());
            let text = format!("{resource}: {used}/{}", hard.0);
            if resource.starts_with("limits") {
                limits.push(text);
            } else {
                requests.push(text);
            }
        }
        vec![
            name(&self.metadata),
            requests.join(", ").into(),
            limits.join(", ").into(),
            age(&self.metadata, now),
        ]
    }
}

fn amounts(amounts: Option<&BTreeMap<String, Quantity>>, path: &Path<'_>, errors: &mut Errors) {
    for (resource, quantity) in amounts.into_iter().flatten() {
        let path = path.key(resource);
        resources::quota_name(resource, &path, errors);
        resources::amount(resource, quantity, &path, errors);
    }
}

fn scopes(spec: &ResourceQuotaSpec, path: &Path<'_>, errors: &mut Errors) {
    let scopes = spec.scopes.as_deref().unwrap_or_default();
    let scopes_path = path.field("scopes");
    for scope in scopes {
        if !SCOPES.contains(&scope.as_str()) {
            errors.invalid(&scopes_path, scopes, "unsupported scope");
        }
        for _ in misfits(spec, scope) {
            errors.invalid(&scopes_path, scopes, UNFIT);
        }
    }
    if conflict(scopes) {
        errors.invalid(&scopes_path, scopes, "conflicting scopes");
    }
    if let Some(selector) = &spec.scope_selector {
        let path = path.field("scopeSelector");
        scope_selector(spec, selector, &path.field("matchExpressions"), errors);
    }
}

/// Upstream gives the place of the list, and names the constants of its own code.
fn scope_selector(spec: &ResourceQuotaSpec, selector: &ScopeSelector, path: &Path<'_>, errors: &mut Errors) {
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    for expression in expressions {
        let scope = expression.scope_name.as_str();
        let operator = expression.operator.as_str();
        if !SCOPES.contains(&scope) {
            errors.invalid(&path.field("scopeName"), scope, "unsupported scope");
        }
        for _ in misfits(spec, scope) {
            errors.invalid(path, selector, UNFIT);
        }
        if PLAIN_SCOPES.contains(&scope) && operator != "Exists" {
            let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid(&path.field("operator"), operator, detail);
        }
        let values = expression.values.as_deref().unwrap_or_default();
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail =
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.required(&path.field("values"), detail);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail =
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.invalid(&path.field("values"), values, detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&path.field("operator"), other, "not a valid selector operator"),
        }
    }
    let scopes: Vec<_> = expressions
        .iter()
        .map(|expression| expression.scope_name.clone())
        .collect();
    if conflict(&scopes) {
        let shown = spec.scopes.as_deref().unwrap_or_default();
        errors.invalid(path, shown, "conflicting scopes");
    }
}

fn conflict(scopes: &[String]) -> bool {
    let has = |scope: &str| scopes.iter().any(|other| other == scope);
    (has("BestEffort") && has("NotBestEffort")) || (has("Terminating") && has("NotTerminating"))
}

/// Standard resources of the quota that no pod of the scope has.
fn misfits<'a>(spec: &'a ResourceQuotaSpec, scope: &str) -> impl Iterator<Item = &'a String> {
    let fits: fn(&str) -> bool = match scope {
        "BestEffort" => |name| name == "pods",
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => |name| name == "pods" || COMPUTE.contains(&name),
        _ => |_| true,
    };
    let names = spec.hard.iter().flat_map(|hard| hard.keys());
    names.filter(move |name| resources::is_of_quotas(name) && !fits(name))
}
