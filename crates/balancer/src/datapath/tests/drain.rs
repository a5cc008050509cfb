//! Backends that leave, and what becomes of their connections.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::*;

#[test]
fn an_idle_connection_moves_and_the_client_does_not_notice() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = a.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    balancer.route(&[&b]);
    served.hear_end();
    let status = balancer.until_drained(&a);
    assert_eq!((status.moved, status.finished, status.cut), (1, 0, 0));
    client.say(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    let mut served = b.accept();
    served.hear(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    served.say(OK);
    client.hear(OK);
}

#[test]
fn a_busy_connection_moves_when_both_messages_are_complete() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(b"POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\nhalf");
    let mut served = a.accept();
    served.hear(b"POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\nhalf");
    balancer.until_installed(&[&b]);
    assert_eq!(balancer.backend(&a).state, BackendState::Draining);
    client.say(b"half");
    served.hear(b"half");
    served.say(&OK[..10]);
    client.hear(&OK[..10]);
    assert_eq!(balancer.backend(&a).open, 1);
    // The next request, sent ahead, is not the old backend's any more.
    client.say(GET);
    served.say(&OK[10..]);
    client.hear(&OK[10..]);
    served.hear_end();
    assert_eq!(balancer.until_drained(&a).moved, 1);
    let mut served = b.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn what_a_crash_breaks_before_the_drain_belongs_to_it() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let post = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    let mut lost = balancer.client();
    lost.say(post);
    let mut first = a.accept();
    first.hear(post);
    // Only now, so that it is clear whose the backend's connections are.
    let mut saved = balancer.client();
    saved.say(GET);
    let mut second = a.accept();
    second.hear(GET);
    first.reset();
    lost.is_refused();
    balancer.until_installed(&[&a, &b]);
    second.reset();
    let mut served = b.accept();
    served.hear(GET);
    served.say(OK);
    saved.hear(OK);
    balancer.route(&[&b]);
    let status = balancer.until_drained(&a);
    assert_eq!((status.moved, status.finished, status.cut), (1, 0, 1));
}

#[test]
fn when_a_route_goes_answers_are_finished_and_clients_hear_an_end_between_messages() {
    let server = Server::new();
    let mut balancer = Balancer::to(&[&server]);
    let mut idle = balancer.client();
    idle.say(GET);
    let mut served_idle = server.accept();
    served_idle.hear(GET);
    served_idle.say(OK);
    idle.hear(OK);
    let mut busy = balancer.client();
    busy.say(GET);
    let mut served_busy = server.accept();
    served_busy.hear(GET);
    balancer.datapath.apply(&[]);
    served_idle.hear_end();
    idle.hear_end();
    served_busy.say(OK);
    busy.hear(OK);
    busy.hear_end();
    assert_eq!(balancer.until_drained(&server).cut, 0);
    assert!(
        TcpStream::connect(balancer.addr).is_err(),
        "nothing listens any more"
    );
}

#[test]
fn a_connection_without_a_word_moves() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    let mut served = a.accept();
    balancer.route(&[&b]);
    served.hear_end();
    let mut served = b.accept();
    served.say(b"hello");
    client.hear(b"hello");
    assert_eq!(balancer.until_drained(&a).moved, 1);
}

#[test]
fn an_opaque_connection_stays_until_it_is_closed() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(b"\0");
    let mut served = a.accept();
    served.hear(b"\0");
    balancer.until_installed(&[&b]);
    client.say(b"more");
    served.hear(b"more");
    assert_eq!(
        (balancer.backend(&a).state, balancer.backend(&a).open),
        (BackendState::Draining, 1)
    );
    drop(client);
    served.hear_end();
    drop(served);
    let status = balancer.until_drained(&a);
    assert_eq!((status.moved, status.finished, status.cut), (0, 1, 0));
}

#[test]
fn an_upgraded_connection_stays_until_it_is_closed() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    let upgrade = b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello";
    client.say(upgrade);
    let mut served = a.accept();
    served.hear(upgrade);
    served.say(switch);
    client.hear(switch);
    balancer.until_installed(&[&b]);
    client.say(GET);
    served.hear(GET);
    drop(served);
    client.hear_end();
    drop(client);
    assert_eq!(balancer.until_drained(&a).moved, 0);
}

#[test]
fn a_connection_broken_in_mid_message_counts_as_cut() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = a.accept();
    served.hear(GET);
    served.say(&OK[..20]);
    client.hear(&OK[..20]);
    balancer.until_installed(&[&b]);
    served.reset();
    client.is_refused();
    assert_eq!(balancer.until_drained(&a).cut, 1);
}

#[test]
fn a_request_sent_again_elsewhere_is_not_cut() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = a.accept();
    served.hear(GET);
    balancer.until_installed(&[&b]);
    served.reset();
    let mut served = b.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    let status = balancer.until_drained(&a);
    assert_eq!((status.moved, status.finished, status.cut), (1, 0, 0));
}

/// What it waits for never comes: it has been cut, and the pod says so.
#[test]
fn a_request_that_nobody_else_can_have_is_cut() {
    let a = Server::new();
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = a.accept();
    served.hear(GET);
    balancer.spec.expecting = false;
    balancer.until_installed(&[]);
    served.reset();
    client.is_refused();
    let status = balancer.until_drained(&a);
    assert_eq!((status.moved, status.finished, status.cut), (0, 0, 1));
}

