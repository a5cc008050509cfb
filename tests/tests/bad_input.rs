//! Mistakes: manifests are refused with upstream's words, and the command line says in one sentence what is wrong.

use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use coracle_tests::{Cluster, Options, Output, User, programs};

fn deployment() -> String {
    programs::example("nginx-deployment.yaml")
}

#[test]
fn bad_manifests_are_refused_with_upstreams_words() {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    let refused = |from: &str, to: &str| {
        let manifest = deployment().replace(from, to);
        assert_ne!(manifest, deployment(), "the mistake is in the manifest");
        kubectl.apply_fails(&manifest)
    };
    assert_eq!(
        refused("replicas: 4", "replicas: four"),
        "Error from server (BadRequest): error when creating \"STDIN\": Deployment in version \"v1\" cannot be handled as a \
         Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32\n"
    );
    assert_eq!(
        refused("replicas: 4", "replica: 4"),
        "Error from server (BadRequest): error when creating \"STDIN\": Deployment in version \"v1\" cannot be handled as a \
         Deployment: strict decoding error: unknown field \"spec.replica\"\n"
    );
    assert_eq!(
        refused(
            "    matchLabels:\n      app: nginx",
            "    matchLabels:\n      app: apache"
        ),
        "The Deployment \"nginx-deployment\" is invalid: spec.template.metadata.labels: Invalid value: \
         {\"app\":\"nginx\"}: `selector` does not match template `labels`\n"
    );
    assert_eq!(
        refused("replicas: 4", "replicas: -1"),
        "The Deployment \"nginx-deployment\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0\n"
    );
    assert_eq!(
        refused("containerPort: 80", "containerPort: 70000"),
        "The Deployment \"nginx-deployment\" is invalid: spec.template.spec.containers[0].ports[0].containerPort: \
         Invalid value: 70000: must be between 1 and 65535, inclusive\n"
    );
    let found = kubectl.json(&["deployments"]);
    assert_eq!(
        found["items"].as_array().map(Vec::len),
        Some(0),
        "something was stored all the same: {found:#}"
    );
    cluster.stop();
}

#[test]
fn an_immutable_field_stays_as_it_is() {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(&deployment());
    let told = kubectl.apply_fails(&deployment().replace("app: nginx", "app: apache"));
    assert_eq!(
        told,
        "The Deployment \"nginx-deployment\" is invalid: spec.selector: Invalid value: \
         {\"matchLabels\":{\"app\":\"apache\"}}: field is immutable\n"
    );
    let both = r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":0}}}}"#;
    let told = kubectl.fails(&["patch", "deployment", "nginx-deployment", "-p", both]);
    assert_eq!(
        told,
        "The Deployment \"nginx-deployment\" is invalid: spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: \
         may not be 0 when `maxSurge` is 0\n"
    );
    cluster.stop();
}

/// One sentence on standard error, and a failure.
#[track_caller]
fn assert_one_sentence(output: &Output, about: &[&str]) {
    assert!(output.code.is_some_and(|code| code != 0), "{output:?}");
    assert_eq!(output.stderr.trim().lines().count(), 1, "{output:?}");
    for word in about {
        assert!(output.stderr.contains(word), "{word}: {output:?}");
    }
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let cluster = Cluster::start();
    let folder = cluster.data_dir().to_string_lossy().into_owned();
    let again = cluster.run(&["up", "--api-port", "0", "--data-dir", &folder]);
    assert_one_sentence(&again, &[&folder, &cluster.server_pid().to_string()]);
    cluster.kubectl().ok(&["get", "nodes"]);
    cluster.stop();
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("a bound listener").port().to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(programs::coracle());
    command
        .args(["up", "--api-port", &port, "--data-dir"])
        .arg(folder.path().join("data"));
    command.env("HOME", folder.path());
    assert_one_sentence(
        &command.output().expect("coracle runs").into(),
        &[&port, "--api-port"],
    );
}

#[test]
fn nothing_is_told_to_listen_beyond_this_machine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for address in ["0.0.0.0:9100", "8.8.8.8:9100", "[::]:9100"] {
        let mut command = Command::new(programs::coracle());
        command.args(["up", "--metrics-address", address, "--data-dir"]);
        command.arg(folder.path().join("data")).env("HOME", folder.path());
        let refused: Output = command.output().expect("coracle runs").into();
        assert_eq!(refused.code, Some(2), "{refused:?}");
        let told = "it must be a loopback address such as 127.0.0.1:9100";
        assert!(
            refused.stderr.contains(address) && refused.stderr.contains(told),
            "{refused:?}"
        );
    }
    assert!(!folder.path().join("data").exists(), "something was started");
}

#[test]
fn the_limit_of_open_files_is_told_once() {
    let cluster = Cluster::start_with(Options {
        nodes: 1,
        detached: true,
        ..Options::default()
    });
    let server = cluster.processes().into_iter();
    let server = server
        .filter(|process| process.command.contains("--detached"))
        .map(|process| process.pid.to_string())
        .next()
        .expect("the server runs");
    let limit = |files: &str| {
        let set = Command::new("prlimit")
            .args(["--pid", &server, &format!("--nofile={files}:")])
            .status();
        assert!(set.expect("prlimit runs").success());
    };
    let log = || std::fs::read_to_string(cluster.data_dir().join("server.log")).expect("the log");
    limit("3");
    let mut waiting = TcpStream::connect(("127.0.0.1", cluster.api_port())).expect("the system accepts");
    waiting
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a socket");
    let told = waiting.read(&mut [0; 1]).expect_err("its turn has not come");
    assert_eq!(told.kind(), ErrorKind::WouldBlock);
    limit("500");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !log().contains("connections are accepted again") {
        assert!(Instant::now() < deadline, "{}", log());
        cluster.kubectl().ok(&["get", "--raw", "/readyz"]);
    }
    let log = log();
    assert_eq!(log.matches("cannot accept connections").count(), 1, "{log}");
    cluster.stop();
}

#[test]
fn an_unwritable_folder_is_named() {
    let cluster = Cluster::start_with(Options {
        user: User::Ordinary,
        nodes: 1,
        ..Options::default()
    });
    let folder = cluster.home().join("locked");
    std::fs::create_dir(&folder).expect("a folder in our own folder");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).expect("our own folder");
    let path = folder.join("data").to_string_lossy().into_owned();
    let output = cluster.run(&["up", "--api-port", "0", "--data-dir", &path]);
    assert_one_sentence(&output, &[&path, "--data-dir"]);
    cluster.stop();
}

#[test]
fn a_missing_program_is_told_by_the_pod() {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    let pod = |name: &str, command: &str, image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  containers:\n  \
             - {{name: c, image: '{image}', command: [{command}]}}\n"
        )
    };
    kubectl.apply(&pod("no-program", "no-such-program", "host"));
    let told = kubectl.event("no-program", "Failed");
    assert!(told.contains("no-such-program"), "{told}");
    kubectl.apply(&pod("no-image", "sh", "no-such-image:1"));
    let told = kubectl.event("no-image", "Failed");
    assert!(
        told.contains("no-such-image:1") && told.contains("coracle image add"),
        "{told}"
    );
    cluster.stop();
}
