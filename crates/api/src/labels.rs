//! Label selectors, in the syntax of queries and in that of specs.
//!
//! Flows in: `app in (a, b),!canary`, or a `LabelSelector`. Flows out: whether labels match.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::validation::names;

/// A parsed selector; all its requirements must hold. The empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
}

/// How a label is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

/// Text or a spec that is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0}")]
pub struct ParseError(String);

impl Selector {
    /// Parses the syntax of queries: `=`, `==`, `!=`, `in (..)`, `notin (..)`, `>`, `<`, `key`, `!key`, joined by commas.
    ///
    /// # Errors
    /// If the text cannot be read or a key or value is no label's.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { rest: text.trim() };
        let mut requirements = Vec::new();
        while !parser.rest.is_empty() {
            requirements.push(parser.requirement()?);
            if !parser.take(",") {
                break;
            }
            if parser.rest.is_empty() {
                return Err(ParseError("found '', expected: identifier after ','".to_owned()));
            }
        }
        match parser.rest {
            "" => Ok(Self { requirements }),
            rest => Err(ParseError(format!(
                "found '{rest}', expected: ',' or 'end of string'"
            ))),
        }
    }

    /// The selector of a spec. `{}` matches everything.
    ///
    /// # Errors
    /// If an operator does not exist or a list of values is missing.
    pub fn from_spec(spec: &LabelSelector) -> Result<Self, ParseError> {
        let labels = spec.match_labels.iter().flatten();
        let mut requirements: Vec<_> = labels
            .map(|(key, value)| Requirement::equals(key, value))
            .collect();
        for expression in spec.match_expressions.iter().flatten() {
            let values: BTreeSet<_> = expression.values.iter().flatten().cloned().collect();
            let operator = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Operator::In(values),
                ("NotIn", false) => Operator::NotIn(values),
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                (other, _) => {
                    return Err(ParseError(format!(
                        "{other:?} is not a valid label selector operator"
                    )));
                }
            };
            requirements.push(Requirement {
                key: expression.key.clone(),
                operator,
            });
        }
        Ok(Self { requirements })
    }

    /// The selector that asks for exactly these labels, as a Service's does.
    #[must_use]
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        Self {
            requirements: labels
                .iter()
                .map(|(key, value)| Requirement::equals(key, value))
                .collect(),
        }
    }

    /// Whether the selector matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether `labels` match.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// Whether the labels that `label` looks up match.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.matches(label(&requirement.key)))
    }
}

impl Requirement {
    fn equals(key: &str, value: &str) -> Self {
        Self {
            key: key.to_owned(),
            operator: Operator::In(BTreeSet::from([value.to_owned()])),
        }
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Operator::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

/// The syntax of queries, which `Selector::parse` reads back.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, operator }) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match operator {
                Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", join(values)),
                Operator::In(values) => write!(f, "{key} in ({})", join(values)),
                Operator::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", join(values)),
                Operator::NotIn(values) => write!(f, "{key} notin ({})", join(values)),
                Operator::Exists => f.write_str(key),
                Operator::DoesNotExist => write!(f, "!{key}"),
                Operator::GreaterThan(bound) => write!(f, "{key}>{bound}"),
                Operator::LessThan(bound) => write!(f, "{key}<{bound}"),
            }?;
        }
        Ok(())
    }
}

fn join(values: &BTreeSet<String>) -> String {
    values.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

/// Reads one requirement after another.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, ParseError> {
        if self.take("!") {
            return Ok(Requirement {
                key: self.key()?,
                operator: Operator::DoesNotExist,
            });
        }
        let key = self.key()?;
        let operator = if self.take("!=") {
            Operator::NotIn(BTreeSet::from([self.value()?]))
        } else if self.take("==") || self.take("=") {
            Operator::In(BTreeSet::from([self.value()?]))
        } else if self.take(">") {
            Operator::GreaterThan(self.number()?)
        } else if self.take("<") {
            Operator::LessThan(self.number()?)
        } else {
            match self.word() {
                "" => Operator::Exists,
                "in" => Operator::In(self.values()?),
                "notin" => Operator::NotIn(self.values()?),
                other => {
                    return Err(ParseError(format!(
                        "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
                    )));
                }
            }
        };
        Ok(Requirement { key, operator })
    }

    fn key(&mut self) -> Result<String, ParseError> {
        let key = self.word();
        match names::qualified_name(key).first() {
            None => Ok(key.to_owned()),
            Some(problem) => Err(ParseError(format!("key: Invalid value: {key:?}: {problem}"))),
        }
    }

    fn value(&mut self) -> Result<String, ParseError> {
        let value = self.word();
        match names::label_value(value).first() {
            None => Ok(value.to_owned()),
            Some(problem) => Err(ParseError(format!(
                "values[0]: Invalid value: {value:?}: {problem}"
            ))),
        }
    }

    fn number(&mut self) -> Result<i64, ParseError> {
        let word = self.word();
        word.parse().map_err(|_| {
            ParseError(format!(
                "values[0]: Invalid value: {word:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            ))
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, ParseError> {
        if !self.take("(") {
            return Err(ParseError(format!("found '{}', expected: '('", self.rest)));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(ParseError(format!("found '{}', expected: ',' or ')'", self.rest)));
            }
        }
    }

    /// Skips `token` and the space after it, if it is next.
    fn take(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else {
            return false;
        };
        self.rest = rest.trim_start();
        true
    }

    /// Everything up to the next special character, perhaps nothing.
    fn word(&mut self) -> &'a str {
        let is_special = |c: char| c.is_whitespace() || "=!<>(),".contains(c);
        let (word, rest) = self
            .rest
            .split_at(self.rest.find(is_special).unwrap_or(self.rest.len()));
        self.rest = rest.trim_start();
        word
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn reads_the_syntax_of_queries() {
        let labels = labels(&[("app", "web"), ("tier", "2"), ("x.io/y", "")]);
        for (text, wanted) in [
            ("", true),
            ("app=web", true),
            ("app == web, tier=2", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (web, db)", true),
            ("app notin (web)", false),
            ("other notin (web)", true),
            ("app", true),
            ("!app", false),
            ("!other,app", true),
            ("x.io/y=", true),
            ("tier>1,tier<3", true),
            ("tier>2", false),
        ] {
            assert_eq!(
                Selector::parse(text).map(|s| s.matches(&labels)),
                Ok(wanted),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_bad_syntax() {
        for text in [
            "=a", "a b", "a in", "a in (", "a in (b", "a,,b", "a=b=c", "a=b,", "!", "-a=b", "a>x",
        ] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_specs() {
        let spec = serde_json::from_value(json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["1", "2"]}, {"key": "old", "operator": "DoesNotExist"}],
        }))
        .unwrap_or_default();
        let selector = Selector::from_spec(&spec).unwrap_or_default();
        assert!(selector.matches(&labels(&[("app", "web"), ("tier", "1")])));
        assert!(!selector.matches(&labels(&[("app", "web"), ("tier", "1"), ("old", "")])));
        assert_eq!(selector.to_string(), "app=web,tier in (1,2),!old");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = Selector::parse(&text);
        }

        #[test]
        fn reads_back_what_it_writes(text in "!?[a-c]{1,3}( (in|notin) \\([a-z, ]{0,6}\\)|(=|==|!=)[a-z]{0,3})?") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
            }
        }
    }
}
