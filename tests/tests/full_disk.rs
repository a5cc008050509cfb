//! A start on a full disk: it says so in one sentence and leaves nothing behind, and the next one, with room, works.

use std::fs;
use std::path::Path;
use std::time::Duration;

use coracle_tests::chaos::disk::Disk;
use coracle_tests::{Background, Cluster, Options, Output, programs};
use nix::sys::signal::Signal;

/// Rooms in KiB in which a cluster cannot start, each enough to get a little further than the one before.
const TOO_SMALL: [u64; 6] = [0, 4, 8, 16, 32, 64];

#[track_caller]
fn assert_says_so(output: &Output, folder: &Path) {
    assert_eq!(output.code, Some(1), "{output:?}");
    let told = &output.stderr;
    // Beside the log, if the start got so far.
    let told: Vec<&str> = told.lines().filter(|line| !line.contains(" ERROR ")).collect();
    let [told] = told[..] else {
        panic!("it is not one sentence: {output:?}");
    };
    assert!(told.starts_with("error: "), "{told}");
    assert!(told.contains(&*folder.to_string_lossy()), "{told}");
    let reasons = [
        "o space left on device",
        "no storage space",
        "disk is full",
        "disk I/O error",
    ];
    assert!(reasons.iter().any(|reason| told.contains(reason)), "{told}");
}

#[test]
fn a_first_start_on_a_full_disk_leaves_nothing() {
    let disk = Disk::of(16);
    let Some(ballast) = disk.fill() else {
        eprintln!("skipped: only root has a disk to fill");
        return;
    };
    let home = tempfile::tempdir().expect("a temporary folder");
    let data = disk.path().join("data");
    let up = |more: &[&str]| {
        let mut command = std::process::Command::new(programs::coracle());
        command
            .args(["up", "--api-port", "0", "--data-dir"])
            .arg(&data)
            .args(more);
        command.env("HOME", home.path()).env_remove("KUBECONFIG");
        command
    };
    for free in TOO_SMALL {
        ballast.leave(free << 10);
        for more in [&[][..], &["--detach"]] {
            let output: Output = up(more).output().expect("coracle runs").into();
            println!("{free} KiB free: {}", output.stderr);
            assert_says_so(&output, &data);
            let left = fs::read_dir(disk.path()).expect("the disk").count();
            assert_eq!(left, 1, "only the ballast is to be left, with {free} KiB free");
            assert!(!home.path().join(".kube/config").exists());
        }
    }
    drop(ballast);
    let mut server = Background::start(&mut up(&[]));
    server.wait_for_line(Duration::from_secs(60), |line| line.contains("coracle is up"));
    let (status, _) = server.end(Signal::SIGINT);
    assert!(status.success(), "{status}");
}

#[test]
fn a_cluster_on_a_full_disk_waits_for_room() {
    let disk = Disk::of(64);
    let mut cluster = Cluster::start_with(Options {
        nodes: 1,
        within: Some(disk.path().to_owned()),
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "configmap", "kept", "--from-literal=k=v"]);
    let before = kubectl.json(&["configmap", "kept"]);
    cluster.interrupt();
    let Some(ballast) = disk.fill() else {
        eprintln!("skipped: only root has a disk to fill");
        cluster.up();
        return cluster.stop();
    };
    let folder = cluster.data_dir();
    for more in [&[][..], &["--detach"]] {
        let mut words = vec!["up", "--data-dir"];
        let path = folder.to_string_lossy();
        words.push(&path);
        words.extend(more);
        let output = cluster.run(&words);
        println!("{}", output.stderr);
        assert_says_so(&output, &folder);
    }
    drop(ballast);
    cluster.up();
    cluster.nodes_ready();
    assert_eq!(cluster.kubectl().json(&["configmap", "kept"]), before);
    cluster.stop();
}
