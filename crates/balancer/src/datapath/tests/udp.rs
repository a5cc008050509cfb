//! UDP sessions over real sockets.

use std::net::UdpSocket;

use super::*;

/// A datagram socket: a client's, or a server's.
struct Party(UdpSocket);

impl Party {
    fn new() -> Self {
        let socket = UdpSocket::bind((free_address().ip(), 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn endpoint(&self, owner: &str) -> Endpoint {
        Endpoint {
            addr: self.addr(),
            owner: owner.into(),
        }
    }

    fn say(&self, text: &str, to: SocketAddr) {
        self.0.send_to(text.as_bytes(), to).unwrap();
    }

    /// The next datagram, and who sent it.
    #[track_caller]
    fn hear(&self, text: &str) -> SocketAddr {
        let mut bytes = [0; 2048];
        let (count, from) = self.0.recv_from(&mut bytes).expect("a datagram in time");
        assert_eq!(String::from_utf8_lossy(&bytes[..count]), text);
        from
    }

    /// Sends through the balancer, is heard by this server, and gets its answer from the address that it asked.
    #[track_caller]
    fn asks(&self, balancer: &Balancer, server: &Self) -> SocketAddr {
        self.say("question", balancer.addr);
        let session = server.hear("question");
        server.say("answer", session);
        assert_eq!(self.hear("answer"), balancer.addr);
        session
    }
}

fn balancer(servers: &[&Party]) -> Balancer {
    let mut balancer = Balancer::with(Settings::default(), Protocol::Udp, &[]);
    route(&mut balancer, servers);
    balancer
}

/// Makes these the endpoints and waits until they are.
fn route(balancer: &mut Balancer, servers: &[&Party]) {
    let endpoints: Vec<_> = servers.iter().map(|server| server.endpoint("pod")).collect();
    balancer.until_endpoints(endpoints);
}

fn state(balancer: &Balancer, server: &Party) -> (BackendState, u32) {
    let backends = balancer.datapath.backends();
    let mut known = backends.iter().filter(|backend| backend.addr == server.addr());
    known
        .next()
        .map(|backend| (backend.state, backend.open))
        .expect("a known backend")
}

#[test]
fn each_client_has_a_session_of_its_own() {
    let (one, two, server) = (Party::new(), Party::new(), Party::new());
    let balancer = balancer(&[&server]);
    let (first, second) = (one.asks(&balancer, &server), two.asks(&balancer, &server));
    assert_ne!(first, second);
    assert_eq!(one.asks(&balancer, &server), first, "the session goes on");
    // A server may speak unasked, and answers find their client.
    server.say("news", first);
    server.say("other news", second);
    one.hear("news");
    two.hear("other news");
    assert_eq!(state(&balancer, &server), (BackendState::Ready, 2));
}

#[test]
fn sessions_are_spread_over_servers() {
    let (one, two) = (Party::new(), Party::new());
    let balancer = balancer(&[&one, &two]);
    let clients: Vec<_> = (0..10).map(|_| Party::new()).collect();
    clients
        .iter()
        .for_each(|client| client.say("hello", balancer.addr));
    for server in [&one, &two] {
        for _ in 0..5 {
            server.hear("hello");
        }
    }
}

#[test]
fn a_session_moves_with_the_next_datagram_and_its_server_drains() {
    let (client, old, new) = (Party::new(), Party::new(), Party::new());
    let mut balancer = balancer(&[&old]);
    client.asks(&balancer, &old);
    // Nothing is under way: the server is free at once.
    balancer.apply(vec![new.endpoint("pod")]);
    balancer.until(|balancer| state(balancer, &old).0 == BackendState::Drained);
    client.asks(&balancer, &new);
}

#[test]
fn an_answer_under_way_arrives_although_its_server_leaves() {
    let (client, old, new) = (Party::new(), Party::new(), Party::new());
    let mut balancer = balancer(&[&old]);
    client.say("question", balancer.addr);
    let session = old.hear("question");
    route(&mut balancer, &[&new]);
    assert_eq!(state(&balancer, &old), (BackendState::Draining, 1));
    client.asks(&balancer, &new);
    old.say("late answer", session);
    client.hear("late answer");
    balancer.until(|balancer| state(balancer, &old).0 == BackendState::Drained);
}

#[test]
fn a_server_that_never_answers_is_left_all_the_same() {
    let (client, old, new) = (Party::new(), Party::new(), Party::new());
    let mut balancer = balancer(&[&old]);
    client.say("a line for the log", balancer.addr);
    old.hear("a line for the log");
    balancer.apply(vec![new.endpoint("pod")]);
    balancer.until(|balancer| state(balancer, &old).0 == BackendState::Drained);
    client.say("another", balancer.addr);
    new.hear("another");
}

#[test]
fn a_closed_port_loses_its_datagram_to_another_server() {
    let (client, server) = (Party::new(), Party::new());
    let closed = Party::new().endpoint("dead");
    let mut balancer = balancer(&[]);
    balancer.until_endpoints(vec![closed, server.endpoint("pod")]);
    let clients: Vec<_> = (0..4).map(|_| Party::new()).collect();
    for client in clients.iter().chain([&client]) {
        client.asks(&balancer, &server);
    }
}

#[test]
fn a_server_that_dies_loses_its_sessions_to_another() {
    let (client, one, two) = (Party::new(), Party::new(), Party::new());
    let mut balancer = balancer(&[&one]);
    client.asks(&balancer, &one);
    route(&mut balancer, &[&one, &two]);
    client.asks(&balancer, &one);
    drop(one);
    client.asks(&balancer, &two);
}

#[test]
fn without_a_server_datagrams_are_dropped_and_later_ones_are_not() {
    let (client, server) = (Party::new(), Party::new());
    let mut balancer = balancer(&[]);
    client.say("lost", balancer.addr);
    route(&mut balancer, &[&server]);
    // The first one may have come after the change.
    client.say("question", balancer.addr);
    let mut bytes = [0; 64];
    let heard = |server: &Party, bytes: &mut [u8]| server.0.recv_from(bytes).unwrap().0;
    let mut count = heard(&server, &mut bytes);
    if &bytes[..count] == b"lost" {
        count = heard(&server, &mut bytes);
    }
    assert_eq!(&bytes[..count], b"question");
}

#[test]
fn tcp_and_udp_are_served_at_one_address() {
    let (client, datagrams, server) = (Party::new(), Party::new(), Server::new());
    let mut balancer = Balancer::to(&[&server]);
    let spec = |name: &str, protocol, endpoints| RouteSpec {
        name: name.into(),
        listen: vec![balancer.addr],
        protocol,
        endpoints,
        ..RouteSpec::default()
    };
    let specs = [
        spec("tcp", Protocol::Detect, vec![server.endpoint("pod")]),
        spec("udp", Protocol::Udp, vec![datagrams.endpoint("pod")]),
    ];
    balancer.datapath.apply(&specs);
    let listeners = balancer.datapath.listeners();
    assert!(listeners.len() == 2 && listeners.iter().all(|listener| listener.error.is_none()));
    balancer.until(|balancer| state(balancer, &datagrams).0 == BackendState::Ready);
    client.asks(&balancer, &datagrams);
    let mut stream = balancer.client();
    stream.say(GET);
    let mut served = server.accept();
    served.hear(GET);
    served.say(OK);
    stream.hear(OK);
}

#[test]
fn a_client_with_affinity_keeps_its_server_from_any_port() {
    let servers: Vec<_> = (0..4).map(|_| Party::new()).collect();
    let mut balancer = balancer(&[]);
    balancer.spec.affinity = Some(Duration::from_secs(60));
    route(&mut balancer, &servers.iter().collect::<Vec<_>>());
    let served: Vec<usize> = (0..8)
        .map(|_| {
            Party::new().say("hello", balancer.addr);
            first_with_a_datagram(&servers)
        })
        .collect();
    assert!(served.iter().all(|server| *server == served[0]), "{served:?}");
}

/// Waits until one of the servers has a datagram, and takes it.
fn first_with_a_datagram(servers: &[Party]) -> usize {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut watched: Vec<_> = servers
        .iter()
        .map(|server| PollFd::new(server.0.as_fd(), PollFlags::POLLIN))
        .collect();
    assert!(
        poll(&mut watched, PollTimeout::from(10_000u16)).unwrap() > 0,
        "no datagram came"
    );
    let at = watched
        .iter()
        .position(|socket| socket.any() == Some(true))
        .unwrap();
    servers[at].hear("hello");
    at
}
