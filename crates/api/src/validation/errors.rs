//! Causes, collected. Each method is one of upstream's kinds of field error, with its words.

use serde::Serialize;

use super::Path;
use crate::kind::{Cause, Verdict};

/// What is wrong with an object so far.
#[derive(Debug, Default)]
pub struct Errors {
    found: Verdict,
}

impl Errors {
    /// All that was found, in that order.
    #[must_use]
    pub fn into_verdict(self) -> Verdict {
        self.found
    }

    /// A value is valid, but hardly what is meant.
    pub fn warn(&mut self, path: &Path<'_>, why: &str) {
        self.found.warnings.push(format!("{path}: {why}"));
    }

    /// The object is valid, but hardly what is meant.
    pub fn warn_of(&mut self, what: &str) {
        self.found.warnings.push(what.to_owned());
    }

    /// A value is missing.
    pub fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push("FieldValueRequired", path, with_detail("Required value", detail));
    }

    /// A value is malformed.
    pub fn invalid(&mut self, path: &Path<'_>, value: &(impl Serialize + ?Sized), detail: &str) {
        self.push(
            "FieldValueInvalid",
            path,
            with_detail(&format!("Invalid value: {}", shown(value)), detail),
        );
    }

    /// A value is malformed in a way that showing it would not tell.
    pub fn invalid_whole(&mut self, path: &Path<'_>, detail: &str) {
        self.push("FieldValueInvalid", path, with_detail("Invalid value", detail));
    }

    /// A value is none of those that exist.
    pub fn not_supported(&mut self, path: &Path<'_>, value: &(impl Serialize + ?Sized), supported: &[&str]) {
        let supported: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!(
            "Unsupported value: {}: supported values: {}",
            shown(value),
            supported.join(", ")
        );
        self.push("FieldValueNotSupported", path, message);
    }

    /// A value may not be there.
    pub fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push("FieldValueForbidden", path, with_detail("Forbidden", detail));
    }

    /// A value is there twice.
    pub fn duplicate(&mut self, path: &Path<'_>, value: &(impl Serialize + ?Sized)) {
        self.duplicate_because(path, value, "");
    }

    /// A value is there twice, and there is more to say.
    pub fn duplicate_because(&mut self, path: &Path<'_>, value: &(impl Serialize + ?Sized), detail: &str) {
        let message = with_detail(&format!("Duplicate value: {}", shown(value)), detail);
        self.push("FieldValueDuplicate", path, message);
    }

    /// A value names something that does not exist.
    pub fn not_found(&mut self, path: &Path<'_>, value: &(impl Serialize + ?Sized)) {
        self.not_found_because(path, value, "");
    }

    /// A value names something that does not exist, and there is more to say.
    pub fn not_found_because(&mut self, path: &Path<'_>, value: &(impl Serialize + ?Sized), detail: &str) {
        let message = with_detail(&format!("Not found: {}", shown(value)), detail);
        self.push("FieldValueNotFound", path, message);
    }

    /// A value has more than `max` bytes.
    pub fn too_long(&mut self, path: &Path<'_>, max: usize) {
        self.push(
            "FieldValueTooLong",
            path,
            format!("Too long: may not be more than {max} bytes"),
        );
    }

    /// A list has more than `max` items.
    pub fn too_many(&mut self, path: &Path<'_>, actual: usize, max: usize) {
        self.push(
            "FieldValueTooMany",
            path,
            format!("Too many: {actual}: must have at most {max} items"),
        );
    }

    /// Each problem with a value is a cause of its own.
    pub fn problems(&mut self, path: &Path<'_>, value: &(impl Serialize + ?Sized), problems: &[String]) {
        for problem in problems {
            self.invalid(path, value, problem);
        }
    }

    /// The value may not differ from the old one.
    pub fn immutable<T: Serialize + PartialEq>(&mut self, path: &Path<'_>, new: &T, old: &T) {
        if new != old {
            self.invalid(path, new, "field is immutable");
        }
    }

    /// The number may not be negative.
    pub fn non_negative(&mut self, path: &Path<'_>, value: Option<i64>) {
        if let Some(value) = value.filter(|value| *value < 0) {
            self.invalid(path, &value, "must be greater than or equal to 0");
        }
    }

    /// The text must be one of `supported`; missing text is missing.
    pub fn one_of(&mut self, path: &Path<'_>, value: Option<&str>, supported: &[&str]) {
        match value.filter(|value| !value.is_empty()) {
            None => self.required(path, ""),
            Some(value) if !supported.contains(&value) => self.not_supported(path, value, supported),
            Some(_) => {}
        }
    }

    fn push(&mut self, reason: &'static str, path: &Path<'_>, message: String) {
        self.found.causes.push(Cause {
            reason,
            message,
            field: path.to_string(),
        });
    }
}

fn with_detail(text: &str, detail: &str) -> String {
    if detail.is_empty() {
        text.to_owned()
    } else {
        format!("{text}: {detail}")
    }
}

fn shown(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
