//! Secret: bytes that are not to be shown.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use super::config_map::{MAX_SIZE, keys, still_immutable, unchanged};
use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, column, name, number};
use crate::validation::{Errors, Path};

impl Served for Secret {
    const ROW: Row = Row {
        singular: "secret",
        columns: &[column("Name"), column("Type"), number("Data"), column("Age")],
        fields: &["type"],
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        crate::defaults::text(&mut self.type_, "Opaque");
        // `stringData` is for writing only.
        for (key, text) in self.string_data.take().into_iter().flatten() {
            self.data
                .get_or_insert_default()
                .insert(key, ByteString(text.into_bytes()));
        }
    }

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let data = Path::ROOT.field("data");
        let empty = BTreeMap::new();
        let content = self.data.as_ref().unwrap_or(&empty);
        keys(content, &data, errors);
        if content.values().map(|bytes| bytes.0.len()).sum::<usize>() > MAX_SIZE {
            errors.too_long(&data, MAX_SIZE);
        }
        for key in required_keys(self.type_.as_deref().unwrap_or_default()) {
            if !content.contains_key(*key) {
                errors.required(&data.key(key), "");
            }
        }
        if self.type_.as_deref() == Some("kubernetes.io/basic-auth")
            && !["username", "password"]
                .iter()
                .any(|key| content.contains_key(*key))
        {
            errors.required(&data.key("username"), "");
            errors.required(&data.key("password"), "");
        }
        let Some(old) = old else { return };
        errors.immutable(&Path::ROOT.field("type"), &self.type_, &old.type_);
        if old.immutable == Some(true) {
            still_immutable(self.immutable, errors);
            unchanged("data", &self.data, &old.data, errors);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let count = self.data.iter().flatten().count();
        let kind = self.type_.clone().unwrap_or_default();
        vec![
            name(&self.metadata),
            kind.into(),
            count.into(),
            age(&self.metadata, now),
        ]
    }
}

/// The keys that a Secret of a built-in type must have.
fn required_keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    }
}
