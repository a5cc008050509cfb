//! `coracle demo` without a terminal: plain lines, a report, exit code 0, nothing left behind.

use std::process::Command;
use std::time::{Duration, Instant};

use coracle_tests::processes::marked;
use coracle_tests::programs;

#[test]
fn the_demo_drops_nothing_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_string_lossy().into_owned();
    let start = Instant::now();
    let mut command = Command::new(programs::coracle());
    let output = command
        .arg("demo")
        .env("TMPDIR", &path)
        .env("HOME", &path)
        .output()
        .expect("coracle runs");
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        start.elapsed() < Duration::from_secs(90),
        "the demo took {:?}",
        start.elapsed()
    );
    assert!(!told.contains('\u{1b}'), "control sequences without a terminal");
    for word in ["nginx:1.7.9", "nginx:1.8", "dropped", "p50", "p99", "max"] {
        assert!(told.contains(word), "the report does not mention {word}");
    }
    let left = marked(&[path]);
    assert!(left.is_empty(), "processes left behind: {left:#?}");
    let files: Vec<_> = folder
        .path()
        .read_dir()
        .expect("our own folder")
        .filter_map(Result::ok)
        .collect();
    assert!(files.is_empty(), "files left behind: {files:?}");
}
