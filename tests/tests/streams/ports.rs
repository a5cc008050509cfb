//! `kubectl port-forward`, and the proxy of the API server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;

use coracle_tests::{Background, Kubectl, http, programs};
use nix::sys::signal::Signal;

use crate::{PATIENCE, cluster, pod, shell};

/// Reads to the end, then sends back how much it was and the same again.
const ECHO: &str = "import os, socket, threading\n\
    def serve(c):\n    \
        d = b''.join(iter(lambda: c.recv(65536), b''))\n    \
        c.sendall(b'%d ' % len(d) + d)\n    \
        c.close()\n\
    s = socket.create_server((os.environ['HOST'], int(os.environ['PORT'])), backlog=64)\n\
    while True:\n    \
        threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()\n";

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

/// Greets in TLS, with the certificate and key in the file that is named.
const TLS_SERVER: &str = "import os, socket, ssl, sys\n\
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
    context.load_cert_chain(sys.argv[1])\n\
    s = socket.create_server((os.environ['HOST'], int(os.environ['PORT'])))\n\
    while True:\n    \
        try:\n        \
            c = context.wrap_socket(s.accept()[0], server_side=True)\n        \
            c.recv(65536)\n        \
            c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello')\n        \
            c.close()\n    \
        except OSError:\n        \
            pass\n";

#[test]
fn a_pod_that_speaks_tls_is_probed_and_reached() {
    programs::find("python3");
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let made = rcgen::generate_simple_self_signed(["elsewhere".to_owned()]).expect("a name");
    let pem = cluster.home().join("pod.pem");
    fs::write(&pem, made.signing_key.serialize_pem() + &made.cert.pem()).expect("a file in our own folder");
    let script = cluster.home().join("tls.py");
    fs::write(&script, TLS_SERVER).expect("a file in our own folder");
    let server = format!(
        "command: [python3, {}, {}], ports: [{{name: https, containerPort: 443}}], \
         readinessProbe: {{periodSeconds: 1, httpGet: {{scheme: HTTPS, port: https}}}}",
        script.display(),
        pem.display()
    );
    pod(&kubectl, "secret", &server);
    kubectl.ok(&["expose", "pod", "secret", "--port=443", "--target-port=https"]);
    let mut endpoints = Background::start(&mut kubectl.command(&["get", "endpoints", "-w", "--no-headers"]));
    endpoints.wait_for_line(PATIENCE, |line| {
        line.starts_with("secret ") && line.contains("127.")
    });
    endpoints.end(Signal::SIGTERM);
    for object in ["pods/https:secret:443", "services/https:secret:443"] {
        let path = format!("/api/v1/namespaces/default/{object}/proxy/");
        assert_eq!(kubectl.ok(&["get", "--raw", &path]), "hello");
    }
    cluster.stop();
}
