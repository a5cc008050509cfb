//! What many Services and endpoints cost a connection, and what a change of them costs.
//!
//! Three routing tables take turns, round by round: 1 Service with 4 endpoints, 1,000 Services with 5 each, and one
//! Service with 5,000. Prints medians of each round's ratio to the first table: connections a second, and CPU time of the
//! datapath's threads per connection; and what it takes to apply a table in which one endpoint has changed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coracle_balancer::datapath::{Datapath, Endpoint, RouteSpec, Settings};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::event::epoll::{self, EventData, EventFlags};

use super::{Outcome, REQUEST, THREADS};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
/// Each table's share of a round.
const TURN: Duration = Duration::from_millis(500);
/// Tables applied one after the other, to see what one costs.
const CHANGES: u32 = 50;

/// A table, and what is seen of it in a round.
struct Table {
    name: &'static str,
    datapath: Datapath,
    specs: Vec<RouteSpec>,
}

#[derive(Clone, Copy)]
struct Seen {
    per_second: f64,
    /// CPU seconds of the datapath's threads per connection.
    cpu: f64,
}

pub fn run(rounds: usize) -> Outcome<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let done = Arc::new(AtomicBool::new(false));
    let endpoints = serve(5000, &done)?;
    let mut tables = [
        Table::new("1 Service, 4 endpoints", 1, &endpoints[..4])?,
        Table::new("1,000 Services, 5,000 endpoints", 2, &endpoints)?,
        Table::new("1 Service, 5,000 endpoints", 3, &endpoints)?,
    ];
    let mut seen: Vec<Vec<Seen>> = Vec::new();
    for round in 0..=rounds {
        let now: Vec<Seen> = tables.iter().map(Table::turn).collect::<Outcome<_>>()?;
        // The first one fills caches.
        if round > 0 {
            seen.push(now);
        }
    }
    for (at, table) in tables.iter_mut().enumerate() {
        let median = |of: &dyn Fn(&Vec<Seen>) -> f64| median(seen.iter().map(of).collect());
        let change = table.change().as_secs_f64() * 1e3;
        println!(
            "{:<32} connections/s x {:.3}   CPU per connection x {:.3} ({:.1} us)   one change {change:.2} ms",
            table.name,
            median(&|round| round[at].per_second / round[0].per_second),
            median(&|round| round[at].cpu / round[0].cpu),
            median(&|round| round[at].cpu * 1e6),
        );
    }
    done.store(true, Ordering::Relaxed);
    Ok(())
}

impl Table {
    /// Table number `block` has listeners of its own, and shares the endpoints among as many Services as it takes.
    fn new(name: &'static str, block: u8, endpoints: &[SocketAddr]) -> Outcome<Self> {
        let share = if block == 2 { 5 } else { endpoints.len() };
        let spec = |(at, endpoints): (usize, &[SocketAddr])| {
            let [high, low] = u16::try_from(at + 1).unwrap_or(1).to_be_bytes();
            let endpoint = |addr: &SocketAddr| Endpoint {
                addr: *addr,
                owner: "bench".into(),
            };
            RouteSpec {
                name: format!("bench/{at}").into(),
                listen: vec![(Ipv4Addr::new(127, 250 + block, high, low), 28_080).into()],
                endpoints: endpoints.iter().map(endpoint).collect(),
                ..RouteSpec::default()
            }
        };
        let specs: Vec<_> = endpoints.chunks(share).enumerate().map(spec).collect();
        let settings = Settings {
            threads: THREADS,
            ..Settings::default()
        };
        let mut datapath = Datapath::start(&settings, || {})?;
        datapath.apply(&specs);
        for listener in datapath.listeners() {
            if let Some(error) = listener.error {
                return Err(format!("{}: {error}", listener.addr).into());
            }
        }
        Ok(Self {
            name,
            datapath,
            specs,
        })
    }

    /// Connects for a while, to one Service after the other.
    fn turn(&self) -> Outcome<Seen> {
        let (start, before) = (Instant::now(), cpu()?);
        let mut count = 0_u32;
        let mut answer = [0; 256];
        let mut addresses = self.specs.iter().flat_map(|spec| &spec.listen).cycle();
        while start.elapsed() < TURN {
            let Some(addr) = addresses.next() else { break };
            let mut stream = TcpStream::connect(addr)?;
            stream.write_all(REQUEST)?;
            while stream.read(&mut answer)? > 0 {}
            count += 1;
        }
        Ok(Seen {
            per_second: f64::from(count) / start.elapsed().as_secs_f64(),
            cpu: (cpu()? - before) / f64::from(count),
        })
    }

    /// The time of the control side to apply a table in which one endpoint comes or goes.
    fn change(&mut self) -> Duration {
        let mut other = self.specs.clone();
        other[0].endpoints.pop();
        let start = Instant::now();
        for turn in 0..CHANGES {
            let specs = if turn % 2 == 0 { &other } else { &self.specs };
            self.datapath.apply(specs);
        }
        start.elapsed() / CHANGES
    }
}

/// CPU seconds of all threads of all datapaths. The idle ones have none.
fn cpu() -> Outcome<f64> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.starts_with("datapath-") {
            let stat = std::fs::read_to_string(task.join("schedstat"))?;
            nanoseconds += stat.split(' ').next().unwrap_or("0").parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds).as_secs_f64())
}

/// So many servers, each with an address of its own, in one thread.
fn serve(count: u16, done: &Arc<AtomicBool>) -> Outcome<Vec<SocketAddr>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut listeners = Vec::new();
    for at in 0..count {
        let [high, low] = (at + 1).to_be_bytes();
        let listener = TcpListener::bind((Ipv4Addr::new(127, 250, high, low), 28_081))?;
        epoll::add(&epoll, &listener, EventData::new_u64(at.into()), EventFlags::IN)?;
        listeners.push(listener);
    }
    let addresses = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()?;
    let done = done.clone();
    std::thread::spawn(move || -> Outcome<()> {
        let mut events = Vec::with_capacity(64);
        while !done.load(Ordering::Relaxed) {
            epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                let at = usize::try_from(event.data.u64())?;
                let (mut stream, _) = listeners[at].accept()?;
                stream.read_exact(&mut [0; REQUEST.len()])?;
                stream.write_all(ANSWER)?;
            }
        }
        Ok(())
    });
    Ok(addresses)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
