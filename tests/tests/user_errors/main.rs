//! What a user is told who does something wrong: the whole sentence and the exit code, for each kind of mistake.

mod commands;
mod manifests;
mod ordinary;
mod starts;

use std::path::Path;

use coracle_tests::{Cluster, Kubectl, Options, Output, User};

/// Everything that was not told as expected, and at the end of the test a failure if there is anything.
#[derive(Default)]
struct Told {
    differences: Vec<String>,
}

impl Told {
    /// The command failed with this code, and said this and nothing else.
    fn error(&mut self, output: &Output, code: i32, sentence: &str) {
        let whole = format!("error: {sentence}\n");
        self.compare(
            (output.code, &output.stdout, &output.stderr),
            (Some(code), "", &whole),
        );
    }

    fn text(&mut self, told: &str, expected: &str) {
        self.compare((Some(0), told, ""), (Some(0), expected, ""));
    }

    fn compare(&mut self, told: (Option<i32>, &str, &str), expected: (Option<i32>, &str, &str)) {
        println!("exit code {:?}: {}{}", told.0, told.1, told.2);
        if told != expected {
            self.differences
                .push(format!("told {told:#?}\ninstead of {expected:#?}"));
        }
    }

    #[track_caller]
    fn as_expected(&self) {
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
    }
}

fn cluster(user: User) -> Cluster {
    Cluster::start_with(Options {
        nodes: 2,
        user,
        ..Options::default()
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn pod(name: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{restartPolicy: Never, containers: [{{name: c, \
         {container}}}]}}\n"
    )
}

/// The first event of a pod that says why its container does not start.
fn refused(kubectl: &Kubectl, name: &str, container: &str) -> String {
    kubectl.apply(&pod(name, container));
    kubectl.event(name, "Failed")
}
