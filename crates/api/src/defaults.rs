//! Upstream's defaulting of what several kinds share. A kind's own defaults are in its own module.
//!
//! Flows in: typed objects as the user wrote them. Flows out: the same with the blanks filled in.

pub mod container;
pub mod pod_spec;
pub mod volume;

/// Fills in text that is absent or empty.
pub(crate) fn text(field: &mut Option<String>, value: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(value.to_owned());
    }
}

/// Fills in a number that is absent or zero, where zero means absent.
pub(crate) fn non_zero(field: &mut Option<i32>, value: i32) {
    if field.is_none_or(|number| number == 0) {
        *field = Some(value);
    }
}
