//! ConfigMap: configuration as text or bytes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, column, name, number};
use crate::validation::{Errors, Path, names};

/// Largest content of a ConfigMap or Secret, in bytes.
pub(super) const MAX_SIZE: usize = 1024 * 1024;

impl Served for ConfigMap {
    const ROW: Row = Row {
        singular: "configmap",
        short_names: &["cm"],
        columns: &[column("Name"), number("Data"), column("Age")],
        ..Row::NAMESPACED
    };

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let empty = BTreeMap::new();
        keys(
            self.data.as_ref().unwrap_or(&BTreeMap::new()),
            &Path::ROOT.field("data"),
            errors,
        );
        let binary = self.binary_data.as_ref().unwrap_or(&empty);
        keys(binary, &Path::ROOT.field("binaryData"), errors);
        for key in binary
            .keys()
            .filter(|key| self.data.iter().flatten().any(|(other, _)| other == *key))
        {
            let detail = "duplicate of key present in data";
            errors.invalid(&Path::ROOT.field("binaryData").key(key), key, detail);
        }
        let size: usize = self.data.iter().flatten().map(|(_, text)| text.len()).sum();
        if size + binary.values().map(|bytes| bytes.0.len()).sum::<usize>() > MAX_SIZE {
            errors.too_long(&Path::ROOT, MAX_SIZE);
        }
        let Some(old) = old.filter(|old| old.immutable == Some(true)) else {
            return;
        };
        still_immutable(self.immutable, errors);
        unchanged("data", &self.data, &old.data, errors);
        unchanged("binaryData", &self.binary_data, &old.binary_data, errors);
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let count = self.data.iter().flatten().count() + self.binary_data.iter().flatten().count();
        vec![name(&self.metadata), count.into(), age(&self.metadata, now)]
    }
}

/// Checks the keys of a map of files.
pub(super) fn keys<T>(data: &BTreeMap<String, T>, path: &Path<'_>, errors: &mut Errors) {
    for key in data.keys() {
        errors.problems(&path.key(key), key, &names::config_key(key));
    }
}

/// What was made immutable stays so.
pub(super) fn still_immutable(immutable: Option<bool>, errors: &mut Errors) {
    if immutable != Some(true) {
        errors.forbidden(
            &Path::ROOT.field("immutable"),
            "field is immutable when `immutable` is set",
        );
    }
}

/// A map of an immutable object; absent equals empty.
pub(super) fn unchanged<T: PartialEq>(
    field: &str,
    new: &Option<BTreeMap<String, T>>,
    old: &Option<BTreeMap<String, T>>,
    errors: &mut Errors,
) {
    if new.iter().flatten().ne(old.iter().flatten()) {
        errors.forbidden(
            &Path::ROOT.field(field),
            "field is immutable when `immutable` is set",
        );
    }
}
