//! Commands, terminals, files, logs and ports through the real kubectl, of every version to be found: those up to 1.28
//! speak SPDY, 1.29 and 1.30 both, later ones WebSockets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use coracle_tests::{Background, Cluster, Kubectl, Options, Terminal, http, programs};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(30);

/// Reads to the end, then sends back how much it was and the same again.
const ECHO: &str = "import os, socket, threading\n\
    def serve(c):\n    \
        d = b''.join(iter(lambda: c.recv(65536), b''))\n    \
        c.sendall(b'%d ' % len(d) + d)\n    \
        c.close()\n\
    s = socket.create_server((os.environ['HOST'], int(os.environ['PORT'])), backlog=64)\n\
    while True:\n    \
        threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()\n";

fn cluster() -> Cluster {
    Cluster::start_with(Options {
        nodes: 1,
        ..Options::default()
    })
}

fn pod(kubectl: &Kubectl, name: &str, container: &str) {
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         spec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {{name: c, image: host, {container}}}\n"
    ));
    kubectl.ok(&[
        "wait",
        "--for=condition=Ready",
        &format!("pod/{name}"),
        "--timeout=60s",
    ]);
}

fn shell(kubectl: &Kubectl, name: &str, script: &str) {
    pod(kubectl, name, &format!("command: [sh, -c, {script:?}]"));
}

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
        terminal.enter("stty size; tty\n");
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
        terminal.enter("stty size\n");
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

/// `kubectl port-forward` and where it listens.
fn forward(kubectl: &Kubectl, target: &str, port: u16) -> (Background, SocketAddr) {
    let args = ["port-forward", "--address=127.0.0.1", target, &format!(":{port}")];
    let mut forward = Background::start(&mut kubectl.command(&args));
    let lines = forward.wait_for_line(PATIENCE, |line| line.starts_with("Forwarding from "));
    let words = lines.last().map(|line| line.split(' ').collect::<Vec<_>>());
    let address = words.and_then(|words| words.get(2)?.parse().ok());
    (forward, address.expect("Forwarding from ADDRESS -> PORT"))
}

