//! `$(VAR)` in commands, arguments and variables, by Kubernetes' rules (upstream `third_party/forked/golang/expansion`).

/// Replaces each `$(NAME)` by what `value` knows of it. What it does not know stays as it is; `$$` is one `$`, so that
/// `$$(NAME)` comes out as `$(NAME)`.
pub fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        out.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".into()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("$(A)".into()),
            _ => None,
        }
    }

    #[test]
    fn upstreams_cases() {
        for (text, expected) in [
            ("$(A)", "alpha"),
            ("x$(A)y$(A)", "xalphayalpha"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$alpha"),
            ("$$$$(A)", "$$(A)"),
            ("$(NOPE)", "$(NOPE)"),
            ("$(EMPTY)", ""),
            ("$(DOLLAR)", "$(A)"),
            ("$A", "$A"),
            ("$", "$"),
            ("$(A", "$(A"),
            ("$(A$(A)", "$(A$(A)"),
            ("$()", "$()"),
            ("a$", "a$"),
        ] {
            assert_eq!(expand(text, known), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn doubled_dollars_come_back_single(text in "[a-z$(){}]{0,30}") {
            prop_assert_eq!(expand(&text.replace('$', "$$"), known), text);
        }
    }
}
