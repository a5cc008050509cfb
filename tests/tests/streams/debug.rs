//! `kubectl debug`: a container more in a pod that runs, at a terminal.

use coracle_tests::{Terminal, programs};

use crate::{cluster, shell};

#[test]
fn a_pod_that_runs_is_debugged_from_a_terminal() {
    let cluster = cluster();
    shell(&cluster.kubectl(), "box", "sleep 1000");
    let uptime = [
        "get",
        "pod",
        "box",
        "-o",
        "jsonpath={.status.containerStatuses[0].state}",
    ];
    let before = cluster.kubectl().ok(&uptime);
    for (number, program) in programs::every_kubectl().iter().enumerate() {
        let kubectl = cluster.kubectl().with_program(program);
        let name = format!("look-{number}");
        let container = format!("--container={name}");
        let debug = [
            "debug",
            "box",
            "-it",
            "--image=host",
            &container,
            "--target=c",
            "--",
            "sh",
        ];
        let mut terminal = Terminal::start(&mut kubectl.command(&debug), 31, 97);
        // kubectl first sends a size that is one too large each way, for a redraw.
        terminal.enter("until stty size | grep '^31'; do :; done; tty\n");
        terminal.wait_for("31 97\r\n");
        terminal.wait_for("/dev/pts/");
        terminal.enter("echo $HOSTNAME is seen by $CORACLE_CONTAINER\n");
        terminal.wait_for(&format!("box is seen by {name}\r\n"));
        let told = kubectl.ok(&[
            "exec",
            "box",
            "-c",
            &name,
            "--",
            "sh",
            "-c",
            "echo $CORACLE_CONTAINER",
        ]);
        assert_eq!(told, format!("{name}\n"), "{program:?}");
        terminal.enter("exit 5\n");
        let (status, seen) = terminal.end();
        assert!(status.success(), "{program:?}: {seen}");
        // From 1.36 on with the namespace.
        let reattach = format!("may be reattached using 'kubectl attach box -c {name} ");
        assert!(seen.contains(&reattach), "{program:?}: {seen}");

        let code = format!("{{.status.ephemeralContainerStatuses[{number}].state.terminated.exitCode}}=5");
        kubectl.ok(&[
            "wait",
            "pod/box",
            &format!("--for=jsonpath={code}"),
            "--timeout=30s",
        ]);
        let logs = kubectl.ok(&["logs", "box", "-c", &name]);
        assert!(
            logs.contains(&format!("box is seen by {name}")),
            "{program:?}: {logs}"
        );
    }
    assert_eq!(cluster.kubectl().ok(&uptime), before);
    cluster.stop();
}