/// Sends data, closes its side, and returns what comes then.
fn echo(address: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("kubectl listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(data).expect("all is taken");
    stream.shutdown(Shutdown::Write).expect("a socket");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

#[test]
fn ports_are_forwarded() {
    programs::find("python3");
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    kubectl.apply(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 2\n  \
         selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      \
         containers: [{name: c, image: 'webserver:1', ports: [{containerPort: 80}]}]\n",
    );
    kubectl.rolled_out("web");
    kubectl.ok(&["expose", "deployment", "web", "--port=8080", "--target-port=80"]);
    fs::write(cluster.home().join("echo.py"), ECHO).expect("a file in our own folder");
    let echo_server = format!(
        "command: [python3, {}/echo.py], ports: [{{containerPort: 7}}]",
        cluster.home().display()
    );
    for program in programs::every_kubectl() {
        let kubectl = kubectl.with_program(&program);
        for (target, port) in [("deployment/web", 80), ("service/web", 8080)] {
            let (forward, address) = forward(&kubectl, target, port);
            let clients: Vec<_> = (0..20)
                .map(|_| thread::spawn(move || http::get(address)))
                .collect();
            for client in clients {
                let answer = client.join().expect("no panic").expect("an answer");
                assert_eq!(answer.status, 200, "{program:?} {target}");
            }
            forward.end(Signal::SIGTERM);
        }
        pod(&kubectl, "echo", &echo_server);
        let (mut forward, address) = forward(&kubectl, "pod/echo", 7);
        // More than all buffers on the way hold, several at a time, and the end of one direction before the other's.
        let clients: Vec<_> = (0..3)
            .map(|client| {
                thread::spawn(move || {
                    let data: Vec<u8> = (0..8_000_000)
                        .map(|at: u32| (at / 7).to_le_bytes()[0] ^ client)
                        .collect();
                    let expected = [format!("{} ", data.len()).as_bytes(), &data].concat();
                    assert!(echo(address, &data) == expected);
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap_or_else(|_| panic!("{program:?} lost data"));
        }
        // The pod goes while a connection is open, which ends; the next one is told that there is no pod.
        let mut open = TcpStream::connect(address).expect("kubectl listens");
        open.write_all(b"unfinished").expect("all is taken");
        kubectl.ok(&["delete", "pod", "echo", "--grace-period=1"]);
        open.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut rest = Vec::new();
        assert!(matches!(open.read_to_end(&mut rest), Ok(0) | Err(_)), "{rest:?}");
        let answer = http::get(address);
        assert!(answer.is_err(), "{program:?}: {answer:?}");
        // Since 1.23 kubectl gives up at the first connection that fails.
        let status = forward.wait(PATIENCE);
        assert!(status.is_some_and(|status| !status.success()), "{program:?}");
    }
    cluster.stop();
}

#[test]
fn a_port_that_nobody_listens_on_is_told() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    shell(&kubectl, "box", "sleep 1000");
    for program in programs::every_kubectl() {
        let kubectl = kubectl.with_program(&program);
        let args = ["port-forward", "--address=127.0.0.1", "box", ":81"];
        let mut command = kubectl.command(&args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl");
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
        let address = line.split(' ').nth(2).and_then(|word| word.parse().ok());
        let answer = http::get(address.unwrap_or_else(|| panic!("{line:?}")));
        assert!(answer.is_err(), "{answer:?}");
        let output = child.wait_with_output().expect("kubectl");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{program:?}: {told}");
        assert!(
            told.contains("error forwarding port 81 to pod box")
                && told.contains("connect: connection refused"),
            "{program:?}: {told}"
        );
    }
    cluster.stop();
}

/// Redirects to `/there`, and agrees to become a WebSocket, which then sends back what it gets.
const ODD_SERVER: &str = "import os, socket\n\
    s = socket.create_server((os.environ['HOST'], int(os.environ['PORT'])))\n\
    while True:\n    \
        c = s.accept()[0]\n    \
        head = c.recv(65536).decode()\n    \
        if 'websocket' in head:\n        \
            c.sendall(b'HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n')\n        \
            c.sendall(b'echo ' + c.recv(65536))\n    \
        elif '/there' in head:\n        \
            body = head.encode()\n        \
            c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body) + body)\n    \
        else:\n        \
            c.sendall(b'HTTP/1.1 302 Found\\r\\nLocation: /there?a=b\\r\\nContent-Length: 0\\r\\n\\r\\n')\n    \
        c.close()\n";

/// Sends text on a new connection and returns what comes until its end.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("kubectl listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(request.as_bytes()).expect("all is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn pods_and_services_are_reached_through_the_api() {
    programs::find("python3");
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    fs::write(cluster.home().join("odd.py"), ODD_SERVER).expect("a file in our own folder");
    let server = format!(
        "command: [python3, {}/odd.py], ports: [{{name: http, containerPort: 80}}]",
        cluster.home().display()
    );
    pod(&kubectl, "odd", &server);
    kubectl.ok(&["expose", "pod", "odd", "--port=8080", "--target-port=http"]);
    let mut endpoints = Background::start(&mut kubectl.command(&["get", "endpoints", "-w", "--no-headers"]));
    endpoints.wait_for_line(PATIENCE, |line| line.starts_with("odd ") && line.contains("127."));
    endpoints.end(Signal::SIGTERM);
    for object in [
        "pods/odd",
        "pods/odd:80",
        "pods/http:odd:80",
        "services/odd",
        "services/odd:8080",
    ] {
        let told = kubectl.ok(&[
            "get",
            "--raw",
            &format!("/api/v1/namespaces/default/{object}/proxy/there?x=1"),
        ]);
        let told = told.to_lowercase();
        assert!(told.starts_with("get /there?x=1 http/1.1\r\n"), "{told}");
        assert!(
            told.contains(&format!(
                "x-forwarded-uri: /api/v1/namespaces/default/{object}/proxy/there\r\n"
            )),
            "{told}"
        );
    }
    let raw = |object: &str| {
        kubectl.fails(&[
            "get",
            "--raw",
            &format!("/api/v1/namespaces/default/{object}/proxy/"),
        ])
    };
    let told = raw("services/odd:81");
    assert!(
        told.contains("no service port 81 found for service \"odd\""),
        "{told}"
    );
    let told = raw("pods/odd:81");
    assert!(
        told.contains("error trying to reach service: dial tcp") && told.contains("connection refused"),
        "{told}"
    );
    assert!(raw("pods/nobody").contains("pods \"nobody\" not found"));

    let mut proxy = Background::start(&mut kubectl.command(&["proxy", "--port=0"]));
    let lines = proxy.wait_for_line(PATIENCE, |line| line.starts_with("Starting to serve on "));
    let address = lines
        .last()
        .and_then(|line| line.rsplit(' ').next()?.parse().ok());
    let address: SocketAddr = address.expect("Starting to serve on ADDRESS");
    let path = "/api/v1/namespaces/default/services/odd/proxy";
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        ask(address, &request)
    };
    let told = get(path);
    assert!(
        told.starts_with("HTTP/1.1 301 ") && told.contains(&format!("Location: {path}/\r\n")),
        "{told}"
    );
    let told = get(&format!("{path}/"));
    assert!(
        told.starts_with("HTTP/1.1 302 ") && told.contains(&format!("Location: {path}/there?a=b\r\n")),
        "{told}"
    );
    let request = format!(
        "GET {path}/ HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).expect("kubectl listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(request.as_bytes()).expect("all is taken");
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(char::from(byte[0]));
    }
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    stream.write_all(b"hello").expect("all is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "echo hello");
    proxy.end(Signal::SIGTERM);
    cluster.stop();
}
