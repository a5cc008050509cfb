//! Rules for label selectors in specs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Errors, Path, metadata, names};
use crate::labels::Selector;

/// Checks a selector.
pub fn validate(selector: &LabelSelector, path: &Path<'_>, errors: &mut Errors) {
    metadata::labels(selector.match_labels.as_ref(), &path.field("matchLabels"), errors);
    let expressions = path.field("matchExpressions");
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = expressions.index(index);
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(
                    &path.field("values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&path.field("values"), detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&path.field("operator"), other, "not a valid selector operator"),
        }
        errors.problems(
            &path.field("key"),
            &expression.key,
            &names::qualified_name(&expression.key),
        );
        let path = path.field("values");
        for (index, value) in values.iter().enumerate() {
            errors.problems(&path.index(index), value, &names::label_value(value));
        }
    }
}

/// The selector, if it is valid.
#[must_use]
pub fn parse(selector: &LabelSelector) -> Option<Selector> {
    let mut errors = Errors::default();
    validate(selector, &Path::ROOT, &mut errors);
    let is_valid = errors.into_verdict().causes.is_empty();
    Selector::from_spec(selector).ok().filter(|_| is_valid)
}

/// Whether a selector asks for nothing.
#[must_use]
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.iter().flatten().next().is_none()
        && selector.match_expressions.iter().flatten().next().is_none()
}
