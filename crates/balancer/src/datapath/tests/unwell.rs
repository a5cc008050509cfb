//! Backends that are there and not well: they break every connection, never answer, or stand still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use nix::libc;
use nix::sys::socket::sockopt::SetStruct;

use super::*;

/// A server that accepts every connection and resets it.
struct Resetting {
    server: Server,
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Resetting {
    fn start() -> Self {
        let server = Server::new();
        let listener = server.listener.try_clone().unwrap();
        let (accepted, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (accepted.clone(), stop.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                Client::new(stream.unwrap()).reset();
            }
        });
        Self {
            server,
            accepted,
            stop,
            thread: Some(thread),
        }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Resetting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _wake = TcpStream::connect(self.server.addr);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

const POST: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";

#[test]
fn a_backend_that_resets_everything_is_not_asked_without_end() {
    for protocol in [Protocol::Detect, Protocol::Http1, Protocol::Opaque] {
        for first in [GET, POST, b"\0"] {
            let resetting = Resetting::start();
            let settings = Settings {
                threads: 1,
                hold: Duration::from_millis(300),
                ..Settings::default()
            };
            let balancer = Balancer::with(settings, protocol, &[&resetting.server]);
            let mut client = balancer.client();
            // It may have been reset before it has said anything.
            let _ = client.stream.write_all(first);
            client.is_refused();
            let accepted = resetting.accepted();
            assert!(
                accepted < 20,
                "{protocol:?}: {accepted} connections for one client"
            );
        }
    }
}

#[test]
fn a_backend_that_resets_everything_is_avoided() {
    const CLIENTS: usize = 50;
    let (resetting, well) = (Resetting::start(), Server::new());
    let balancer = Balancer::to(&[&resetting.server, &well]);
    let mut served = Vec::new();
    let begun = Instant::now();
    for _ in 0..CLIENTS {
        let mut client = balancer.client();
        client.say(GET);
        let mut answering = well.accept();
        answering.hear(GET);
        answering.say(OK);
        client.hear(OK);
        // Else it would be the one with the fewest connections.
        served.push((client, answering));
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    let accepted = resetting.accepted();
    assert!(accepted <= 4 * seconds, "{accepted} connections in {seconds} s");
}

#[test]
fn a_backend_that_is_offered_again_is_trusted_again() {
    let (down, well) = (Server::new(), Server::new());
    let Server { addr, listener } = down;
    drop(listener);
    let pod = Endpoint {
        addr,
        owner: "pod".into(),
    };
    let mut balancer = Balancer::to(&[]);
    balancer.apply(vec![pod.clone(), well.endpoint("pod")]);
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = balancer.client();
            client.say(b"\0");
            (client, well.accept())
        })
        .collect();
    balancer.until_installed(&[&well]);
    let up = Server {
        addr,
        listener: TcpListener::bind(addr).unwrap(),
    };
    balancer.apply(vec![pod, well.endpoint("pod")]);
    let mut client = balancer.client();
    client.say(b"\0");
    clients.push((client, up.accept()));
}

/// It is the system that accepts for it, as for a stopped process.
#[test]
fn a_frozen_backend_holds_only_its_own_clients_up() {
    let (frozen, well) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&frozen]);
    // Each connects when it has something to say: a silent one gets a backend, too, after a while.
    let mut idle = balancer.client();
    idle.say(GET);
    let mut accepted = frozen.accept();
    accepted.hear(GET);
    accepted.say(OK);
    idle.hear(OK);
    let mut waiting = balancer.client();
    waiting.say(GET);
    let mut at_waiting = frozen.accept();
    at_waiting.hear(GET);
    let mut leaving = balancer.client();
    leaving.say(POST);
    let mut at_leaving = frozen.accept();
    at_leaving.hear(POST);
    drop(leaving);
    // That it has gone is passed on, for whoever can read it.
    at_leaving.hear_end();
    balancer.until_installed(&[&frozen, &well]);
    // Others are answered by the other, which has fewer connections.
    let mut other = balancer.client();
    other.say(POST);
    let mut served = well.accept();
    served.hear(POST);
    served.say(OK);
    other.hear(OK);
    balancer.until_installed(&[&well]);
    // Idle connections leave without its help; the others wait for it.
    idle.say(POST);
    let mut served = well.accept();
    served.hear(POST);
    served.say(OK);
    idle.hear(OK);
    assert_eq!(
        (balancer.backend(&frozen).state, balancer.backend(&frozen).open),
        (BackendState::Draining, 2)
    );
    // Its time is over.
    at_waiting.reset();
    at_leaving.reset();
    let drained = balancer.until_drained(&frozen);
    assert_eq!((drained.moved, drained.finished, drained.cut), (2, 0, 1));
    let mut served = well.accept();
    served.hear(GET);
    served.say(OK);
    waiting.hear(OK);
}

