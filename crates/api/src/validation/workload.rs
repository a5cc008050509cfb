//! Rules that all workloads share: their selector, the template of pods that are always restarted, the counts of the status.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Errors, Path, pod_spec, selector as label_selector};
use crate::labels::Selector;

/// Whose pods a template makes.
#[derive(Debug)]
pub struct Owner<'a> {
    kind: &'a str,
    selects: Selects,
}

#[derive(Debug)]
enum Selects {
    /// There is no selector.
    Nothing,
    /// The selector is not valid, which is a cause of its own.
    Unknown,
    By(Selector),
}

impl<'a> Owner<'a> {
    /// A workload; `kind` is the one that upstream's messages name.
    #[must_use]
    pub fn of(kind: &'a str, selector: &LabelSelector) -> Self {
        let selects = if is_missing(selector) {
            Selects::Nothing
        } else {
            label_selector::parse(selector).map_or(Selects::Unknown, Selects::By)
        };
        Self { kind, selects }
    }

    /// A workload whose selector is a map of labels.
    #[must_use]
    pub fn with_selector(kind: &'a str, selector: Selector) -> Self {
        Self {
            kind,
            selects: Selects::By(selector),
        }
    }
}

/// One without any field is taken for one that was left out, as the type does not tell them apart.
fn is_missing(selector: &LabelSelector) -> bool {
    *selector == LabelSelector::default()
}

/// The selector must select something. `unparsed` is what upstream says of one that is not valid.
pub fn selector(kind: &str, unparsed: &str, selector: &LabelSelector, path: &Path<'_>, errors: &mut Errors) {
    if is_missing(selector) {
        return errors.required(path, "");
    }
    label_selector::validate(selector, path, errors);
    not_empty(kind, selector, path, errors);
    if label_selector::parse(selector).is_none() {
        errors.invalid(path, selector, unparsed);
    }
}

/// A selector that is there must not select everything.
pub fn not_empty(kind: &str, selector: &LabelSelector, path: &Path<'_>, errors: &mut Errors) {
    if !is_missing(selector) && label_selector::is_empty(selector) {
        let detail = format!("empty selector is invalid for {kind}");
        errors.invalid(path, selector, &detail);
    }
}

/// The template's pods must be selected, and be restarted always.
pub fn template(owner: &Owner<'_>, template: &PodTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    match &owner.selects {
        Selects::Nothing => mismatch(template, path, errors),
        Selects::By(selector) => selected(selector, template, path, errors),
        Selects::Unknown if owner.kind == "DaemonSet" => {}
        Selects::Unknown => return,
    }
    pod_spec::template(template, path, errors);
    let path = path.field("spec");
    let Some(spec) = &template.spec else { return };
    match spec.restart_policy.as_deref().unwrap_or_default() {
        "Always" => {}
        other => errors.not_supported(&path.field("restartPolicy"), other, &["Always"]),
    }
    if spec.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {} is not Supported", owner.kind);
        errors.forbidden(&path.field("activeDeadlineSeconds"), &detail);
    }
}

/// The template's pods must be selected.
pub fn selected(selector: &Selector, template: &PodTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    if !selector.matches(&labels(template)) {
        mismatch(template, path, errors);
    }
}

fn mismatch(template: &PodTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    let path = path.field("metadata");
    errors.invalid(
        &path.field("labels"),
        &labels(template),
        "`selector` does not match template `labels`",
    );
}

fn labels(template: &PodTemplateSpec) -> BTreeMap<String, String> {
    let metadata = template.metadata.clone().unwrap_or_default();
    metadata.labels.unwrap_or_default()
}

/// Counts of pods are not negative, and none exceeds the `total`.
pub fn counts(path: &Path<'_>, total: i32, counts: &[(&str, Option<i32>)], errors: &mut Errors) {
    for (field, count) in counts {
        let path = path.field(field);
        errors.non_negative(&path, count.map(i64::from));
        if let Some(count) = count.filter(|count| *count > total) {
            errors.invalid(&path, &count, "cannot be greater than status.replicas");
        }
    }
}
