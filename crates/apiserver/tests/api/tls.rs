//! The network door: certificates, both versions of HTTP, the end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_apiserver::pki::{Authority, Credential};
use coracle_apiserver::{Body, Identity, full};
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use crate::door::{CONFIG_MAPS, Door, config_map};

/// In the time of a test that has stopped the clock.
const MINUTE: Duration = Duration::from_secs(60);

struct Served {
    door: Door,
    authority: Authority,
    address: SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

async fn serve() -> Served {
    let door = Door::open().await;
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(folder.path()).unwrap();
    let tls = authority.server(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (api, stop) = (door.api.clone(), stop.clone());
        async move { api.serve(listener, tls, stop).await }
    });
    Served {
        door,
        authority,
        address,
        stop,
        serving,
        _folder: folder,
    }
}

impl Served {
    fn admin(&self) -> Credential {
        let admin = Identity::new("admin", &["system:masters"]);
        self.authority.client(&admin).unwrap()
    }

    async fn connect(&self, credential: Option<&Credential>, protocol: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority.certificate().as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match credential {
            None => config.with_no_client_auth(),
            Some(credential) => {
                let certificate = CertificateDer::from_pem_slice(credential.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(credential.key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::from(self.address.ip());
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap()
    }

    async fn send(
        &self,
        request: Request<Body>,
        credential: Option<&Credential>,
        protocol: &str,
    ) -> Response<Incoming> {
        let stream = TokioIo::new(self.connect(credential, protocol).await);
        if protocol == "h2" {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
    }

    async fn get(
        &self,
        path: &str,
        credential: Option<&Credential>,
        protocol: &str,
    ) -> (StatusCode, Version) {
        let uri = format!("https://{}{path}", self.address);
        let request = Request::get(uri)
            .header("host", self.address.to_string())
            .body(full(""))
            .unwrap();
        let response = self.send(request, credential, protocol).await;
        (response.status(), response.version())
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_certificate_of_ours() {
    let served = serve().await;
    let admin = served.admin();
    assert_eq!(
        served.get(CONFIG_MAPS, Some(&admin), "http/1.1").await,
        (StatusCode::OK, Version::HTTP_11)
    );
    assert_eq!(
        served.get(CONFIG_MAPS, Some(&admin), "h2").await,
        (StatusCode::OK, Version::HTTP_2)
    );
    assert_eq!(
        served.get(CONFIG_MAPS, None, "http/1.1").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        served.get("/version", None, "h2").await.0,
        StatusCode::UNAUTHORIZED
    );
    for path in ["/healthz", "/livez", "/readyz?verbose"] {
        assert_eq!(
            served.get(path, None, "http/1.1").await.0,
            StatusCode::OK,
            "{path}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let stranger = Authority::open_or_create(folder.path()).unwrap();
    let forged = stranger
        .client(&Identity::new("admin", &["system:masters"]))
        .unwrap();
    assert_eq!(
        served.get(CONFIG_MAPS, Some(&forged), "http/1.1").await.0,
        StatusCode::UNAUTHORIZED
    );
}

/// Asks for Secrets as a browser would that was led here under another name, and reads the refusal.
async fn ask_under(
    served: &Served,
    host: &str,
    origin: Option<&str>,
    protocol: &str,
) -> (StatusCode, Option<String>) {
    // Over h2 the host is the URI's; over HTTP/1.1 a header.
    let uri = match protocol {
        "h2" => format!("https://{host}/api/v1/secrets"),
        _ => "/api/v1/secrets".to_owned(),
    };
    let mut request = Request::get(uri);
    if protocol != "h2" {
        request = request.header("host", host);
    }
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let request = request.body(full("")).unwrap();
    let response = served.send(request, Some(&served.admin()), protocol).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    (status, body["message"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn a_page_that_was_led_here_under_a_name_of_its_own_learns_nothing() {
    let served = serve().await;
    for protocol in ["http/1.1", "h2"] {
        for host in ["evil.com", "127.0.0.1.evil.com", "10.0.0.1:7443", "evil.com:7443"] {
            for origin in [None, Some(format!("https://{host}"))] {
                let (status, told) = ask_under(&served, host, origin.as_deref(), protocol).await;
                assert_eq!(status, StatusCode::BAD_REQUEST, "{host} by {protocol}");
                let expected = format!("the host {host:?} is not a name of this server");
                assert!(told.unwrap().starts_with(&expected));
            }
        }
        for host in [
            "127.0.0.1:1",
            "127.96.0.1",
            "[::1]:7443",
            "LocalHost:8080",
            "kubernetes.default.svc",
        ] {
            let (status, told) = ask_under(&served, host, None, protocol).await;
            assert_eq!((status, told), (StatusCode::OK, None), "{host} by {protocol}");
            let own = format!("https://{host}");
            let (status, _) = ask_under(&served, host, Some(&own), protocol).await;
            assert_eq!(status, StatusCode::OK, "{host} by {protocol}");
            let (status, _) = ask_under(&served, host, Some("https://evil.com"), protocol).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{host} by {protocol}");
        }
    }
    let (status, _) = ask_under(&served, "", None, "http/1.1").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_client_that_asks_nothing_is_not_kept() {
    let served = serve().await;
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let beginnings = [
        ("http/1.1", &b""[..]),
        ("h2", b""),
        ("h2", &preface[..9]),
        ("h2", preface),
    ];
    for (protocol, beginning) in beginnings {
        let mut silent = served.connect(None, protocol).await;
        silent.write_all(beginning).await.unwrap();
        tokio::time::pause();
        let begin = tokio::time::Instant::now();
        let closed = tokio::time::timeout(MINUTE, silent.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "{protocol} after {beginning:?}");
        assert!(begin.elapsed() > MINUTE / 6, "{:?}", begin.elapsed());
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_client_that_waits_for_an_answer_is_kept() {
    let served = serve().await;
    for protocol in ["http/1.1", "h2"] {
        let now = store::Store::revision(&*served.door.store);
        let uri = format!(
            "https://{}{CONFIG_MAPS}?watch=1&resourceVersion={now}",
            served.address
        );
        let request = Request::get(uri).header("host", "localhost");
        let request = request.body(full("")).unwrap();
        let mut watch = served
            .send(request, Some(&served.admin()), protocol)
            .await
            .into_body();
        tokio::time::pause();
        tokio::time::sleep(MINUTE / 2).await;
        tokio::time::resume();
        let map = config_map(&protocol.replace('/', "-"), Value::Null);
        served.door.make(CONFIG_MAPS, &map).await;
        let event = watch.frame().await.unwrap().unwrap().into_data().unwrap();
        let event: Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(event["type"], "ADDED", "{protocol}");
    }
}

#[tokio::test]
async fn a_client_that_sends_too_much_reads_why_it_is_refused() {
    let served = serve().await;
    let mut client = served.connect(Some(&served.admin()), "http/1.1").await;
    let body = vec![b'y'; 4 << 20];
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // It does not look for an answer before it has sent everything.
    client.write_all(&body).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("RequestEntityTooLarge"), "{answer}");
}

/// Who is refused before the server has looked at the body can send it to its end all the same: a stream that is reset
/// under way is a failure of the network to many clients.
#[tokio::test]
async fn a_client_that_is_refused_may_finish() {
    const PIECES: usize = 200;
    let served = serve().await;
    let admin = served.admin();
    for (path, credential, status) in [
        (CONFIG_MAPS, None, StatusCode::UNAUTHORIZED),
        ("/nothing", Some(&admin), StatusCode::NOT_FOUND),
        ("/api/v1/configmaps", Some(&admin), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        for protocol in ["h2", "http/1.1"] {
            let (taken, mut ended) = mpsc::channel(PIECES);
            let pieces = futures::stream::iter(0..PIECES).map(move |piece| {
                let _ = taken.try_send(piece);
                Ok(Frame::data(Bytes::from_static(&[b'y'; 16 << 10])))
            });
            let uri = format!("https://{}{path}", served.address);
            let request = Request::post(uri).header("host", "localhost");
            let request = request.body(StreamBody::new(pieces).boxed_unsync()).unwrap();
            let response = served.send(request, credential, protocol).await;
            assert_eq!(response.status(), status, "{path} by {protocol}");
            assert!(
                response.into_body().collect().await.is_ok(),
                "{path} by {protocol}"
            );
            let mut sent = 0;
            while ended.recv().await.is_some() {
                sent += 1;
            }
            assert_eq!(sent, PIECES, "{path} by {protocol}");
        }
    }
}

#[tokio::test]
async fn a_watch_over_a_websocket() {
    let served = serve().await;
    let now = store::Store::revision(&*served.door.store);
    let open = async |headers: &[(&'static str, &'static str)], query: &str| {
        let stream = served.connect(Some(&served.admin()), "http/1.1").await;
        let uri = format!("wss://localhost{CONFIG_MAPS}?watch=true&resourceVersion={now}{query}");
        let mut request = uri.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        tokio_tungstenite::client_async(request, stream).await
    };
    let (mut socket, _) = open(&[], "").await.unwrap();
    for name in ["a", "b"] {
        served
            .door
            .make(CONFIG_MAPS, &config_map(name, Value::Null))
            .await;
    }
    for name in ["a", "b"] {
        let event = socket.next().await.unwrap().unwrap();
        let text = event.to_text().unwrap();
        assert!(event.is_text() && text.ends_with("}\n"));
        let event: Value = serde_json::from_str(text).unwrap();
        assert_eq!(event["object"]["metadata"]["name"], name);
    }
    socket.send(Message::text("is ignored")).await.unwrap();
    socket.close(None).await.unwrap();
    while let Some(message) = socket.next().await {
        assert!(message.unwrap().is_close());
    }
    // The server ends it, too; the one protocol that is offered is taken.
    let offered = [("sec-websocket-protocol", "mine")];
    let (mut socket, answer) = open(&offered, "&timeoutSeconds=1").await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "mine");
    let events: Vec<_> = socket.by_ref().map(Result::unwrap).collect().await;
    assert!(events.len() == 3 && events[2].is_close(), "{events:?}");
    for (header, status) in [
        (("sec-websocket-protocol", "mine, yours"), StatusCode::BAD_REQUEST),
        (("origin", "https://evil.com"), StatusCode::FORBIDDEN),
    ] {
        let refused = open(&[header], "").await.unwrap_err();
        assert!(matches!(refused, tungstenite::Error::Http(answer) if answer.status() == status));
    }
}

#[tokio::test]
async fn the_door_closes_and_watches_end() {
    let served = serve().await;
    let now = store::Store::revision(&*served.door.store);
    let mut lines = served
        .door
        .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={now}"))
        .await;
    served.stop.cancel();
    served.serving.await.unwrap();
    assert_eq!(lines.next().await, None);
    assert!(TcpStream::connect(served.address).await.is_err());
}
