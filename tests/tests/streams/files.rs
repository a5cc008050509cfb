//! `kubectl cp` and `kubectl logs`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use coracle_tests::{Background, programs};
use nix::sys::signal::Signal;

use crate::{PATIENCE, cluster, pod, shell};

#[test]
fn files_are_copied_both_ways_and_nowhere_else() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let home = cluster.home();
    let inside = home.join("inside");
    let bin = home.join("bin");
    for folder in [&inside, &bin, &home.join("tree/deep")] {
        fs::create_dir_all(folder).expect("a folder in our own folder");
    }
    // A tar that names files outside of what is asked for.
    let evil = "#!/bin/sh\nexec /usr/bin/tar cf - -P --transform 's,.*deep/file,../../../evil,' tree\n";
    fs::write(bin.join("tar"), evil).expect("a file in our own folder");
    fs::set_permissions(bin.join("tar"), fs::Permissions::from_mode(0o755)).expect("our own file");
    let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(home.join("tree/deep/file"), &content).expect("a file in our own folder");
    let place = home.to_string_lossy().into_owned();
    pod(
        &kubectl,
        "box",
        &format!("workingDir: {place}, command: [sleep, '1000']"),
    );
    pod(
        &kubectl,
        "evil",
        &format!(
            "workingDir: {place}, command: [/bin/sleep, '1000'], env: [{{name: PATH, value: '{place}/bin:/bin:/usr/bin'}}]"
        ),
    );
    for program in programs::oldest_and_newest_kubectl() {
        let kubectl = kubectl.with_program(&program);
        kubectl.ok(&["cp", "tree", &format!("box:{}", inside.display())]);
        assert!(fs::read(inside.join("tree/deep/file")).expect("copied") == content);
        kubectl.ok(&["cp", &format!("box:{}/tree", inside.display()), "back"]);
        assert!(fs::read(home.join("back/deep/file")).expect("copied") == content);
        fs::remove_dir_all(inside.join("tree")).expect("our own folder");
        fs::remove_dir_all(home.join("back")).expect("our own folder");
        // An empty archive ends kubectl before it learns of tar's exit code, on a real cluster too.
        kubectl.run(&["cp", "box:no-such-file", "there"]);
        assert!(!home.join("there").exists());
        kubectl.run(&["cp", "evil:tree", "a/b/c"]);
        assert!(!home.join("a/evil").exists() && !home.join("evil").exists());
    }
    cluster.stop();
}

#[test]
fn logs_are_shown_as_asked_for() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    kubectl.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: two, labels: {app: talk}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - {name: a, image: host, command: [sh, -c, 'for i in 1 2 3; do echo a$i; done; sleep 1000']}\n  \
         - {name: b, image: host, command: [sh, -c, 'echo b1; echo b2 >&2; sleep 1000']}\n",
    );
    // It ends once and runs on.
    shell(
        &kubectl,
        "again",
        "if [ -e was ]; then echo second; sleep 1000; else touch was; echo first; exit 1; fi",
    );
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/two", "--timeout=60s"]);
    for program in programs::oldest_and_newest_kubectl() {
        let kubectl = kubectl.with_program(&program);
        let logs = |args: &str| {
            let words: Vec<&str> = args.split(' ').collect();
            kubectl.ok(&[&["logs"], &words[..]].concat())
        };
        assert_eq!(logs("two -c a"), "a1\na2\na3\n");
        assert_eq!(logs("two -c a --tail=2"), "a2\na3\n");
        assert_eq!(logs("two -c a --tail=0"), "");
        assert_eq!(logs("two -c a --limit-bytes=4"), "a1\na");
        assert_eq!(logs("two -c a --since=1h"), "a1\na2\na3\n");
        assert_eq!(logs("two -c a --since-time=2999-01-01T00:00:00Z"), "");
        let stamped = logs("two -c b --timestamps --tail=1");
        let (time, text) = stamped.split_once(' ').expect("a time and a line");
        assert!(
            text == "b2\n" && time.starts_with("20") && time.contains('T'),
            "{stamped}"
        );
        let mut all: Vec<String> = logs("two --all-containers --prefix")
            .lines()
            .map(str::to_owned)
            .collect();
        all.sort();
        assert_eq!(all[0], "[pod/two/a] a1");
        assert_eq!((all.len(), all[4].as_str()), (5, "[pod/two/b] b2"));
        assert_eq!(logs("-l app=talk -c a --tail=1"), "a3\n");
        assert_eq!(logs("again --previous"), "first\n");
        assert_eq!(logs("again"), "second\n");
        let told = kubectl.fails(&["logs", "two", "-c", "a", "--previous"]);
        let expected = "previous terminated container \"a\" in pod \"two\" not found";
        assert!(told.contains(expected), "{told}");
        let told = kubectl.fails(&[
            "logs",
            "-f",
            "-l",
            "app=talk",
            "--all-containers",
            "--max-log-requests=1",
        ]);
        assert!(told.contains("attempting to follow 2 log streams"), "{told}");
        let mut follow = Background::start(&mut kubectl.command(&[
            "logs",
            "-f",
            "-l",
            "app=talk",
            "--all-containers",
            "--prefix",
            "--ignore-errors",
        ]));
        follow.wait_for_line(PATIENCE, |line| line == "[pod/two/a] a3");
        follow.end(Signal::SIGTERM);
    }
    cluster.stop();
}
