//! `kubectl exec`, `attach` and `run -it`: a terminal, what is typed, and how it ends.

use coracle_tests::{Background, Terminal, programs};
use nix::sys::signal::Signal;

use crate::{PATIENCE, cluster, pod, shell};

#[test]
fn commands_are_run_with_input_terminal_and_exit_code() {
    let cluster = cluster();
    shell(&cluster.kubectl(), "box", "sleep 1000");
    let megabytes: String = (0..700_000).map(|line| format!("{line}\n")).collect();
    for program in programs::every_kubectl() {
        let kubectl = cluster.kubectl().with_program(&program);
        let told = kubectl.run(&["exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!(
            (told.stdout.as_str(), told.code),
            ("out\n", Some(3)),
            "{program:?}: {told:?}"
        );
        assert!(told.stderr.starts_with("err\n"), "{told:?}");
        // Both directions at once, with more than any buffer holds.
        let told = kubectl.run_with_input(&["exec", "-i", "box", "--", "cat"], &megabytes);
        assert!(
            told.stdout == megabytes,
            "{program:?}: {} bytes",
            told.stdout.len()
        );
        let told = kubectl.fails(&["exec", "box", "--", "no-such-program"]);
        assert!(told.contains("executable file not found in $PATH"), "{told}");
        let told = kubectl.fails(&["exec", "box", "-c", "other", "--", "true"]);
        assert!(
            told.contains("container other is not valid for pod box"),
            "{told}"
        );

        let mut command = kubectl.command(&["exec", "-it", "box", "--", "sh"]);
        let mut terminal = Terminal::start(&mut command, 31, 97);
        terminal.enter("until stty size | grep '^31'; do :; done; tty\n");
        terminal.wait_for("31 97\r\n");
        terminal.wait_for("/dev/pts/");
        terminal.resize(40, 120);
        // The size goes its way beside what is typed.
        terminal.enter("while [ \"$(stty size)\" != '40 120' ]; do :; done; echo re''sized; exit 5\n");
        terminal.wait_for("resized\r\n");
        let (status, _) = terminal.end();
        assert_eq!(status.code(), Some(5), "{program:?}");
    }
    cluster.stop();
}

#[test]
fn clients_attach_to_main_processes() {
    let cluster = cluster();
    let all = programs::every_kubectl();
    for (number, program) in all.iter().enumerate() {
        let kubectl = cluster.kubectl().with_program(program);
        let name = format!("reader-{number}");
        let script = "(while sleep 0.1; do echo tick; done) & while read line; do echo got $line; done; echo at the end; \
                      sleep 1000";
        pod(
            &kubectl,
            &name,
            &format!("stdin: true, stdinOnce: true, command: [sh, -c, {script:?}]"),
        );
        // Whoever only looks does not end the input, and sees what others type come out.
        let mut onlooker = Background::start(&mut kubectl.command(&["attach", &name]));
        onlooker.wait_for_line(PATIENCE, |line| line == "tick");
        let mut typist = Terminal::start(&mut kubectl.command(&["attach", "-i", &name]), 24, 80);
        typist.enter("one\n");
        typist.wait_for("got one");
        typist.enter("two\n");
        typist.wait_for("got two");
        // The end of the input.
        typist.enter("\u{4}");
        typist.wait_for("at the end");
        onlooker.wait_for_line(PATIENCE, |line| line == "at the end");
        onlooker.end(Signal::SIGTERM);
        drop(typist);
        let mut logs = kubectl.ok(&["logs", &name]);
        logs = logs.replace("tick\n", "");
        assert_eq!(logs, "got one\ngot two\nat the end\n", "{program:?}");
        kubectl.ok(&["delete", "pod", &name, "--now"]);
    }
    cluster.stop();
}

#[test]
fn pods_are_run_from_a_terminal_and_removed() {
    let cluster = cluster();
    for (number, program) in programs::every_kubectl().iter().enumerate() {
        let kubectl = cluster.kubectl().with_program(program);
        let run = |name: &str, flags: &[&str], command: &[&str]| {
            let args = ["run", name, "--rm", "--restart=Never", "--image=host", "--quiet"];
            [&args[..], flags, &["--"], command].concat().join("\u{0}")
        };
        let words = |text: &str| text.split('\u{0}').map(str::to_owned).collect::<Vec<_>>();
        let name = format!("shell-{number}");
        let mut command = kubectl.command(&words(&run(&name, &["-it"], &["sh"])));
        let mut terminal = Terminal::start(&mut command, 31, 97);
        // kubectl first sends a size that is one too large each way, for a redraw.
        terminal.enter("until stty size | grep '^31'; do :; done\n");
        terminal.wait_for("31 97\r\n");
        terminal.enter("exit 6\n");
        let (status, seen) = terminal.end();
        assert_eq!(status.code(), Some(6), "{program:?}: {seen}");
        let name = format!("reader-{number}");
        let script = "read line; echo got $line; exit 4";
        let told = kubectl.run_with_input(&words(&run(&name, &["-i"], &["sh", "-c", script])), "typed\n");
        assert_eq!(
            (told.stdout.lines().next(), told.code),
            (Some("got typed"), Some(4)),
            "{program:?}: {told:?}"
        );
    }
    let left = cluster.kubectl().ok(&["get", "pods", "-o", "name"]);
    assert_eq!(left, "");
    cluster.stop();
}
