//! Names, labels and other text with a fixed form.
//!
//! Flows in: text. Flows out: what is wrong with it, in upstream's words; nothing if it is right.

use crate::kind::NameRule;

const SEARCH_DOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// Checks an object's name.
#[must_use]
pub fn by_rule(rule: NameRule, name: &str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => subdomain(name),
        NameRule::Label => label(name),
        NameRule::PathSegment => path_segment(name),
    }
}

/// RFC 1123 subdomain, at most 253 bytes.
#[must_use]
pub fn subdomain(name: &str) -> Vec<String> {
    let mut problems = too_long(name, 253);
    if !name
        .split('.')
        .all(|part| is_framed(part, is_lower, |b| is_lower(b) || b == b'-'))
    {
        problems.push(SUBDOMAIN.to_owned());
    }
    problems
}

/// RFC 1123 label, at most 63 bytes.
#[must_use]
pub fn label(name: &str) -> Vec<String> {
    let mut problems = too_long(name, 63);
    if !is_framed(name, is_lower, |b| is_lower(b) || b == b'-') {
        let is_subdomain = subdomain(name).is_empty();
        problems.push(
            if is_subdomain {
                "must not contain dots"
            } else {
                LABEL
            }
            .to_owned(),
        );
    }
    problems
}

/// A domain that names without dots are looked up in: a subdomain that may have underscores.
#[must_use]
pub fn search_domain(name: &str) -> Vec<String> {
    let mut problems = too_long(name, 253);
    let is_part = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        is_framed(part, is_lower, |b| is_lower(b) || matches!(b, b'-' | b'_'))
    };
    if !name.split('.').all(is_part) {
        problems.push(SEARCH_DOMAIN.to_owned());
    }
    problems
}

/// Anything that can stand between two slashes of a path.
#[must_use]
pub fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    let bad = ["/", "%"].into_iter().filter(|bad| name.contains(bad));
    bad.map(|bad| format!("may not contain '{bad}'")).collect()
}

/// The key of a label: `app` or `example.com/app`.
#[must_use]
pub fn qualified_name(key: &str) -> Vec<String> {
    let (prefix, name) = match key.split_once('/') {
        None => (None, key),
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, name)) => (Some(prefix), name),
    };
    let mut problems = Vec::new();
    match prefix {
        Some("") => problems.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => problems.extend(
            subdomain(prefix)
                .into_iter()
                .map(|problem| format!("prefix part {problem}")),
        ),
        None => {}
    }
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_framed(name, is_alphanumeric, is_name_byte) {
        problems.push(format!("name part {QUALIFIED}"));
    }
    problems
}

/// The value of a label.
#[must_use]
pub fn label_value(value: &str) -> Vec<String> {
    let mut problems = too_long(value, 63);
    if !value.is_empty() && !is_framed(value, is_alphanumeric, is_name_byte) {
        problems.push(LABEL_VALUE.to_owned());
    }
    problems
}

/// The key of a ConfigMap or Secret.
#[must_use]
pub fn config_key(key: &str) -> Vec<String> {
    let mut problems = too_long(key, 253);
    if key.is_empty() || !key.bytes().all(is_name_byte) {
        problems.push(CONFIG_KEY.to_owned());
    }
    if key == "." || key == ".." {
        problems.push(format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        problems.push("must not start with '..'".to_owned());
    }
    problems
}

/// The name of an environment variable.
#[must_use]
pub fn env_name(name: &str) -> Vec<String> {
    let ok = !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    if ok { Vec::new() } else { vec![ENV_NAME.to_owned()] }
}

/// The name of a port, as IANA wants it.
#[must_use]
pub fn port_name(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > 15 {
        problems.push("must be no more than 15 bytes".to_owned());
    }
    if !name.bytes().all(|b| is_lower(b) || b == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        problems.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        problems.push("must not begin or end with a hyphen".to_owned());
    }
    problems
}

/// The name of a kernel parameter: `net.core.somaxconn` or `net/core/somaxconn`.
#[must_use]
pub fn sysctl(name: &str) -> Vec<String> {
    let is_part = |part: &str| {
        is_framed(part, is_lower, |byte| {
            is_lower(byte) || matches!(byte, b'-' | b'_')
        })
    };
    if name.len() <= 253 && name.split(['.', '/']).all(is_part) {
        return Vec::new();
    }
    let regex = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    vec![format!(
        "must have at most 253 characters and match regex {regex}"
    )]
}

/// A port number.
#[must_use]
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) {
        Vec::new()
    } else {
        vec!["must be between 1 and 65535, inclusive".to_owned()]
    }
}

fn too_long(text: &str, max: usize) -> Vec<String> {
    if text.len() > max {
        vec![format!("must be no more than {max} bytes")]
    } else {
        Vec::new()
    }
}

/// Whether `text` is made of `inner` bytes and begins and ends with an `outer` one.
fn is_framed(text: &str, outer: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let (first, last) = (text.bytes().next(), text.bytes().last());
    first.is_some_and(&outer) && last.is_some_and(&outer) && text.bytes().all(inner)
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_good_from_bad() {
        for good in ["a", "a-b", "a.b", "1"] {
            assert!(subdomain(good).is_empty(), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", ".a", "a_b", "ä"] {
            assert!(!subdomain(bad).is_empty(), "{bad}");
        }
        assert!(label("a.b").len() == 1 && label(&"a".repeat(64)).len() == 1);
        assert!(qualified_name("example.com/My_Name.x").is_empty());
        for bad in ["", "/a", "a/", "a/b/c", "a b", "-a"] {
            assert!(!qualified_name(bad).is_empty(), "{bad}");
        }
        assert!(
            label_value("").is_empty() && label_value("A_b.1").is_empty() && !label_value("a b").is_empty()
        );
        assert!(port_name("http").is_empty() && port_name("80").len() == 1 && port_name("a--b").len() == 1);
        assert!(
            config_key("nginx.conf").is_empty()
                && !config_key("a/b").is_empty()
                && !config_key("..").is_empty()
        );
        assert!(env_name("A.b-1").is_empty() && !env_name("a=b").is_empty());
        assert_eq!(port_number(70000), ["must be between 1 and 65535, inclusive"]);
    }
}
