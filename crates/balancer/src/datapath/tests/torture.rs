//! Every kind of message, on many connections, while the backends are replaced as fast as they drain.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::*;

const CLIENTS: u64 = 6;
const REPLACEMENTS: u64 = 1000;

/// What a client asks and what it must hear: the same whichever server answers. `{id}` is unique.
const KINDS: [(&str, &str); 13] = [
    (
        "GET /fixed/{id} HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfixed",
    ),
    (
        "GET /chunked/{id} HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
    ),
    (
        "HEAD /head/{id} HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n",
    ),
    (
        "DELETE /empty/{id} HTTP/1.1\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ),
    (
        "GET /fresh/{id} HTTP/1.1\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    ),
    (
        "GET /hints/{id} HTTP/1.1\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhints",
    ),
    (
        "POST /post/{id} HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npost",
    ),
    (
        "POST /parts/{id} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nT: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nparts",
    ),
    (
        "POST /wait/{id} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwait",
    ),
    (
        "PUT /put/{id} HTTP/1.1\r\nContent-Length: 3\r\n\r\nput",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nput",
    ),
    (
        "GET /old/{id} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold",
    ),
    (EARLY, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"),
    (STALE, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"),
];

/// Answered before its body has come.
const EARLY: &str = "POST /early/{id} HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789";
/// Behind its answer comes another that nobody asked for.
const STALE: &str = "POST /stale/{id} HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
const SURPLUS: &str = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// Ends with its answer.
const LAST: (&str, &str) = (
    "POST /last/{id} HTTP/1.1\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast",
);
/// Ends in an echo.
const TUNNEL: (&str, &str) = (
    "GET /tunnel/{id} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n",
);

#[test]
fn nothing_is_lost_doubled_or_mixed_up() {
    let executed = Arc::new(Mutex::new(HashSet::new()));
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut current = Answering::start(executed.clone());
    let mut balancer = Balancer::to(&[&current.server]);
    let addr = balancer.addr;
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (stop, asked) = (&stop, &asked);
            scope.spawn(move || {
                let connect = || Client::new(TcpStream::connect(addr).unwrap());
                let mut client = connect();
                let mut turn = number;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    exchange(&mut client, number, turn);
                    if turn.is_multiple_of(7) {
                        finish(std::mem::replace(&mut client, connect()), number, turn);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for cycle in 0..REPLACEMENTS {
            let next = Answering::start(executed.clone());
            balancer.route(&[&next.server]);
            let drained = balancer.until_drained(&current.server);
            assert_eq!(drained.cut, 0);
            balancer.datapath.forget(&drained);
            std::mem::replace(&mut current, next).end();
            // The pace: it is to be faster than any rollout and still to find connections in all states.
            thread::sleep(Duration::from_millis(5 + cycle % 11));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(asked.into_inner() > REPLACEMENTS, "hardly anything was asked");
    balancer.route(&[]);
    balancer.until_drained(&current.server);
    current.end();
}

/// Asks one thing, or two at once; in one piece or in two.
fn exchange(client: &mut Client, number: u64, turn: u64) {
    let kind = |turn: u64| KINDS[usize::try_from(turn).unwrap() % KINDS.len()];
    let (first, answer) = kind(turn);
    let mut request = first.replace("{id}", &format!("{number}-{turn}-a"));
    let mut expected = answer.to_owned();
    if turn.is_multiple_of(3) {
        let (second, answer) = kind(turn / 3);
        request += &second.replace("{id}", &format!("{number}-{turn}-b"));
        expected += answer;
    }
    let cut = if turn.is_multiple_of(2) {
        request.len()
    } else {
        usize::try_from(turn).unwrap() % request.len()
    };
    client.say(&request.as_bytes()[..cut]);
    client.say(&request.as_bytes()[cut..]);
    client.hear(expected.as_bytes());
}

/// Makes the connection's last exchange, behind which the client or the server closes.
fn finish(mut client: Client, number: u64, turn: u64) {
    let id = format!("{number}-{turn}-c");
    let (request, answer) = if turn.is_multiple_of(2) { TUNNEL } else { LAST };
    client.say(request.replace("{id}", &id).as_bytes());
    if turn.is_multiple_of(3) && request == LAST.0 {
        client.half_close();
    }
    client.hear(answer.as_bytes());
    if request == TUNNEL.0 {
        client.say(b"echo");
        client.hear(b"echo");
        client.half_close();
    }
    client.hear_end();
}

/// A server that knows the kinds, and who has executed what.
struct Answering {
    server: Server,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<JoinHandle<()>>>,
}

impl Answering {
    fn start(executed: Arc<Mutex<HashSet<String>>>) -> Self {
        let server = Server::new();
        let listener = server.listener.try_clone().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut threads = Vec::new();
            loop {
                let (stream, _) = listener.accept().unwrap();
                if stopped.load(Ordering::SeqCst) {
                    return threads;
                }
                let executed = executed.clone();
                threads.push(thread::spawn(move || serve(Client::new(stream), &executed)));
            }
        });
        Self { server, stop, thread }
    }

    /// Ends at once: nobody may be left.
    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _wake = TcpStream::connect(self.server.addr).unwrap();
        for connection in self.thread.join().unwrap() {
            connection.join().unwrap();
        }
    }
}

/// Answers requests, which come one at a time, until the connection ends between two.
fn serve(mut client: Client, executed: &Mutex<HashSet<String>>) {
    let mut request = Vec::new();
    // So much of a request that has its answer is still to come.
    let mut owed = 0;
    loop {
        let mut bytes = [0; 512];
        match client.stream.read(&mut bytes) {
            Ok(0) => return assert!(request.is_empty() && owed == 0, "cut in a request"),
            Ok(count) => {
                let rest = owed.min(count);
                owed -= rest;
                request.extend_from_slice(&bytes[rest..count]);
            }
            // What nobody asked for was not read.
            Err(error) => return assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        let text = String::from_utf8(request.clone()).unwrap();
        let Some(id) = text
            .split('/')
            .nth(2)
            .and_then(|rest| rest.split_once(' '))
            .map(|(id, _)| id)
        else {
            continue;
        };
        let asks = |kind: &&(&str, &str)| {
            let whole = kind.0.replace("{id}", id);
            let early = kind.0 == EARLY && text.contains("\r\n\r\n") && whole.starts_with(&text);
            text == whole || early
        };
        let known = KINDS.iter().chain([&LAST, &TUNNEL]).find(asks);
        let Some((kind, answer)) = known else {
            continue;
        };
        owed = kind.replace("{id}", id).len() - text.len();
        request.clear();
        assert!(
            executed.lock().unwrap().insert(id.to_owned()),
            "{id} was executed twice"
        );
        // In one piece: what comes later than the next request cannot be told from its answer.
        let surplus = if *kind == STALE { SURPLUS } else { "" };
        client.say([answer, surplus].concat().as_bytes());
        match *kind {
            kind if kind == LAST.0 => return,
            kind if kind == TUNNEL.0 => return echo(client),
            _ => {}
        }
    }
}

/// Says what it hears.
fn echo(mut client: Client) {
    let mut bytes = [0; 512];
    while let Ok(count @ 1..) = client.stream.read(&mut bytes) {
        client.say(&bytes[..count]);
    }
}
