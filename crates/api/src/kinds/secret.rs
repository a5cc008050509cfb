//! Secret: bytes that are not to be shown.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use super::config_map::{MAX_SIZE, keys, still_immutable, unchanged};
use crate::decode::syntax;
use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, column, name, number};
use crate::validation::{Errors, Path};

/// Whose token a Secret is to hold.
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const REDACTED: &str = "<secret contents redacted>";

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
        by_type(self, content, errors);
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

/// What a Secret of a built-in type must have.
fn by_type(secret: &Secret, content: &BTreeMap<String, ByteString>, errors: &mut Errors) {
    let path = Path::ROOT.field("data");
    let missing = |keys: &[&'static str]| {
        let keys = keys.iter().copied();
        keys.filter(|key| !content.contains_key(*key)).collect::<Vec<_>>()
    };
    let absent = match secret.type_.as_deref().unwrap_or_default() {
        "kubernetes.io/service-account-token" => return account(secret, errors),
        "kubernetes.io/dockercfg" => return registries(content, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => return registries(content, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" => {
            Some(missing(&["username", "password"])).filter(|missing| missing.len() == 2)
        }
        "kubernetes.io/ssh-auth" => {
            let key = content.get("ssh-privatekey");
            key.is_none_or(|key| key.0.is_empty())
                .then(|| vec!["ssh-privatekey"])
        }
        "kubernetes.io/tls" => Some(missing(&["tls.crt", "tls.key"])),
        _ => None,
    };
    for key in absent.into_iter().flatten() {
        errors.required(&path.key(key), "");
    }
}

/// A token is some account's.
fn account(secret: &Secret, errors: &mut Errors) {
    let annotations = secret.metadata.annotations.as_ref();
    let account = annotations.and_then(|annotations| annotations.get(ACCOUNT));
    if account.is_none_or(String::is_empty) {
        let path = Path::ROOT.field("metadata.annotations");
        errors.required(&path.key(ACCOUNT), "");
    }
}

/// What a registry wants to know is in a JSON object. It is not shown.
fn registries(content: &BTreeMap<String, ByteString>, key: &str, errors: &mut Errors) {
    let path = Path::ROOT.field("data");
    let path = path.key(key);
    let Some(bytes) = content.get(key) else {
        return errors.required(&path, "");
    };
    let kind = match serde_json::from_slice(&bytes.0) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(Value::Bool(_)) => "bool",
        Ok(Value::Number(_)) => "number",
        Ok(Value::String(_)) => "string",
        Ok(Value::Array(_)) => "array",
        Err(error) => return errors.invalid(&path, REDACTED, &syntax::in_words_of_go(&error, &bytes.0)),
    };
    let detail = format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}");
    errors.invalid(&path, REDACTED, &detail);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn built_in_types_have_their_keys() {
        let redacted = "Invalid value: \"<secret contents redacted>\": ";
        let go = format!(
            "{redacted}json: cannot unmarshal string into Go value of type map[string]interface {{}}"
        );
        let syntax = format!("{redacted}invalid character 'x' looking for beginning of value");
        let (docker, json_docker) = ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson");
        let token = "kubernetes.io/service-account-token";
        let account = "metadata.annotations[kubernetes.io/service-account.name]";
        for (kind, content, wanted) in [
            (docker, json!({ ".dockercfg": "{}" }), vec![]),
            (
                docker,
                json!({ ".dockercfg": "x" }),
                vec![("data[.dockercfg]", syntax.as_str())],
            ),
            (
                json_docker,
                json!({ ".dockerconfigjson": "\"x\"" }),
                vec![("data[.dockerconfigjson]", &go)],
            ),
            (
                json_docker,
                json!({}),
                vec![("data[.dockerconfigjson]", "Required value")],
            ),
            (
                "kubernetes.io/ssh-auth",
                json!({ "ssh-privatekey": "" }),
                vec![("data[ssh-privatekey]", "Required value")],
            ),
            (
                "kubernetes.io/tls",
                json!({ "tls.crt": "" }),
                vec![("data[tls.key]", "Required value")],
            ),
            ("kubernetes.io/basic-auth", json!({ "username": "u" }), vec![]),
            (
                "kubernetes.io/basic-auth",
                json!({}),
                vec![
                    ("data[username]", "Required value"),
                    ("data[password]", "Required value"),
                ],
            ),
            (token, json!({}), vec![(account, "Required value")]),
        ] {
            let secret = json!({ "type": kind, "stringData": content });
            let mut secret: Secret = serde_json::from_value(secret).unwrap();
            secret.default();
            let mut errors = Errors::default();
            secret.validate(None, Write::Main, &mut errors);
            let causes = errors.into_verdict().causes;
            let causes: Vec<_> = causes
                .iter()
                .map(|cause| (cause.field.as_str(), cause.message.as_str()))
                .collect();
            assert_eq!(causes, wanted, "{kind}");
        }
    }
}
