//! Whatever is killed, nothing acknowledged is lost: the short form of `scripts/chaos.sh`.

use std::process::Command;
use std::time::Duration;

use coracle_tests::chaos::round;
use coracle_tests::{Background, programs};
use nix::sys::signal::Signal;

/// Found by `scripts/chaos.sh --seed 10`: a balancer died of a line that its log on a full disk did not take.
#[test]
fn a_server_whose_log_takes_nothing_comes_up_and_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" \"$@\" 2>/dev/full"])
        .arg(programs::coracle())
        .args(["up", "--nodes", "1", "--api-port", "0", "--kubeconfig"])
        .arg(folder.path().join("kubeconfig"))
        .arg("--data-dir")
        .arg(folder.path().join("data"));
    command.env("RUST_LOG", "debug").env("HOME", folder.path());
    let mut server = Background::start(&mut command);
    server.wait_for_line(Duration::from_secs(60), |line| {
        line.contains("https://127.0.0.1:")
    });
    let (status, _) = server.end(Signal::SIGINT);
    assert!(status.success(), "{status}");
}

#[test]
fn a_round_of_chaos_leaves_what_was_asked_for() {
    let verdict = round(1, true);
    println!("{verdict}");
    assert!(verdict.is_good(), "promises were broken: see above");
}
