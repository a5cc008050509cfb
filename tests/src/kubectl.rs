//! The real kubectl, pointed at one cluster.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{Background, User};

/// What a command said and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; `None`: ended by a signal.
    pub code: Option<i32>,
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }
}

/// A kubectl that talks to one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    pub(crate) program: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    /// Its home folder, for its caches.
    pub(crate) home: PathBuf,
    pub(crate) user: User,
}

impl Kubectl {
    /// The same cluster through another kubectl.
    #[must_use]
    pub fn with_program(&self, program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            ..self.clone()
        }
    }

    /// The bare command, with the cluster's kubeconfig in its environment.
    pub fn command<A: AsRef<str>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args.iter().map(AsRef::as_ref));
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .current_dir(&self.home);
        self.user.apply(&mut command);
        command
    }

    /// Runs a command with this on its standard input.
    pub fn run_with_input<A: AsRef<str>>(&self, args: &[A], input: &str) -> Output {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdin = child.stdin.take().expect("piped");
        // A command that fails early closes its input; what it says then is what matters.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child
            .wait_with_output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
            .into()
    }

    /// Runs a command, whatever comes of it.
    pub fn run<A: AsRef<str>>(&self, args: &[A]) -> Output {
        self.run_with_input(args, "")
    }

    /// Runs a command that must succeed, and returns its standard output.
    #[track_caller]
    pub fn ok<A: AsRef<str>>(&self, args: &[A]) -> String {
        self.succeeded(args, self.run(args))
    }

    /// Runs a command that must fail, and returns its standard error.
    #[track_caller]
    pub fn fails<A: AsRef<str>>(&self, args: &[A]) -> String {
        let output = self.run(args);
        assert_ne!(
            output.code,
            Some(0),
            "kubectl {:?} succeeded: {output:?}",
            words(args)
        );
        output.stderr
    }

    /// `kubectl apply -f -`, which must succeed.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        let args = ["apply", "-f", "-"];
        self.succeeded(&args, self.run_with_input(&args, manifest))
    }

    /// `kubectl apply -f -`, which must fail; returns its standard error.
    #[track_caller]
    pub fn apply_fails(&self, manifest: &str) -> String {
        let output = self.run_with_input(&["apply", "-f", "-"], manifest);
        assert_ne!(
            output.code,
            Some(0),
            "the manifest was taken: {output:?}\n{manifest}"
        );
        output.stderr
    }

    /// `kubectl get ... -o json`.
    #[track_caller]
    pub fn json<A: AsRef<str>>(&self, args: &[A]) -> Value {
        let mut all = vec!["get"];
        all.extend(args.iter().map(AsRef::as_ref));
        all.extend(["-o", "json"]);
        let text = self.ok(&all);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl {all:?}: {error}\n{text}"))
    }

    /// `kubectl rollout status deployment/NAME`, which must succeed within a minute.
    #[track_caller]
    pub fn rolled_out(&self, deployment: &str) -> String {
        let told = self.ok(&[
            "rollout",
            "status",
            &format!("deployment/{deployment}"),
            "--timeout=90s",
        ]);
        assert!(told.contains("successfully rolled out"), "{told}");
        told
    }

    /// Waits until all pods with this label are served by the balancer.
    #[track_caller]
    pub fn in_service(&self, selector: &str) {
        self.ok(&[
            "wait",
            "--for=condition=coracle.dev/InService",
            "pod",
            "-l",
            selector,
            "--timeout=60s",
        ]);
    }

    /// Waits until an event of this reason exists for the object, and returns its message.
    ///
    /// # Panics
    /// If none comes within 60 s.
    pub fn event(&self, object: &str, reason: &str) -> String {
        let selector = format!("--field-selector=involvedObject.name={object},reason={reason}");
        let columns = "-o=custom-columns=MESSAGE:.message";
        let mut watch = Background::start(&mut self.command(&[
            "get",
            "events",
            &selector,
            columns,
            "--no-headers",
            "-w",
        ]));
        let mut lines = watch.wait_for_line(Duration::from_secs(60), |line| !line.is_empty());
        lines.pop().unwrap_or_default()
    }

    #[track_caller]
    fn succeeded<A: AsRef<str>>(&self, args: &[A], output: Output) -> String {
        let Output { stdout, stderr, code } = output;
        assert_eq!(
            code,
            Some(0),
            "kubectl {:?} failed:\n{stdout}{stderr}",
            words(args)
        );
        stdout
    }
}

fn words<A: AsRef<str>>(args: &[A]) -> Vec<&str> {
    args.iter().map(AsRef::as_ref).collect()
}
