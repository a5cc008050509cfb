//! The client against little servers that misbehave in one way each: it must name the cause, and only that.

#![allow(
    clippy::unwrap_used,
    reason = "a little server that cannot serve fails its test"
)]

use std::net::SocketAddr;
use std::time::Duration;

use coracle_load::{
    self as load, Cause, Client, Method, Options, Protocol, Report, SessionOptions, Sessions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How a server ends a connection: when the next request has arrived, or never.
#[derive(Clone, Copy)]
enum End {
    Close,
    Reset,
    Hang,
}

/// Gives these answers on each connection, one a request, then ends it.
async fn serve(answers: &[&'static str], end: End) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers = answers.to_vec();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(play(stream, answers.clone(), end));
        }
    });
    address
}

async fn play(mut stream: TcpStream, answers: Vec<&'static str>, end: End) {
    for answer in answers {
        let request = read_request(&mut stream).await;
        let id = request
            .split("X-Request-Id: ")
            .nth(1)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        if stream
            .write_all(answer.replace("{id}", id).as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
    match end {
        End::Close => {
            read_request(&mut stream).await;
        }
        End::Reset => {
            read_request(&mut stream).await;
            stream.set_zero_linger().unwrap();
        }
        End::Hang => std::future::pending().await,
    }
}

/// Reads up to the empty line that ends the head.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

fn options(target: SocketAddr) -> Options {
    Options {
        connections: 1,
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_millis(300),
        ..Options::new(target)
    }
}

/// Runs until at least one request failed.
async fn until_failure(options: Options) -> Report {
    let client = Client::start(options, &CancellationToken::new());
    while client.so_far().failed() == 0 {
        tokio::task::yield_now().await;
    }
    client.finish().await
}

async fn first_cause(answers: &[&'static str], end: End) -> Cause {
    until_failure(options(serve(answers, end).await)).await.failures[0].cause
}

const OK: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Coracle-Image: nginx:1.8\r\nX-Coracle-Pod: p1\r\n\r\nok";

#[tokio::test]
async fn names_a_refused_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let report = until_failure(options(address)).await;
    assert_eq!(report.failures[0].cause, Cause::Refused);
    assert_eq!(report.failures[0].local_port, None);
    assert_eq!(report.succeeded(), 0);
}

#[tokio::test]
async fn names_a_close_before_the_response_and_who_answered_last() {
    let report = until_failure(options(serve(&[OK, OK], End::Close).await)).await;
    let failure = &report.failures[0];
    assert_eq!(failure.cause, Cause::ClosedBeforeResponse);
    assert_eq!(failure.last_pod.as_deref(), Some("p1"));
    assert_eq!((failure.bytes, failure.answered_before), (0, 2));
    assert!(failure.local_port.is_some());
    assert!(report.unannounced_closes >= 1);
    assert!(report.versions()["nginx:1.8"] >= 2);
}

#[tokio::test]
async fn names_a_body_that_stalls() {
    let answers = &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"];
    let report = until_failure(options(serve(answers, End::Hang).await)).await;
    assert_eq!(report.failures[0].cause, Cause::Timeout);
    assert_eq!(report.failures[0].bytes, answers[0].len() as u64);
}

#[tokio::test]
async fn names_a_truncated_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
                .await
                .unwrap();
        }
    });
    assert_eq!(
        until_failure(options(address)).await.failures[0].cause,
        Cause::ClosedWithinResponse
    );
}

#[tokio::test]
async fn names_a_reset() {
    assert_eq!(first_cause(&[OK], End::Reset).await, Cause::Reset);
}

#[tokio::test]
async fn names_a_server_that_never_answers() {
    let report = until_failure(options(serve(&[], End::Hang).await)).await;
    assert_eq!(report.failures[0].cause, Cause::Timeout);
    assert_eq!(
        report.unannounced_closes, 0,
        "giving up is not the server's close"
    );
}

#[tokio::test]
async fn names_a_wrong_status() {
    let answers = &["HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"];
    assert_eq!(first_cause(answers, End::Close).await, Cause::Status(503));
}

#[tokio::test]
async fn names_an_answer_to_another_request() {
    let answers = &[
        "HTTP/1.1 200 OK\r\nX-Request-Id: {id}\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Request-Id: other\r\nContent-Length: 0\r\n\r\n",
    ];
    let report = until_failure(options(serve(answers, End::Close).await)).await;
    assert_eq!(report.failures[0].cause, Cause::WrongId);
    assert!(report.succeeded() >= 1);
}

