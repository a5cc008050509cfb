//! What PersistentVolumes and the claims on them share: access modes, volume modes, classes.

use serde_json::Value;

use crate::table::NONE;
use crate::validation::{Errors, Path};

const MODES: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];

/// ACCESS MODES
pub(super) fn short_modes(modes: &[String]) -> Value {
    let modes: Vec<_> = MODES
        .iter()
        .filter(|(mode, _)| modes.iter().any(|other| other == mode))
        .map(|(_, short)| *short)
        .collect();
    modes.join(",").into()
}

/// A field that shows `<unset>` when it is not there.
pub(super) fn or_unset(text: Option<&str>) -> Value {
    text.unwrap_or("<unset>").into()
}

/// An amount of storage.
pub(super) fn storage(
    amounts: Option<
        &std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
    >,
) -> String {
    let amount = amounts.and_then(|amounts| amounts.get("storage"));
    amount.map_or_else(|| NONE.to_owned(), |amount| amount.0.clone())
}

/// At least one mode, known ones, and the exclusive one alone.
pub(super) fn access_modes(modes: &[String], missing: &str, path: &Path<'_>, errors: &mut Errors) {
    if modes.is_empty() {
        errors.required(path, missing);
    }
    for mode in modes {
        let known = [
            "ReadOnlyMany",
            "ReadWriteMany",
            "ReadWriteOnce",
            "ReadWriteOncePod",
        ];
        if !known.contains(&mode.as_str()) {
            errors.not_supported(path, mode, &known);
        }
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

/// A file system or a block device.
pub(super) fn volume_mode(mode: Option<&str>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = mode.filter(|mode| !["Block", "Filesystem"].contains(mode)) {
        errors.not_supported(path, mode, &["Block", "Filesystem"]);
    }
}
