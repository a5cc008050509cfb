//! Everything passed on to another datapath, by the messages that two processes would exchange.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::handover::{Channel, Estate, HandoverError, Offer, STANDSTILL, Wants, give, greet, take};

/// Longer than any of it takes.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks a datapath for everything, and gives it to the heir, who may do with it what he likes, and hears when the other
/// side is done. Returns what both say.
fn will<T>(
    old: &Balancer,
    standstill: Duration,
    heir: impl FnOnce(Estate, Receiver<()>) -> T + Send,
) -> (Result<(), HandoverError>, T)
where
    T: Send,
{
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (done, is_done) = channel();
    thread::scope(|scope| {
        let heir = scope.spawn(move || heir(take(Channel::over(theirs, LIMIT).unwrap()).unwrap(), is_done));
        let (channel, wants) = greet(ours).unwrap();
        assert_eq!(wants, Wants::Everything);
        let offer = Offer {
            keepsakes: &[],
            pods: Vec::new(),
            standstill,
        };
        let given = give(channel, &old.datapath, offer);
        drop(done);
        (given, heir.join().unwrap())
    })
}

impl Balancer {
    /// The next one, of the same spec, which has not applied it yet. This one has ended.
    fn handed_over(self) -> Self {
        let (sender, changes) = channel();
        let settings = Settings {
            threads: 2,
            ..Settings::default()
        };
        let mut datapath = Datapath::start(&settings, move || sender.send(()).unwrap_or_default()).unwrap();
        let (given, committed) = will(&self, STANDSTILL, |estate, _| estate.commit(&mut datapath));
        given.unwrap();
        committed.unwrap();
        Self {
            datapath,
            changes,
            addr: self.addr,
            protocol: self.protocol,
            spec: self.spec.clone(),
        }
    }

    /// The next one, which routes to these servers.
    fn handed_over_to(self, servers: &[&Server]) -> Self {
        let mut next = self.handed_over();
        next.route(servers);
        next
    }
}

#[test]
fn an_idle_connection_keeps_both_its_sockets() {
    let a = Server::new();
    let balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = a.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    let balancer = balancer.handed_over_to(&[&a]);
    balancer.until(|balancer| balancer.backend(&a).open == 1);
    assert_eq!(balancer.datapath.connections(), 1);
    client.say(GET);
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    drop(client);
    served.hear_end();
}

