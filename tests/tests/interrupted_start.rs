//! `coracle up` is interrupted at any instant of its start, or fails: nothing runs afterwards, and a later start succeeds.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use coracle_tests::processes::{Process, marked};
use coracle_tests::{Background, programs};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// How long a start and a stop may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Starts that are interrupted.
const STARTS: u32 = 50;

fn coracle(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(programs::coracle());
    command
        .args(args)
        .arg("--data-dir")
        .arg(folder.join("data"))
        .env("HOME", folder)
        .env_remove("KUBECONFIG")
        .env_remove("XDG_STATE_HOME");
    command
}

fn up(folder: &Path, port: &str) -> Background {
    Background::start(&mut coracle(folder, &["up", "--api-port", port]))
}

fn running(folder: &Path) -> BTreeSet<Process> {
    marked(&[folder.to_string_lossy().into_owned()])
}

fn assert_nothing_runs(folder: &Path, when: &str) {
    let left = running(folder);
    assert!(left.is_empty(), "left behind {when}: {left:#?}");
}

/// Starts it to the end, and takes it down: then nothing of it is left.
fn starts_and_goes(folder: &Path) {
    let mut server = up(folder, "0");
    server.wait_for_line(LIMIT, |line| line.contains("https://127.0.0.1:"));
    let down = coracle(folder, &["down"]).output().expect("it is built");
    assert!(down.status.success(), "{down:?}");
    assert!(
        server
            .wait(LIMIT)
            .expect("`coracle down` ends the server")
            .success()
    );
    assert_nothing_runs(folder, "by `coracle down`");
    assert!(!folder.join("data").exists(), "the data folder is left");
    assert!(!folder.join(".kube/config").exists(), "the kubeconfig is left");
}

#[test]
fn a_start_that_is_interrupted_leaves_nothing_running() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let begin = Instant::now();
    let mut whole = up(folder.path(), "0");
    whole.wait_for_line(LIMIT, |line| line.contains("https://127.0.0.1:"));
    let longest = begin.elapsed();
    whole.end(Signal::SIGINT);
    assert_nothing_runs(folder.path(), "by Ctrl-C");
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..STARTS {
        let signal = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP][random.random_range(0..3)];
        let instant = longest.mul_f64(random.random_range(0.0..1.2));
        let mut server = up(folder.path(), "0");
        // The instant is what is tried.
        thread::sleep(instant);
        server.signal(signal);
        let ended = server.wait(LIMIT);
        let when = format!("by {signal} {instant:?} after the start, which ended with {ended:?}");
        assert!(ended.is_some(), "it goes on {when}");
        assert_nothing_runs(folder.path(), &when);
    }
    starts_and_goes(folder.path());
}

#[test]
fn a_detached_start_that_is_interrupted_leaves_nothing_running() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Ctrl-C reaches the whole group, and the server, too, for as long as it is in it.
    let detach =
        || Background::start(coracle(folder.path(), &["up", "--detach", "--api-port", "0"]).process_group(0));
    let down = || {
        coracle(folder.path(), &["down", "--keep-data"])
            .output()
            .expect("it is built")
    };
    let begin = Instant::now();
    let whole = detach().wait(LIMIT);
    assert!(whole.is_some_and(|status| status.success()), "{whole:?}");
    let longest = begin.elapsed();
    assert!(down().status.success());
    let mut random = StdRng::seed_from_u64(2);
    let mut interrupted = 0;
    for _ in 0..STARTS {
        let signal =
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL][random.random_range(0..4)];
        let instant = longest.mul_f64(random.random_range(0.0..1.2));
        let mut launcher = detach();
        // The instant is what is tried.
        thread::sleep(instant);
        // It may have ended by itself meanwhile.
        let _ = killpg(Pid::from_raw(launcher.pid()), signal);
        let ended = launcher.wait(LIMIT);
        let when = format!("by {signal} {instant:?} after the start, which ended with {ended:?}");
        assert!(ended.is_some(), "it goes on {when}");
        // A launcher that is killed after it has said so leaves the cluster that it spoke of.
        let deadline = Instant::now() + LIMIT;
        let mut told = std::iter::from_fn(|| launcher.line(deadline));
        let is_up = told.any(|line| line.starts_with("It stays up"));
        if is_up {
            let down = down();
            assert!(down.status.success(), "{down:?} {when}");
        } else {
            interrupted += 1;
        }
        if !is_up && signal == Signal::SIGKILL {
            // Nobody was left to wait for the server's end.
            let deadline = Instant::now() + LIMIT;
            while !running(folder.path()).is_empty() && Instant::now() < deadline {
                thread::yield_now();
            }
        }
        assert_nothing_runs(folder.path(), &when);
    }
    assert!(
        interrupted > STARTS / 4,
        "{interrupted} of {STARTS} were interrupted"
    );
    starts_and_goes(folder.path());
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let failed = coracle(folder.path(), &["up", "--api-port", &port]).output();
    let failed = failed.expect("it is built");
    let told = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(
        told.contains(&format!("port {port} on 127.0.0.1 is taken")),
        "{told}"
    );
    assert_nothing_runs(folder.path(), "by a start without a port");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("our own").flatten().collect();
    assert!(left.is_empty(), "{left:#?}");
    starts_and_goes(folder.path());
}
