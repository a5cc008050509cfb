//! Field selectors: `spec.nodeName=node-1,status.phase!=Running`.
//!
//! Flows in: the text of a query. Flows out: a selector that says whether an object's selectable fields match.

/// A parsed field selector; all its terms must hold. The empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// `spec.nodeName`
    pub field: String,
    /// The value compared with.
    pub value: String,
    /// Whether the field must have the value or must not.
    pub equal: bool,
}

/// Text that is no field selector. `Display` is upstream's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid selector: '{selector}'; can't understand '{term}'")]
pub struct ParseError {
    selector: String,
    term: String,
}

impl FieldSelector {
    /// Parses `a=b`, `a==b` and `a!=b`, joined by commas; `\` escapes `,`, `=` and itself in values.
    ///
    /// # Errors
    /// If a term has no operator.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let terms = split_terms(text).into_iter().filter(|term| !term.is_empty());
        let terms = terms.map(|term| {
            parse_term(term).ok_or_else(|| ParseError {
                selector: text.to_owned(),
                term: term.to_owned(),
            })
        });
        Ok(Self {
            terms: terms.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the selector matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The comparisons.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The first field that is none of `known`, `metadata.name` or `metadata.namespace`: not selectable.
    #[must_use]
    pub fn unsupported<'a>(&'a self, known: &[&str]) -> Option<&'a str> {
        let known =
            |field: &str| matches!(field, "metadata.name" | "metadata.namespace") || known.contains(&field);
        self.terms
            .iter()
            .map(|term| term.field.as_str())
            .find(|field| !known(field))
    }

    /// Whether an object matches; `value` yields its fields' values, absent ones as `None`, which equals "".
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms
            .iter()
            .all(|term| (value(&term.field).unwrap_or_default() == term.value) == term.equal)
    }

    /// The value that `field` must have, if the selector says so: a list of one object is a look-up.
    #[must_use]
    pub fn requires(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.equal && term.field == field)
            .map(|term| term.value.as_str())
    }
}

/// Splits at commas that are not escaped.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_term(term: &str) -> Option<Term> {
    let at = term.find('=')?;
    let (field, equal) = match term[..at].strip_suffix('!') {
        Some(field) => (field, false),
        None => (&term[..at], true),
    };
    let rest = &term[at + 1..];
    let value = if equal {
        rest.strip_prefix('=').unwrap_or(rest)
    } else {
        rest
    };
    Some(Term {
        field: field.trim().to_owned(),
        value: unescape(value)?,
        equal,
    })
}

/// `None` if a special character stands there unescaped, or an escape leads nowhere.
fn unescape(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next().filter(|c| matches!(c, '\\' | ',' | '='))?),
            '=' => return None,
            c => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(selector: &str, fields: &[(&str, &str)]) -> bool {
        let selector = FieldSelector::parse(selector).unwrap_or_default();
        selector.matches(|name| {
            fields
                .iter()
                .find(|(field, _)| *field == name)
                .map(|(_, value)| *value)
        })
    }

    #[test]
    fn compares() {
        let fields = [("spec.nodeName", "node-1"), ("status.phase", "Running")];
        assert!(matches("", &fields));
        assert!(matches("spec.nodeName=node-1,status.phase!=Failed", &fields));
        assert!(matches("spec.nodeName==node-1", &fields));
        assert!(!matches("spec.nodeName=node-2", &fields));
        assert!(matches("status.podIP=", &fields));
        assert!(matches(r"a=b\,c\=d", &[("a", "b,c=d")]));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let error = FieldSelector::parse("abc").map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("invalid selector: 'abc'; can't understand 'abc'".to_owned())
        );
        assert!(FieldSelector::parse("a=b=c").is_err() && FieldSelector::parse(r"a=\b").is_err());
    }

    #[test]
    fn knows_what_is_selectable() {
        let selector = FieldSelector::parse("metadata.name=a,spec.foo=b").unwrap_or_default();
        assert_eq!(selector.unsupported(&["spec.nodeName"]), Some("spec.foo"));
        assert_eq!(selector.unsupported(&["spec.foo"]), None);
        assert_eq!(selector.requires("metadata.name"), Some("a"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = FieldSelector::parse(&text);
        }
    }
}