#[test]
fn the_same_address_of_another_owner_is_another_backend() {
    let a = Server::new();
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(b"\0");
    let mut old = a.accept();
    old.hear(b"\0");
    balancer.apply(vec![a.endpoint("next pod")]);
    let mut second = balancer.client();
    second.say(b"\0");
    a.accept().hear(b"\0");
    let backends = balancer.datapath.backends();
    let open = |state| {
        backends
            .iter()
            .filter(|known| known.state == state)
            .map(|known| known.open)
            .sum::<u32>()
    };
    assert_eq!((open(BackendState::Draining), open(BackendState::Ready)), (1, 1));
}

#[test]
fn a_backend_that_comes_back_is_in_service_again() {
    let a = Server::new();
    let mut balancer = Balancer::to(&[&a]);
    balancer.route(&[]);
    balancer.until_drained(&a);
    balancer.route(&[&a]);
    assert_eq!(balancer.backend(&a).state, BackendState::Ready);
    let mut client = balancer.client();
    client.say(GET);
    a.accept().hear(GET);
}

/// Clients hammer, half of them with a new connection a request, while backends come and go. Whenever a backend is said
/// to be drained its server is shut down at once, with a reset for whoever may still be there. Nobody must notice.
#[test]
fn count_zero_is_exact() {
    const ROUNDS: usize = 100;
    let stop = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    let mut current = Hammered::start();
    let mut balancer = Balancer::to(&[&current.server]);
    let addr = balancer.addr;
    thread::scope(|scope| {
        for number in 0..6 {
            let (stop, answered) = (&stop, &answered);
            scope.spawn(move || {
                let mut client = None;
                while !stop.load(Ordering::Relaxed) {
                    let open = client.get_or_insert_with(|| Client::new(TcpStream::connect(addr).unwrap()));
                    open.say(GET);
                    open.hear(OK);
                    answered.fetch_add(1, Ordering::Relaxed);
                    if number % 2 == 0 {
                        client = None;
                    }
                }
            });
        }
        for _ in 0..ROUNDS {
            let next = Hammered::start();
            balancer.route(&[&next.server]);
            let drained = balancer.until_drained(&current.server);
            balancer.datapath.forget(&drained);
            std::mem::replace(&mut current, next).kill();
            let before = answered.load(Ordering::Relaxed);
            while answered.load(Ordering::Relaxed) < before + 20 {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    balancer.route(&[]);
    balancer.until_drained(&current.server);
    current.kill();
}

/// A server with a thread a connection that answers every request.
struct Hammered {
    server: Server,
    stop: std::sync::Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<thread::JoinHandle<()>>>,
}

impl Hammered {
    fn start() -> Self {
        let server = Server::new();
        let listener = server.listener.try_clone().unwrap();
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut threads = Vec::new();
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let mut client = Client::new(stream.unwrap());
                let stopped = stopped.clone();
                threads.push(thread::spawn(move || {
                    let mut request = vec![0; GET.len()];
                    loop {
                        match client.stream.read_exact(&mut request) {
                            Ok(()) => assert!(!stopped.load(Ordering::SeqCst), "a request after count zero"),
                            Err(error) => return assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof),
                        }
                        client.say(OK);
                    }
                }));
            }
            threads
        });
        Self { server, stop, thread }
    }

    /// Ends it as a killed process ends: whoever waits to be accepted is reset.
    fn kill(self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.server.addr);
        for connection in self.thread.join().unwrap() {
            connection.join().unwrap();
        }
    }
}

#[test]
fn what_ends_with_a_pod_whose_time_is_over_is_cut() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let opaque = || {
        let mut client = balancer.client();
        client.say(b"\0");
        let mut served = a.accept();
        served.hear(b"\0");
        (client, served)
    };
    let (early, leaving, idle, busy) = (opaque(), opaque(), opaque(), opaque());
    let mut http = balancer.client();
    http.say(GET);
    let mut answering = a.accept();
    answering.hear(GET);
    balancer.until_installed(&[&b]);
    // Before its time is over a server may end what it wants to end.
    let (mut client, served) = early;
    drop(served);
    client.hear_end();
    drop(client);
    balancer.until_open(&a, 4);
    balancer.datapath.set_overdue("pod");
    // A client that ends by itself is not cut, nor is an exchange that becomes complete.
    let (client, mut served) = leaving;
    drop(client);
    served.hear_end();
    drop(served);
    answering.say(OK);
    http.hear(OK);
    answering.hear_end();
    balancer.until_open(&a, 2);
    // The pod ends: one stream is at rest, in the other there is something that it has not read.
    let (mut client, served) = idle;
    drop(served);
    client.hear_end();
    drop(client);
    let (mut client, served) = busy;
    client.say(b"unread");
    let mut unread = [0; 6];
    while served.stream.peek(&mut unread).unwrap() < unread.len() {}
    drop(served);
    client.is_refused();
    let status = balancer.until_drained(&a);
    assert_eq!((status.moved, status.finished, status.cut), (1, 2, 2));
}
