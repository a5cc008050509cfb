//! The datapath on real loopback sockets. Servers are driven by hand, one accepted connection at a time, so that every
//! order of events is the test's own.

mod affinity;
mod counts;
mod drain;
mod faults;
mod framing;
mod handover;
mod http;
mod idle;
mod killed;
mod opaque;
mod readers;
mod smuggling;
mod torture;
mod udp;
mod unwell;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;

/// Nothing in these tests takes longer, unless it fails.
const PATIENCE: Duration = Duration::from_secs(10);

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A datapath with one route.
struct Balancer {
    datapath: Datapath,
    changes: Receiver<()>,
    addr: SocketAddr,
    protocol: Protocol,
    /// What else the route is like.
    spec: RouteSpec,
}

impl Balancer {
    /// Routes to these servers, kind of protocol detected.
    fn to(servers: &[&Server]) -> Self {
        Self::with(
            Settings {
                threads: 2,
                ..Settings::default()
            },
            Protocol::Detect,
            servers,
        )
    }

    fn with(settings: Settings, protocol: Protocol, servers: &[&Server]) -> Self {
        let (sender, changes) = channel();
        let datapath = Datapath::start(&settings, move || sender.send(()).unwrap_or_default()).unwrap();
        let mut balancer = Self {
            datapath,
            changes,
            addr: free_address(),
            protocol,
            spec: RouteSpec {
                expecting: true,
                ..RouteSpec::default()
            },
        };
        balancer.route(servers);
        balancer
    }

    /// Makes these servers the endpoints.
    fn route(&mut self, servers: &[&Server]) {
        let endpoints = servers.iter().map(|server| server.endpoint("pod")).collect();
        self.apply(endpoints);
    }

    fn apply(&mut self, endpoints: Vec<Endpoint>) {
        let spec = RouteSpec {
            name: "default/web".into(),
            listen: vec![self.addr],
            protocol: self.protocol,
            endpoints,
            ..self.spec.clone()
        };
        self.datapath.apply(&[spec]);
        assert!(
            self.datapath
                .listeners()
                .iter()
                .all(|listener| listener.error.is_none())
        );
    }

    fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.addr).unwrap())
    }

    fn backend(&self, server: &Server) -> BackendStatus {
        let backends = self.datapath.backends();
        backends
            .into_iter()
            .find(|backend| backend.addr == server.addr)
            .expect("a known backend")
    }

    /// Waits for a report after which this holds.
    fn until(&self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            self.changes.recv_timeout(PATIENCE).expect("a report in time");
        }
    }

    /// Waits until a server has so many connections, of which there is no report.
    fn until_open(&self, server: &Server, open: u32) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.backend(server).open != open {
            assert!(std::time::Instant::now() < deadline, "{:?}", self.backend(server));
            std::thread::yield_now();
        }
    }

    fn until_drained(&self, server: &Server) -> BackendStatus {
        self.until(|balancer| balancer.backend(server).state == BackendState::Drained);
        self.backend(server)
    }

    /// Makes these servers the endpoints and waits until every thread knows.
    fn until_installed(&mut self, servers: &[&Server]) {
        let endpoints = servers.iter().map(|server| server.endpoint("pod")).collect();
        self.until_endpoints(endpoints);
    }

    /// Makes these the endpoints and waits until every thread has the newest table: an endpoint that is in no table has
    /// then been heard of.
    fn until_endpoints(&mut self, endpoints: Vec<Endpoint>) {
        let marker = Endpoint {
            addr: free_address(),
            owner: "marker".into(),
        };
        self.apply(endpoints.iter().cloned().chain([marker.clone()]).collect());
        self.apply(endpoints);
        let gone = |balancer: &Self| {
            let backends = balancer.datapath.backends();
            backends
                .iter()
                .all(|known| known.addr != marker.addr || known.state == BackendState::Drained)
        };
        self.until(gone);
        for backend in self
            .datapath
            .backends()
            .iter()
            .filter(|known| known.addr == marker.addr)
        {
            self.datapath.forget(backend);
        }
    }
}

/// A listening socket whose connections the test handles itself.
struct Server {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind(free_address()).unwrap();
        Self {
            addr: listener.local_addr().unwrap(),
            listener,
        }
    }

    fn endpoint(&self, owner: &str) -> Endpoint {
        Endpoint {
            addr: self.addr,
            owner: owner.into(),
        }
    }

    fn accept(&self) -> Client {
        // `accept` itself knows no timeout.
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut watched = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        assert_eq!(
            poll(&mut watched, PollTimeout::from(10_000u16)).unwrap(),
            1,
            "no connection came"
        );
        Client::new(self.listener.accept().unwrap().0)
    }

    /// Whether a connection waits to be accepted.
    fn has_caller(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let waits = self.listener.accept().is_ok();
        self.listener.set_nonblocking(false).unwrap();
        waits
    }
}

/// One end of a connection: a client's, or a server's after `accept`.
struct Client {
    stream: TcpStream,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads exactly these bytes.
    #[track_caller]
    fn hear(&mut self, bytes: &[u8]) {
        let mut heard = vec![0; bytes.len()];
        self.stream.read_exact(&mut heard).unwrap();
        assert_eq!(heard.escape_ascii().to_string(), bytes.escape_ascii().to_string());
    }

    /// Reads the end of the stream.
    #[track_caller]
    fn hear_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.escape_ascii().to_string(), "");
    }

    /// Reads an end or a reset: the connection is over.
    #[track_caller]
    fn is_refused(&mut self) {
        match self.stream.read(&mut [0; 1]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }

    fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Makes dropping reset the connection.
    fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }
}

/// An address where nothing listens. Each test process uses an IP of its own, so that tests do not meet.
fn free_address() -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    let probe = TcpListener::bind((std::net::Ipv4Addr::new(127, 200, high, low), 0)).unwrap();
    probe.local_addr().unwrap()
}