#[test]
fn messages_go_on_where_they_were() {
    let a = Server::new();
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    let request: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    client.say(&request[..1]);
    let mut served = a.accept();
    for at in 1..request.len() {
        balancer = balancer.handed_over_to(&[&a]);
        client.say(&request[at..=at]);
    }
    served.hear(request);
    // A pipelined request waits for its turn.
    client.say(GET);
    for at in 0..answer.len() {
        served.say(&answer[at..=at]);
        client.hear(&answer[at..=at]);
        balancer = balancer.handed_over_to(&[&a]);
    }
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn a_connection_leaves_a_backend_that_the_next_balancer_does_not_know() {
    let (a, b) = (Server::new(), Server::new());
    let balancer = Balancer::to(&[&a]);
    // One after the other: the second one's backend connection must not come before the first one's.
    let served = || {
        let mut client = balancer.client();
        client.say(GET);
        let mut server = a.accept();
        server.hear(GET);
        server.say(OK);
        client.hear(OK);
        (client, server)
    };
    let (mut idle, _idle_server) = served();
    let (mut busy, mut busy_server) = served();
    busy.say(GET);
    // A request that the balancer has not read yet leaves its connection idle, and free to move.
    busy_server.hear(GET);
    let balancer = balancer.handed_over_to(&[&b]);
    idle.say(GET);
    let mut served = b.accept();
    served.hear(GET);
    served.say(OK);
    idle.hear(OK);
    balancer.until(|balancer| balancer.backend(&a).open == 1);
    assert_eq!(balancer.backend(&a).state, BackendState::Draining);
}

#[test]
fn an_opaque_connection_keeps_both_its_sockets_and_what_is_held_back() {
    let a = Server::new();
    let balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(b"\0");
    let mut served = a.accept();
    served.hear(b"\0");
    // More than the sockets' buffers hold, and the client does not read yet.
    let many = vec![7; 20 * 1024 * 1024];
    let sent = many.clone();
    let sender = thread::spawn(move || {
        served.say(&sent);
        served.half_close();
        served
    });
    let mut balancer = balancer;
    for _ in 0..5 {
        balancer = balancer.handed_over_to(&[&a]);
    }
    client.hear(&many);
    client.hear_end();
    let mut served = sender.join().unwrap();
    let balancer = balancer.handed_over_to(&[&a]);
    client.say(b"the other half is open still");
    served.hear(b"the other half is open still");
    drop(client);
    served.hear_end();
    drop(balancer);
}

#[test]
fn what_waits_to_be_accepted_is_accepted_by_the_next_balancer() {
    let a = Server::new();
    let balancer = Balancer::to(&[&a]);
    balancer.datapath.freeze();
    let mut client = balancer.client();
    client.say(GET);
    let _balancer = balancer.handed_over_to(&[&a]);
    let mut served = a.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn a_listener_that_the_next_balancer_does_not_want_is_closed() {
    let a = Server::new();
    let balancer = Balancer::to(&[&a]);
    let addr = balancer.addr;
    let copy = {
        let (_, _, fd) = balancer.datapath.listening().next().unwrap();
        fd.as_fd().try_clone_to_owned().unwrap()
    };
    let mut balancer = balancer.handed_over();
    balancer.datapath.apply(&[]);
    assert!(TcpStream::connect(addr).is_err(), "whoever else has a copy");
    drop(copy);
}

#[test]
fn an_heir_that_fails_costs_nothing() {
    let a = Server::new();
    let balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(b"\0");
    let mut served = a.accept();
    served.hear(b"\0");
    let mut lively = || {
        client.say(b"there");
        served.hear(b"there");
        served.say(b"back");
        client.hear(b"back");
    };
    // It gives up when it has everything.
    let (given, ()) = will(&balancer, STANDSTILL, |estate, _| drop(estate));
    assert!(given.is_err());
    lively();
    // It says that it serves, but too late.
    let (given, committed) = will(&balancer, Duration::from_millis(50), |estate, done| {
        done.recv().expect_err("only its end is told");
        let mut datapath = Datapath::start(&Settings::default(), || {}).unwrap();
        estate.commit(&mut datapath)
    });
    assert!(given.is_err() && committed.is_err());
    lively();
    // It goes away in the middle.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let offer = Offer {
        keepsakes: &[],
        pods: Vec::new(),
        standstill: STANDSTILL,
    };
    drop(theirs);
    assert!(give(Channel::over(ours, LIMIT).unwrap(), &balancer.datapath, offer).is_err());
    lively();
    assert_eq!(balancer.backend(&a).open, 1);
}

#[test]
fn whoever_speaks_otherwise_is_refused() {
    let refused = |word: &str| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let theirs = Channel::over(theirs, LIMIT).unwrap();
        let word: serde_json::Value = serde_json::from_str(word).unwrap();
        theirs.send(&word, &[]).unwrap();
        let refused = greet(ours).map(drop).unwrap_err();
        (refused, theirs.receive::<serde_json::Value>().ok())
    };
    let (error, told) = refused(r#"{"Hello": {"protocol": 99, "wants": "Everything", "more": 1}}"#);
    assert!(matches!(error, HandoverError::Version(99)));
    assert!(told.unwrap().0["Refused"]["why"].is_string());
    assert!(refused("7").1.is_none());
}

/// Strict clients, keep-alive and a connection a request, and an opaque connection, through ten generations, each of
/// which leaves one server for another.
#[test]
fn ten_generations_drop_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _guard = runtime.enter();
    let stop = CancellationToken::new();
    let servers = ["a", "b"].map(|name| web_server(&runtime, name, &stop));
    let mut balancer = Balancer::to(&[]);
    balancer.apply(vec![servers[0].clone()]);
    let clients = [true, false].map(|keep_alive| {
        let options = load::Options {
            connections: 8,
            keep_alive,
            rate: Some(500.0),
            methods: vec![
                load::Method::Get,
                load::Method::Post { body: 5000 },
                load::Method::Head,
            ],
            ..load::Options::new(balancer.addr)
        };
        load::Client::start(options, &stop)
    });
    let answered = || {
        clients
            .iter()
            .map(|client| client.so_far().succeeded())
            .sum::<u64>()
    };
    for generation in 1..=10 {
        let enough = answered() + 100;
        let deadline = std::time::Instant::now() + PATIENCE;
        while answered() < enough {
            assert!(std::time::Instant::now() < deadline, "traffic does not flow");
            thread::sleep(Duration::from_millis(5));
        }
        balancer = balancer.handed_over();
        let (old, new) = (&servers[(generation + 1) % 2], &servers[generation % 2]);
        balancer.apply(vec![new.clone()]);
        balancer.until(|balancer| {
            let backends = balancer.datapath.backends();
            let old = backends.iter().find(|backend| backend.addr == old.addr);
            old.is_none_or(|old| old.state == BackendState::Drained)
        });
    }
    for (client, keep_alive) in clients.into_iter().zip([true, false]) {
        let report = runtime.block_on(client.finish());
        assert_eq!((report.failed(), report.unannounced_closes), (0, 0), "{report}");
        assert!(!keep_alive || report.connections == 8, "{report}");
    }
    stop.cancel();
}

fn web_server(runtime: &tokio::runtime::Runtime, name: &str, stop: &CancellationToken) -> Endpoint {
    let addr = free_address();
    let options = webserver::Options {
        listen: [addr].into(),
        access_log: false,
        identity: webserver::Identity::new("webserver:1", name, "node"),
    };
    let server = runtime.block_on(webserver::Server::bind(options)).unwrap();
    runtime.spawn(server.serve(stop.clone().cancelled_owned()));
    Endpoint {
        addr,
        owner: name.into(),
    }
}
