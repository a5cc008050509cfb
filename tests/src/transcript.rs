//! Sessions at a terminal, as upstream would have them: what is typed, what is printed, how it ends.
//!
//! Flows in: a text of commands and expected answers, written from upstream's behaviour, and a kubectl. Flows out: nothing,
//! or a panic that names every command whose answer differs. Never changes an expectation.
//!
//! ```text
//! # A comment.
//! $ kubectl get pods          a command for sh, in which `kubectl` is the one under test
//! > -o wide                   its next line
//! NAME   READY   …            a line of standard output; … stands for any text
//! …                           by itself: any lines, also none
//! ! Error from server …       a line of standard error
//! [1]                         the exit code; 0 if there is none
//! $ [1.31+] kubectl …         only from kubectl 1.31 on; [1.30-]: only up to 1.30. Also before lines of output.
//! ```
//!
//! How many spaces are between words is not compared (columns are as wide as names that are made up), nor are empty lines.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::programs;
use crate::{Kubectl, Output};

/// Stands for any text.
const ANY: &str = "…";

/// One command and what is expected of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Step {
    command: String,
    stdout: Vec<String>,
    stderr: Vec<String>,
    code: i32,
}

/// Types the transcripts with this kubectl, one after another; each removes what it made.
///
/// # Panics
/// If an answer is not as expected; all such are told at once.
#[track_caller]
pub fn play(kubectl: &Kubectl, transcripts: &[&str]) {
    let minor = programs::minor_version(&kubectl.program).expect("kubectl tells its version");
    let path = path_with(kubectl, minor);
    let mut differences = String::new();
    for step in transcripts.iter().flat_map(|text| steps(text, minor)) {
        let mut shell = kubectl
            .with_program("/bin/sh".as_ref())
            .command(&["-c", &step.command]);
        let output = shell.env("PATH", &path).output().expect("sh runs");
        let output = Output::from(output);
        if !as_expected(&step, &output) {
            let Step {
                command,
                stdout,
                stderr,
                code,
            } = step;
            let _ = writeln!(
                differences,
                "$ {command}\n-- expected, exit code {code}:\n{}\n{}\n-- got, exit code {:?}:\n{}{}",
                stdout.join("\n"),
                stderr.join("\n"),
                output.code,
                output.stdout,
                output.stderr
            );
        }
    }
    assert!(differences.is_empty(), "kubectl 1.{minor}:\n{differences}");
}

/// A PATH whose first `kubectl` is this one.
fn path_with(kubectl: &Kubectl, minor: u32) -> String {
    let folder: PathBuf = kubectl.home.join(format!("bin-1.{minor}"));
    if !folder.exists() {
        fs::create_dir(&folder).expect("a folder in our own folder");
        symlink(&kubectl.program, folder.join("kubectl")).expect("a link in our own folder");
    }
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", folder.display())
}

/// The steps that are for this minor version.
fn steps(transcript: &str, minor: u32) -> Vec<Step> {
    let mut steps: Vec<(bool, Step)> = Vec::new();
    for line in transcript.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        if let Some(command) = line.strip_prefix("$ ") {
            let (wanted, command) = for_version(command, minor);
            let command = command.to_owned();
            steps.push((
                wanted,
                Step {
                    command,
                    ..Step::default()
                },
            ));
            continue;
        }
        let (_, step) = steps.last_mut().expect("a transcript begins with a command");
        if let Some(more) = line.strip_prefix("> ") {
            step.command.push('\n');
            step.command.push_str(more);
        } else if let Some(code) = exit_code(line) {
            step.code = code;
        } else if let Some(text) = line.strip_prefix("! ") {
            step.stderr.extend(only_for(text, minor));
        } else {
            step.stdout.extend(only_for(line, minor));
        }
    }
    steps
        .into_iter()
        .filter_map(|(wanted, step)| wanted.then_some(step))
        .collect()
}

fn only_for(line: &str, minor: u32) -> Option<String> {
    let (wanted, line) = for_version(line, minor);
    wanted.then(|| spaced(line))
}

/// Whether a line is for this version, and the line without what says so.
fn for_version(line: &str, minor: u32) -> (bool, &str) {
    let Some((version, rest)) = line.strip_prefix("[1.").and_then(|rest| rest.split_once("] ")) else {
        return (true, line);
    };
    let bound = version.trim_end_matches(['+', '-']).parse::<u32>();
    match (bound, version.ends_with('+')) {
        (Ok(bound), true) => (minor >= bound, rest),
        (Ok(bound), false) => (minor <= bound, rest),
        (Err(_), _) => (true, line),
    }
}

fn exit_code(line: &str) -> Option<i32> {
    line.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn as_expected(step: &Step, output: &Output) -> bool {
    let lines =
        |text: &str| -> Vec<String> { text.lines().map(spaced).filter(|line| !line.is_empty()).collect() };
    output.code == Some(step.code)
        && lines_match(&step.stdout, &lines(&output.stdout))
        && lines_match(&step.stderr, &lines(&output.stderr))
}

/// Indented as it was, with one space between words.
fn spaced(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.is_empty() {
        return String::new();
    }
    format!("{}{}", &line[..indent], words.join(" "))
}

fn lines_match(expected: &[String], got: &[String]) -> bool {
    match (expected.split_first(), got.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == ANY => {
            lines_match(rest, got)
                || got
                    .split_first()
                    .is_some_and(|(_, got)| lines_match(expected, got))
        }
        (Some((first, rest)), Some((line, got))) => line_matches(first, line) && lines_match(rest, got),
        _ => false,
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    match expected.split_once(ANY) {
        None => expected == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(index, _)| index)
                .chain([rest.len()])
                .any(|index| line_matches(after, &rest[index..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stdout: &str, code: i32) -> Output {
        Output {
            stdout: stdout.to_owned(),
            stderr: String::new(),
            code: Some(code),
        }
    }

    #[test]
    fn commands_have_lines_answers_errors_codes_and_versions() {
        let text = "# comment\n$ kubectl apply -f - <<END\n> kind: Pod\n> END\npod/a   created\n! [1.30+] Warning: b\n[1]\n$ [1.29-] old\n";
        let expected = Step {
            command: "kubectl apply -f - <<END\nkind: Pod\nEND".to_owned(),
            stdout: vec!["pod/a created".to_owned()],
            stderr: vec!["Warning: b".to_owned()],
            code: 1,
        };
        assert_eq!(steps(text, 36), [expected]);
        let old = steps(text, 29);
        assert_eq!((old.len(), old[0].stderr.len()), (2, 0));
    }

    #[test]
    fn any_text_and_any_lines_match_and_nothing_else_does() {
        let step = steps("$ x\nNAME   AGE\n…\nweb-…   Running   …\n", 36).remove(0);
        assert!(as_expected(&step, &said("NAME      AGE\nweb-1 Running 5s\n", 0)));
        assert!(as_expected(
            &step,
            &said("NAME AGE\nb\n\nc\nweb-1  Running   5s\n", 0)
        ));
        assert!(!as_expected(&step, &said("NAME AGE\nweb-1 Pending 5s\n", 0)));
        assert!(!as_expected(
            &step,
            &said("NAME AGE\nweb-1 Running 5s\nmore\n", 0)
        ));
        assert!(!as_expected(&step, &said("NAME AGE\nweb-1 Running 5s\n", 1)));
        assert!(!as_expected(&steps("$ x\n", 36)[0], &said("said\n", 0)));
    }
}
