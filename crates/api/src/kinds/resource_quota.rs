//! ResourceQuota: how much a namespace may have.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec};
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
    let path = path.field("scopes");
    let scopes = spec.scopes.clone().unwrap_or_default();
    for scope in &scopes {
        if !SCOPES.contains(&scope.as_str()) {
            errors.invalid(&path, &scopes, "unsupported scope");
        }
    }
    let has = |scope: &str| scopes.iter().any(|other| other == scope);
    if (has("BestEffort") && has("NotBestEffort")) || (has("Terminating") && has("NotTerminating")) {
        errors.invalid(&path, &scopes, "conflicting scopes");
    }
}
