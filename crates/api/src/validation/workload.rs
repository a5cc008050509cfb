//! Rules that all workloads share: their selector, the template of pods that are always restarted, the counts of the status.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Errors, Path, pod_spec, selector as label_selector};
use crate::labels::Selector;

/// Whose pods a template makes.
#[derive(Debug)]
pub struct Owner<'a> {
    kind: &'a str,
    /// `None` if it is not valid: that is a cause of its own.
    selector: Option<Selector>,
}

impl<'a> Owner<'a> {
    /// A workload; `kind` is the one that upstream's messages name.
    #[must_use]
    pub fn of(kind: &'a str, selector: &LabelSelector) -> Self {
        Self {
            kind,
            selector: Selector::from_spec(selector).ok(),
        }
    }

    /// A workload whose selector is a map of labels.
    #[must_use]
    pub fn with_selector(kind: &'a str, selector: Selector) -> Self {
        Self {
            kind,
            selector: Some(selector),
        }
    }
}

/// The selector must select something.
pub fn selector(selector: &LabelSelector, path: &Path<'_>, errors: &mut Errors) {
    label_selector::validate(selector, path, errors);
    if label_selector::is_empty(selector) {
        errors.required(path, "");
    }
}

/// The template's pods must be selected, and be restarted always.
pub fn template(owner: &Owner<'_>, template: &PodTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    selected(owner.selector.as_ref(), template, path, errors);
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
pub fn selected(
    selector: Option<&Selector>,
    template: &PodTemplateSpec,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let metadata = template.metadata.clone().unwrap_or_default();
    let labels = metadata.labels.unwrap_or_default();
    if selector.is_some_and(|selector| selector.is_empty() || !selector.matches(&labels)) {
        let path = path.field("metadata");
        errors.invalid(
            &path.field("labels"),
            &labels,
            "`selector` does not match template `labels`",
        );
    }
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