#[test]
fn a_client_that_leaves_while_it_waits_for_a_backend_is_forgotten() {
    let settings = Settings {
        threads: 1,
        hold: PATIENCE * 10,
        ..Settings::default()
    };
    let balancer = Balancer::with(settings, Protocol::Detect, &[]);
    let mut client = balancer.client();
    client.say(GET);
    let begun = Instant::now();
    let until = |count| {
        while balancer.datapath.connections() != count {
            assert!(begun.elapsed() < PATIENCE);
            thread::yield_now();
        }
    };
    until(1);
    client.reset();
    until(0);
}

/// How long the system answers for a socket that was closed, in seconds.
#[derive(Clone)]
struct Forgotten;

nix::setsockopt_impl!(
    Forgotten,
    libc::IPPROTO_TCP,
    libc::TCP_LINGER2,
    i32,
    SetStruct<'_, i32>
);

/// What a client that closes sends is what one that half-closes sends; who waits is answered, however long that takes.
#[test]
fn a_client_that_has_gone_is_not_waited_for_for_ever() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let ask = |first: &[u8]| {
        let mut client = balancer.client();
        client.say(first);
        let mut served = server.accept();
        served.hear(first);
        (client, served)
    };
    let mut waiting = [ask(GET), ask(b"\0")];
    // The answer of the last, which has sent another request ahead, is awaited as well.
    let mut gone = [ask(GET), ask(b"\0"), ask(GET)];
    gone[2].0.say(GET);
    for (client, served) in &mut waiting {
        client.half_close();
        served.hear_end();
    }
    assert_eq!(balancer.backend(&server).open, 5);
    let _served = gone.map(|(client, served)| {
        nix::sys::socket::setsockopt(&client.stream, Forgotten, &1).unwrap();
        served
    });
    balancer.until_open(&server, 2);
    for (client, served) in &mut waiting {
        served.say(OK);
        client.hear(OK);
    }
}

#[test]
fn what_a_client_says_to_a_dead_backend_is_not_swallowed_for_good() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(b"\0");
    let mut served = server.accept();
    served.hear(b"\0");
    drop(served);
    client.hear_end();
    let begun = Instant::now();
    while client.stream.write_all(b"hello?").is_ok() {
        assert!(begun.elapsed() < PATIENCE, "nobody hears it, and nobody says so");
    }
}

/// Time is what it is about.
#[test]
fn a_backend_connection_idle_for_long_gets_nothing() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut http = balancer.client();
    http.say(POST);
    let mut one = server.accept();
    one.hear(POST);
    one.say(OK);
    http.hear(OK);
    let mut silent = balancer.client();
    let mut two = server.accept();
    thread::sleep(Duration::from_millis(600));
    http.say(POST);
    server.accept().hear(POST);
    one.hear_end();
    silent.say(b"\0");
    server.accept().hear(b"\0");
    two.hear_end();
}

#[test]
fn a_head_that_does_not_end_becomes_the_servers_affair() {
    let settings = Settings {
        threads: 1,
        head: Duration::from_millis(200),
        ..Settings::default()
    };
    let (server, next) = (Server::new(), Server::new());
    let mut balancer = Balancer::with(settings, Protocol::Detect, &[&server]);
    let mut idle = balancer.client();
    idle.say(GET);
    let mut served_idle = server.accept();
    served_idle.hear(GET);
    served_idle.say(OK);
    idle.hear(OK);
    let mut slow = balancer.client();
    slow.say(b"GET / HTTP/1.1\r\nHost:");
    let mut served = server.accept();
    served.hear(b"GET / HTTP/1.1\r\nHost:");
    slow.say(b" a");
    served.hear(b" a");
    // Being idle between two messages has no limit: this one is HTTP still, and can be moved.
    balancer.route(&[&next]);
    served_idle.hear_end();
    served.say(b"HTTP/1.1 408 Request Timeout\r\n\r\n");
    drop(served);
    slow.hear(b"HTTP/1.1 408 Request Timeout\r\n\r\n");
    slow.hear_end();
}
