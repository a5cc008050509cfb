//! The server through real sockets, spoken to by hand, so that every byte is what a client sees.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coracle_webserver::{Args, Options, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Running {
    addresses: Vec<String>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

async fn start(ports: usize) -> Running {
    let environment = [
        ("CORACLE_IMAGE", "nginx:1.8"),
        ("POD_NAME", "web-1"),
        ("NODE_NAME", "node-1"),
    ];
    let environment: BTreeMap<_, _> = environment
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    // Each an address of its own, so that port 0 may be asked for more than once.
    let listen = (1..=ports)
        .map(|number| format!("127.0.0.{number}:0").parse().unwrap())
        .collect();
    let server = Server::bind(
        Options::new(
            Args {
                listen,
                access_log: false,
            },
            environment,
        )
        .unwrap(),
    )
    .await
    .unwrap();
    let addresses = server.addresses();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    Running {
        addresses,
        stop: Some(stop),
        ended,
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Reads one response with a Content-Length.
async fn read(stream: &mut TcpStream, has_body: bool) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; if has_body { length } else { 0 }];
    stream.read_exact(&mut body).await.unwrap();
    Answer {
        status: head[9..12].parse().unwrap(),
        head,
        body,
    }
}

async fn ask(stream: &mut TcpStream, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    read(stream, !request.starts_with("HEAD")).await
}

async fn get(stream: &mut TcpStream, path: &str) -> Answer {
    ask(
        stream,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {path}\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn every_answer_on_one_connection_is_signed() {
    let running = start(1).await;
    let mut stream = TcpStream::connect(&running.addresses[0]).await.unwrap();
    for (path, status, body) in [
        ("/", 200, ""),
        ("/healthz", 200, "ok\n"),
        ("/status/503", 503, "503 Service Unavailable\n"),
        ("/status/204", 204, ""),
        ("/status/100", 400, ""),
        ("/slow?ms=1", 200, "done\n"),
        ("/slow", 400, ""),
        ("/drip?ms=50&bytes=7", 200, "......."),
        ("/drip?ms=0&bytes=200000", 200, ""),
        ("/nothing", 404, "not found\n"),
    ] {
        let answer = get(&mut stream, path).await;
        assert_eq!(answer.status, status, "{path}");
        for header in ["image: nginx:1.8", "pod: web-1", "node: node-1"] {
            assert!(
                answer.head.contains(&format!("\r\nx-coracle-{header}\r\n")),
                "{path}: {}",
                answer.head
            );
        }
        assert!(
            answer.head.contains(&format!("\r\nx-request-id: {path}\r\n")),
            "{}",
            answer.head
        );
        if !body.is_empty() {
            assert_eq!(String::from_utf8(answer.body).unwrap(), body, "{path}");
        }
    }
    let page = get(&mut stream, "/").await;
    let page = String::from_utf8(page.body).unwrap();
    assert!(
        page.contains("nginx:1.8") && page.contains("web-1") && page.contains("node-1"),
        "{page}"
    );
    assert_eq!(
        ask(&mut stream, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .status,
        200
    );
    assert_eq!(
        get(&mut stream, "/drip?ms=1&bytes=200000").await.body.len(),
        200_000
    );
}

#[tokio::test]
async fn bodies_are_echoed_or_taken_off_the_connection() {
    let running = start(1).await;
    let mut stream = TcpStream::connect(&running.addresses[0]).await.unwrap();
    let body = "x".repeat(100_000);
    let post =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{body}");
    assert_eq!(ask(&mut stream, &post("/echo")).await.body, body.as_bytes());
    assert_eq!(ask(&mut stream, &post("/")).await.status, 200);
    assert_eq!(
        get(&mut stream, "/healthz").await.status,
        200,
        "the connection is still good"
    );
}

#[tokio::test]
async fn several_ports_and_a_half_closed_client_are_served() {
    let running = start(2).await;
    for address in &running.addresses {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /slow?ms=20 HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read(&mut stream, true).await.body, b"done\n");
    }
}

#[tokio::test]
async fn a_client_that_begins_with_http2_is_answered_in_it() {
    let running = start(1).await;
    let mut stream = TcpStream::connect(&running.addresses[0]).await.unwrap();
    // The preface and an empty SETTINGS frame.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the server's SETTINGS");
}

#[tokio::test]
async fn stopping_finishes_what_is_in_flight_and_closes_the_rest() {
    let mut running = start(1).await;
    let mut idle = TcpStream::connect(&running.addresses[0]).await.unwrap();
    get(&mut idle, "/healthz").await;
    let mut busy = TcpStream::connect(&running.addresses[0]).await.unwrap();
    busy.write_all(b"GET /drip?ms=300&bytes=1000 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // In flight for certain: its answer has begun.
    let first = busy.read_u8().await.unwrap();
    assert_eq!(first, b'H');
    let begin = Instant::now();
    running.stop.take().unwrap().send(()).unwrap();
    assert_eq!(
        idle.read(&mut [0]).await.unwrap(),
        0,
        "an idle connection is closed at once"
    );
    assert!(begin.elapsed() < Duration::from_millis(250));
    let mut rest = Vec::new();
    busy.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(&[b'.'; 1000]));
    running.ended.await.unwrap();
    assert!(TcpStream::connect(&running.addresses[0]).await.is_err());
}

#[tokio::test]
async fn a_taken_port_is_one_clear_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let options = Options::new(
        Args {
            listen: vec![address],
            access_log: false,
        },
        BTreeMap::new(),
    )
    .unwrap();
    let Err(error) = Server::bind(options).await else {
        panic!("it listens twice")
    };
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {address}: Address already in use (os error 98)")
    );
}
