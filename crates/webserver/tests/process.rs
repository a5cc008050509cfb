//! The server as a process of its own: signals, exit codes, what it prints.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use coracle_webserver::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CHILD: &str = "WEBSERVER_TEST_CHILD";

/// Not a test of its own: the process that the tests start.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let code = runtime.block_on(coracle_webserver::run(Args {
        access_log: true,
        ..Args::default()
    }));
    assert!(code == std::process::ExitCode::SUCCESS, "it failed");
}

fn start(port: u16) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, "1")
        .envs([
            ("HOST", "127.0.0.1"),
            ("PORT", &port.to_string()),
            ("CORACLE_IMAGE", "nginx:1.8"),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_signal_ends_it_well() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let mut child = start(0);
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let start = lines.find(|line| line.contains(" listens on ")).unwrap();
        assert!(start.contains("nginx:1.8 (pod none on none)"), "{start}");
        let mut stream = TcpStream::connect(start.split(" listens on ").nth(1).unwrap()).unwrap();
        stream
            .write_all(b"GET /slow?ms=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(lines.next().unwrap(), "127.0.0.1 \"GET /slow?ms=1 HTTP/1.1\" 200");
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        assert!(lines.any(|line| line == "stopped"));
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_taken_port_is_an_error_on_standard_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = start(address.port()).wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains(&format!(
            "error: cannot listen on {address}: Address already in use"
        )),
        "{errors}"
    );
    assert!(!output.status.success());
}
