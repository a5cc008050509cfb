//! The parameters after a path's question mark.
//!
//! Flows in: the query string. Flows out: typed options. Never refuses an unknown parameter: upstream ignores them.

use std::num::IntErrorKind;
use std::time::Duration;

use api::kind::Cause;
use http::Method;
use jiff::SignedDuration;

use crate::call::Call;
use crate::status::Failure;

/// What the parameters of a list or watch are called together.
pub(crate) const LIST_OPTIONS: &str = "ListOptions";

/// What the parameters of a request are called together.
pub(crate) fn options_of(method: &Method) -> &'static str {
    match *method {
        Method::POST => "CreateOptions",
        Method::PUT => "UpdateOptions",
        Method::PATCH => "PatchOptions",
        Method::DELETE => "DeleteOptions",
        _ => LIST_OPTIONS,
    }
}

/// Parsed parameters, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The first value of a parameter that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is set and neither `0` nor `false`: `?watch` and `?watch=1` are true.
    pub fn flag(&self, name: &str) -> bool {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .is_some_and(|(_, value)| is_true(value))
    }

    /// A flag that may be left out.
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| is_true(value))
    }

    /// `timeout`: how long the client waits for the answer, as Go writes durations.
    pub fn timeout(&self) -> Result<Option<Duration>, Failure> {
        let parse = |text: &str| {
            let duration = text.parse::<SignedDuration>().ok();
            let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
            duration.ok_or_else(|| {
                Failure::BadRequest(format!(
                    "invalid timeout specified in the request URL - time: invalid duration {text:?}"
                ))
            })
        };
        self.get("timeout").map(parse).transpose()
    }

    /// A whole number. What is none is refused in the words of Go.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let parse = |text: &str| {
            text.parse::<i64>().map_err(|error| {
                let why = match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                Failure::BadRequest(format!("strconv.ParseInt: parsing {text:?}: {why}"))
            })
        };
        self.get(name).map(parse).transpose()
    }
}

fn is_true(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

/// What to do with fields that a kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Refuse the object.
    Strict,
    /// Drop the field and say so in a `Warning` header.
    Warn,
    /// Drop the field.
    Ignore,
}

/// How to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteOptions {
    /// `dryRun=All`: everything but storing.
    pub dry_run: bool,
    /// `fieldValidation`; upstream's default is `Warn`.
    pub fields: FieldValidation,
}

impl WriteOptions {
    /// Those of a request.
    pub fn of(call: &Call) -> Result<Self, Failure> {
        Self::parse(&call.query, call.options)
    }

    /// Reads `dryRun` and `fieldValidation`; `options` is what they are called together.
    fn parse(query: &Query, options: &'static str) -> Result<Self, Failure> {
        let mut causes = Vec::new();
        let dry_run = query.get("dryRun");
        causes.extend(check_dry_run(dry_run));
        let fields = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some("Ignore") => FieldValidation::Ignore,
            Some(other) => {
                let allowed = ["", "Ignore", "Strict", "Warn"];
                causes.push(unsupported("fieldValidation", other, &allowed));
                FieldValidation::Warn
            }
        };
        if !causes.is_empty() {
            return Err(Failure::invalid_options(options, causes));
        }
        let dry_run = dry_run.is_some();
        Ok(Self { dry_run, fields })
    }
}

/// `All` is the only mode of a dry run.
pub(crate) fn check_dry_run<'a>(modes: impl IntoIterator<Item = &'a str>) -> Option<Cause> {
    let modes: Vec<&str> = modes.into_iter().collect();
    let is_known = modes.iter().all(|mode| *mode == "All");
    (!is_known).then(|| Cause {
        reason: "FieldValueNotSupported",
        message: format!(
            "Unsupported value: {}: supported values: \"All\"",
            serde_json::json!(modes)
        ),
        field: "dryRun".to_owned(),
    })
}

/// An option's value that is none of those allowed.
pub(crate) fn unsupported(field: &str, value: &str, allowed: &[&str]) -> Cause {
    let allowed: Vec<String> = allowed.iter().map(|word| format!("{word:?}")).collect();
    Cause {
        reason: "FieldValueNotSupported",
        message: format!(
            "Unsupported value: {value:?}: supported values: {}",
            allowed.join(", ")
        ),
        field: field.to_owned(),
    }
}

/// The revision a client names. `""` and absent are `None`.
pub(crate) fn revision(query: &Query) -> Result<Option<u64>, Failure> {
    query.get("resourceVersion").map(parse_revision).transpose()
}

/// Reads a resourceVersion.
pub(crate) fn parse_revision(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| {
        Failure::BadRequest(format!(
            "Invalid value: {text:?}: a resourceVersion is a whole number"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_numbers() {
        let query = Query::parse(Some("watch&follow=false&limit=5&bad=x&labelSelector=a%3Db%2Cc"));
        assert!(query.flag("watch") && !query.flag("follow") && !query.flag("absent"));
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert!(query.number("bad").is_err());
        let timeout = |text: &str| Query::parse(Some(&format!("timeout={text}"))).timeout();
        assert_eq!(timeout("1m30s"), Ok(Some(Duration::from_secs(90))));
        assert_eq!(timeout("500ms"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(timeout(""), Ok(None));
        for bad in ["3", "-1s", "soon"] {
            let error = timeout(bad).unwrap_err().to_string();
            let expected =
                format!("invalid timeout specified in the request URL - time: invalid duration {bad:?}");
            assert_eq!(error, expected);
        }
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
    }

    #[test]
    fn write_options_are_checked() {
        let parse = |query: &str| WriteOptions::parse(&Query::parse(Some(query)), "PatchOptions");
        let options = parse("dryRun=All&fieldValidation=Strict").unwrap();
        assert!(options.dry_run);
        assert_eq!(options.fields, FieldValidation::Strict);
        assert_eq!(
            parse("dryRun=Some&fieldValidation=Foo").unwrap_err().to_string(),
            "PatchOptions.meta.k8s.io \"\" is invalid: [dryRun: Unsupported value: [\"Some\"]: supported values: \"All\", fieldValidation: Unsupported value: \"Foo\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"]"
        );
    }
}
