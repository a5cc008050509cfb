//! Errors in kubectl's words: what it prints before it exits with 1.

use std::fmt::Write as _;
use std::io;

use kube::core::Status;

/// Prints `error` on stderr.
pub fn print(error: &anyhow::Error) {
    eprintln!("{}", text(error));
}

/// Puts `doing` (`error when creating "x.yaml"`) before the message of an answer of the API server; kubectl keeps the
/// reason of such an error, so its first words do not change.
pub fn while_doing(doing: &str, error: kube::Error) -> kube::Error {
    match error {
        kube::Error::Api(mut status) => {
            status.message = format!("{doing}: {}", status.message);
            kube::Error::Api(status)
        }
        other => other,
    }
}

/// Whether the API server answered that there is no such object.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "NotFound")
}

fn text(error: &anyhow::Error) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => of_status(status),
        _ if refused(error) => {
            "The connection to the server was refused - is the cluster up? `coracle up` starts it".to_owned()
        }
        _ => format!("error: {error:#}"),
    }
}

fn refused(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

fn of_status(status: &Status) -> String {
    match status.reason.as_str() {
        "Invalid" => invalid(status),
        "Unauthorized" => "error: You must be logged in to the server (Unauthorized)".to_owned(),
        "" | "Unknown" => format!("Error from server: {}", status.message),
        reason => format!("Error from server ({reason}): {}", status.message),
    }
}

/// An object that the server refuses, with one line for each cause if there are several.
fn invalid(status: &Status) -> String {
    let Some(details) = &status.details else {
        return format!("Error from server (Invalid): {}", status.message);
    };
    // What a patch makes of an object is told without naming the object.
    let mut text = if details.kind.is_empty() && details.name.is_empty() {
        "The request is invalid".to_owned()
    } else {
        format!("The {} \"{}\" is invalid", details.kind, details.name)
    };
    let mut causes: Vec<String> = Vec::new();
    for cause in &details.causes {
        let line = format!("{}: {}", cause.field, cause.message);
        if !causes.contains(&line) {
            causes.push(line);
        }
    }
    match causes.as_slice() {
        [] => {}
        [only] => {
            let _ = write!(text, ": {only}");
        }
        several => {
            text.push_str(": ");
            for cause in several {
                let _ = write!(text, "\n* {cause}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn invalid_with(fields: &[&str]) -> anyhow::Error {
        refusal("Deployment", "web", fields)
    }

    fn refusal(kind: &str, name: &str, fields: &[&str]) -> anyhow::Error {
        let cause = |field: &&str| json!({"reason": "FieldValueInvalid", "message": "Invalid value: -1", "field": field});
        let causes: Vec<_> = fields.iter().map(cause).collect();
        let details = json!({"name": name, "kind": kind, "causes": causes});
        let mut status = Status::failure("long", "Invalid");
        status.details = serde_json::from_value(details).expect("details");
        kube::Error::Api(Box::new(status)).into()
    }

    #[test]
    fn a_missing_object_reads_as_in_kubectl() {
        let error = kube::Error::Api(Box::new(Status::failure("pods \"x\" not found", "NotFound")));
        assert!(is_not_found(&error));
        assert_eq!(
            text(&error.into()),
            "Error from server (NotFound): pods \"x\" not found"
        );
    }

    #[test]
    fn one_cause_stays_on_the_line_and_several_are_listed_once_each() {
        assert_eq!(
            text(&invalid_with(&["spec.replicas"])),
            "The Deployment \"web\" is invalid: spec.replicas: Invalid value: -1"
        );
        assert_eq!(
            text(&invalid_with(&["a", "b", "a"])),
            "The Deployment \"web\" is invalid: \n* a: Invalid value: -1\n* b: Invalid value: -1"
        );
        assert_eq!(
            text(&refusal("", "", &["patch"])),
            "The request is invalid: patch: Invalid value: -1"
        );
    }

    #[test]
    fn other_errors_are_told_plainly() {
        assert_eq!(
            text(&anyhow::anyhow!("no objects passed to apply")),
            "error: no objects passed to apply"
        );
        let refused = anyhow::Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(text(&refused).starts_with("The connection to the server was refused"));
    }

    #[test]
    fn the_file_is_named_without_losing_the_reason() {
        let error = kube::Error::Api(Box::new(Status::failure("strict decoding error", "BadRequest")));
        let error = while_doing("error when creating \"a.yaml\"", error);
        assert_eq!(
            text(&error.into()),
            "Error from server (BadRequest): error when creating \"a.yaml\": strict decoding error"
        );
    }
}