#[tokio::test]
async fn names_bad_framing() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nno length",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\ntoo many",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    ] {
        assert_eq!(
            first_cause(&[answer], End::Close).await,
            Cause::BadFraming,
            "{answer:?}"
        );
    }
}

/// Runs for a moment against a server that does everything right in an unusual way.
async fn good(answers: &[&'static str], change: impl FnOnce(&mut Options)) -> Report {
    let mut options = Options {
        duration: Some(Duration::from_millis(100)),
        ..options(serve(answers, End::Close).await)
    };
    change(&mut options);
    let report = load::run(options, &CancellationToken::new()).await;
    assert_eq!(report.failed(), 0, "{:?}", report.failures.first());
    assert!(report.succeeded() > 0);
    report
}

const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

#[tokio::test]
async fn takes_chunks_with_extensions_and_trailers_and_interim_responses() {
    let report = good(
        &[
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            LAST,
        ],
        |_| {},
    )
    .await;
    assert_eq!(report.unannounced_closes, 0);
    assert!(report.announced_closes > 0);
}

#[tokio::test]
async fn takes_a_head_without_its_body() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n";
    good(&[head], |options| options.methods = vec![Method::Head]).await;
}

#[tokio::test]
async fn opens_a_connection_a_request_when_asked_to() {
    let report = good(&[LAST], |options| options.keep_alive = false).await;
    assert_eq!(report.connections, report.requests);
    assert_eq!((report.announced_closes, report.unannounced_closes), (0, 0));
}

#[tokio::test]
async fn keeps_to_the_rate() {
    let report = good(&[LAST], |options| options.rate = Some(100.0)).await;
    assert!(
        (5..=11).contains(&report.requests),
        "{} requests in 100 ms",
        report.requests
    );
    assert_eq!(report.timeline.len(), 1);
}

#[tokio::test]
async fn a_careful_client_sees_a_close_before_it_sends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            // One answer, and the connection is closed though nothing announced it.
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            let _ = stream.write_all(OK.as_bytes()).await;
        }
    });
    let careful = Options {
        looks: true,
        rate: Some(50.0),
        duration: Some(Duration::from_millis(200)),
        ..options(address)
    };
    let report = load::run(careful, &CancellationToken::new()).await;
    assert_eq!(report.failed(), 0, "{:?}", report.failures.first());
    assert!(report.unannounced_closes > 0, "{report}");
}

#[tokio::test]
async fn names_a_body_of_another_length() {
    let exact = Options {
        length: Some(3),
        ..options(serve(&[OK], End::Close).await)
    };
    assert_eq!(until_failure(exact).await.failures[0].cause, Cause::WrongLength);
}

#[tokio::test]
async fn sends_a_body_over_the_time_that_it_is_given() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = Options {
        methods: vec![Method::Post { body: 1000 }],
        body_time: Duration::from_millis(100),
        ..options(listener.local_addr().unwrap())
    };
    let client = Client::start(slow, &CancellationToken::new());
    let (mut stream, _) = listener.accept().await.unwrap();
    read_request(&mut stream).await;
    let begin = std::time::Instant::now();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    assert!(
        begin.elapsed() > Duration::from_millis(80),
        "{:?}",
        begin.elapsed()
    );
    stream.write_all(LAST.as_bytes()).await.unwrap();
    drop(listener);
    assert!(client.finish().await.succeeded() > 0);
}

#[tokio::test]
async fn counts_the_sessions_that_were_cut_and_no_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let sessions = Sessions::start(SessionOptions {
        target,
        protocol: Protocol::Opaque,
        count: 1,
        pause: Some(Duration::from_millis(1)),
        life: None,
    });
    let (mut first, _) = listener.accept().await.unwrap();
    let mut message = [0; 20];
    let length = first.read(&mut message).await.unwrap();
    first.write_all(&message[..length]).await.unwrap();
    drop(first);
    let (mut second, _) = listener.accept().await.unwrap();
    tokio::spawn(async move {
        let (mut from, mut to) = second.split();
        tokio::io::copy(&mut from, &mut to).await
    });
    let mut answered = sessions.answered();
    answered.wait_for(|messages| *messages >= 3).await.unwrap();
    let report = sessions.finish().await;
    assert_eq!(
        (report.opened, report.cut, report.completed),
        (2, 1, 1),
        "{report:?}"
    );
}
