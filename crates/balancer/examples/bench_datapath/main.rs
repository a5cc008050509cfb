//! What `scripts/bench-balancer.sh` needs beside haproxy, nginx and wrk: the datapath alone, as a process of its own, and
//! two clients that wrk is not.
//!
//! ```text
//! bench_datapath serve opaque|detect|http LISTEN BACKEND   until standard input ends
//! bench_datapath rate ADDR REQUESTS_A_SECOND SECONDS        prints p50 and p99 in microseconds
//! bench_datapath idle ADDR COUNT                            holds keep-alive connections until standard input ends
//! bench_datapath scale ROUNDS                               what many Services and endpoints cost: see `scale`
//! ```

mod scale;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use coracle_balancer::datapath::{Datapath, Endpoint, Protocol, RouteSpec, Settings};
use nix::poll::{PollFd, PollFlags, ppoll};

/// As many as haproxy is given.
const THREADS: usize = 2;
/// Connections that share the rate.
const CONNECTIONS: u32 = 64;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Not counted: caches fill.
const WARM_UP: Duration = Duration::from_millis(200);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", protocol, listen, backend] => serve(protocol, listen.parse()?, backend.parse()?),
        ["rate", addr, rate, seconds] => rate_limited(addr.parse()?, rate.parse()?, seconds.parse()?),
        ["idle", addr, count] => idle(addr.parse()?, count.parse()?),
        ["scale", rounds] => scale::run(rounds.parse()?),
        _ => Err(
            "serve PROTOCOL LISTEN BACKEND | rate ADDR RATE SECONDS | idle ADDR COUNT | scale ROUNDS".into(),
        ),
    }
}

/// One route with one backend.
fn serve(protocol: &str, listen: SocketAddr, backend: SocketAddr) -> Outcome<()> {
    let protocol = match protocol {
        "opaque" => Protocol::Opaque,
        "detect" => Protocol::Detect,
        "http" => Protocol::Http1,
        other => return Err(format!("no such protocol: {other}").into()),
    };
    let settings = Settings {
        threads: THREADS,
        ..Settings::default()
    };
    let mut datapath = Datapath::start(&settings, || {})?;
    datapath.apply(&[RouteSpec {
        name: "bench".into(),
        listen: vec![listen],
        protocol,
        endpoints: vec![Endpoint {
            addr: backend,
            owner: "bench".into(),
        }],
        ..RouteSpec::default()
    }]);
    for listener in datapath.listeners() {
        if let Some(error) = listener.error {
            return Err(error.into());
        }
    }
    println!("ready");
    until_input_ends()
}

fn until_input_ends() -> Outcome<()> {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// One connection of a client that sends at fixed times.
struct Paced {
    stream: TcpStream,
    /// When its next request is due, or the one under way was.
    due: Instant,
    /// A request is under way.
    busy: bool,
}

/// Requests at fixed times, whether or not earlier ones have been answered in time: latency counts from when a request
/// was due. One thread and a wait in nanoseconds, because timers that are exact to 1 ms would hide what is measured.
fn rate_limited(addr: SocketAddr, rate: f64, seconds: f64) -> Outcome<()> {
    let interval = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
    let start = Instant::now();
    let connect = |index| {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        let due = Instant::now() + interval / CONNECTIONS * index;
        Ok(Paced {
            stream,
            due,
            busy: false,
        })
    };
    let mut connections: Vec<Paced> = (0..CONNECTIONS).map(connect).collect::<io::Result<_>>()?;
    let counted_from = start + WARM_UP;
    let end = counted_from + Duration::from_secs_f64(seconds);
    let mut latencies = Vec::new();
    while Instant::now() < end {
        for index in wait(&mut connections)? {
            let connection = &mut connections[index];
            answer(&mut connection.stream)?;
            connection.busy = false;
            if connection.due > counted_from {
                latencies.push(connection.due.elapsed());
            }
            connection.due += interval;
        }
        let now = Instant::now();
        for connection in &mut connections {
            if !connection.busy && connection.due <= now {
                connection.stream.write_all(REQUEST)?;
                connection.busy = true;
            }
        }
    }
    latencies.sort_unstable();
    let quantile = |per_mille: usize| latencies.get(latencies.len() * per_mille / 1000);
    let (Some(p50), Some(p99)) = (quantile(500), quantile(990)) else {
        return Err("no request was answered".into());
    };
    println!("{} {}", p50.as_micros(), p99.as_micros());
    Ok(())
}

/// Waits until an answer comes or a request is due; gives the connections that have an answer.
fn wait(connections: &mut [Paced]) -> Outcome<Vec<usize>> {
    let free = connections.iter().filter(|connection| !connection.busy);
    let patience = free
        .map(|connection| connection.due.saturating_duration_since(Instant::now()))
        .min()
        .unwrap_or(PATIENCE);
    let mut watched: Vec<_> = connections
        .iter()
        .map(|connection| PollFd::new(connection.stream.as_fd(), PollFlags::POLLIN))
        .collect();
    ppoll(&mut watched, Some(patience.into()), None)?;
    let ready = watched
        .iter()
        .enumerate()
        .filter(|(_, socket)| socket.any() == Some(true));
    Ok(ready.map(|(index, _)| index).collect())
}

/// One request and its answer, which is short and comes in one piece.
fn exchange(stream: &mut TcpStream) -> Outcome<()> {
    stream.write_all(REQUEST)?;
    answer(stream)
}

fn answer(stream: &mut TcpStream) -> Outcome<()> {
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes)?;
    if bytes[..count].starts_with(b"HTTP/1.1 200") {
        Ok(())
    } else {
        Err("not the answer that was expected".into())
    }
}

/// Connections that have had one request each and are idle then.
fn idle(addr: SocketAddr, count: usize) -> Outcome<()> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(addr)?;
        exchange(&mut stream)?;
        streams.push(stream);
    }
    println!("ready");
    until_input_ends()
}
