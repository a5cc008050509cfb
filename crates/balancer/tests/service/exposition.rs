//! A strict reader of Prometheus' text format 0.0.4, written from its specification, that panics at the first fault.

use std::collections::{BTreeMap, HashSet};

/// Labels in their order of names.
pub type Labels = BTreeMap<String, String>;

/// All samples by name; families with their kinds.
#[derive(Debug, Default)]
pub struct Exposition {
    samples: Vec<(String, Labels, f64)>,
}

impl Exposition {
    /// Reads a text.
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let (mut read, mut seen) = (Self::default(), HashSet::new());
        let (mut family, mut kind) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap().to_owned();
                kind.clear();
                assert!(seen.insert(family.clone()), "{family} comes twice");
                assert!(rest.len() > family.len() + 1, "{family} says nothing");
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, of) = rest.split_once(' ').unwrap();
                assert_eq!(name, family, "TYPE follows its HELP");
                assert!(["counter", "gauge", "histogram"].contains(&of), "{of}");
                assert_eq!(of == "counter", name.ends_with("_total"), "{name}");
                kind = of.to_owned();
                continue;
            }
            let (name, labels, value) = sample(line);
            let suffixes: &[&str] = if kind == "histogram" {
                &["_bucket", "_sum", "_count"]
            } else {
                &[""]
            };
            let belongs = suffixes.iter().any(|suffix| name == format!("{family}{suffix}"));
            assert!(belongs && !kind.is_empty(), "{line:?} is not of {family}");
            let known = read
                .samples
                .iter()
                .any(|(other, its, _)| *other == name && *its == labels);
            assert!(!known, "{line:?} comes twice");
            read.samples.push((name, labels, value));
        }
        read.check_histograms();
        read
    }

    /// The one sample of this name that has these labels among its own.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |its: &Labels| {
            labels
                .iter()
                .all(|(label, value)| its.get(*label).is_some_and(|its| its == value))
        };
        let mut found = self
            .samples
            .iter()
            .filter(|(its, labels, _)| its == name && has(labels));
        let value = found.next().map(|(_, _, value)| *value);
        assert!(found.next().is_none(), "{name}{labels:?} is not one sample");
        value
    }

    /// Classes grow, the last is the count.
    fn check_histograms(&self) {
        let mut classes: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
        for (name, labels, value) in &self.samples {
            if let Some(family) = name.strip_suffix("_bucket") {
                let mut labels = labels.clone();
                let bound = number(&labels.remove("le").expect("a bucket's bound"));
                classes
                    .entry((family.to_owned(), labels))
                    .or_default()
                    .push((bound, *value));
            }
        }
        for ((family, labels), classes) in classes {
            assert!(
                classes.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
                "{family}: {classes:?}"
            );
            let labels: Vec<_> = labels.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let last = classes.last().unwrap();
            assert_eq!(last.0, f64::INFINITY);
            assert_eq!(self.value(&format!("{family}_count"), &labels), Some(last.1));
            assert!(self.value(&format!("{family}_sum"), &labels).is_some());
        }
    }
}

/// A line: name, labels, value.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, mut rest) = line.split_at(end);
    check_name(name);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, behind) = rest.split_once("=\"").expect("a label's value");
            check_name(label);
            let (value, behind) = quoted(behind);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line:?}");
            rest = behind.strip_prefix(',').unwrap_or(behind);
            assert!(behind.starts_with([',', '}']), "{line:?}");
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect("a value");
    (name.to_owned(), labels, number(value))
}

/// The text up to the closing quote, unescaped, and what follows the quote.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    loop {
        match characters.next().expect("a closing quote") {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => match characters.next().expect("an escaped character").1 {
                'n' => value.push('\n'),
                other @ ('\\' | '"') => value.push(other),
                other => panic!("\\{other} is no escape"),
            },
            (_, other) => value.push(other),
        }
    }
}

fn check_name(name: &str) {
    let first = name.chars().next().expect("a name");
    assert!(first.is_ascii_alphabetic() || first == '_', "{name}");
    assert!(
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
        "{name}"
    );
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        text => text.parse().expect("a number"),
    }
}
