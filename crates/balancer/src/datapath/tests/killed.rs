//! Servers that are processes and die by SIGKILL while they work. Each is this test program again, with the test's own
//! name and an environment variable that makes it a server.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

const NAME: &str = "datapath::tests::killed::no_post_is_executed_twice_and_no_get_is_lost";
const ROLE: &str = "CORACLE_TEST_SERVER";
const KILLS: usize = 50;
const CLIENTS: u64 = 6;
/// Answers between two kills.
const PACE: u64 = 20;

/// How often each request was executed.
type Executed = Arc<Mutex<HashMap<String, u32>>>;

/// A server in a process of its own.
struct Process {
    child: Child,
    endpoint: Endpoint,
    reader: thread::JoinHandle<()>,
}

impl Process {
    fn start(number: usize, executed: Executed) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(ROLE, "server")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, listening) = channel();
        let reader = thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                match line.split_once(' ') {
                    Some(("listening", addr)) => sender.send(addr.to_owned()).unwrap(),
                    Some(("executes", id)) => {
                        *executed.lock().unwrap().entry(id.to_owned()).or_default() += 1;
                    }
                    _ => {}
                }
            }
        });
        let addr = listening.recv_timeout(PATIENCE).unwrap().parse().unwrap();
        let owner = format!("pod {number}").into();
        Self {
            child,
            endpoint: Endpoint { addr, owner },
            reader,
        }
    }

    /// SIGKILL; returns when all that it had written has been read.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.join().unwrap();
    }
}

/// Lines to the standard output, on which the test harness writes, too.
fn report(line: &str) {
    std::io::stdout()
        .write_all(format!("\n{line}\n").as_bytes())
        .unwrap();
}

/// Says what it executes before it answers, until it is killed or nobody listens.
fn be_a_server() {
    let server = Server::new();
    report(&format!("listening {}", server.addr));
    for stream in server.listener.incoming() {
        let mut client = Client::new(stream.unwrap());
        thread::spawn(move || {
            let mut head = Vec::new();
            let mut bytes = [0; 512];
            while let Ok(count @ 1..) = client.stream.read(&mut bytes) {
                head.extend_from_slice(&bytes[..count]);
                if head.ends_with(b"\r\n\r\n") {
                    let text = String::from_utf8_lossy(&head);
                    report(&format!(
                        "executes {}",
                        text.split(' ').nth(1).unwrap_or_default()
                    ));
                    head.clear();
                    if client.stream.write_all(OK).is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// What became of the requests.
#[derive(Default)]
struct Fates {
    answered: Vec<String>,
    lost: Vec<String>,
}

/// Asks until told to stop, POST and GET in turns; after a lost request on a new connection.
fn ask(addr: SocketAddr, number: u64, stop: &AtomicBool, answers: &AtomicU64) -> Fates {
    let mut fates = Fates::default();
    let mut client = Client::new(TcpStream::connect(addr).unwrap());
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("/{}/{number}/{turn}", if turn % 2 == 0 { "post" } else { "get" });
        let request = match turn % 2 {
            0 => format!("POST {id} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
            _ => format!("GET {id} HTTP/1.1\r\n\r\n"),
        };
        let mut heard = vec![0; OK.len()];
        let asked = client.stream.write_all(request.as_bytes());
        match asked.and_then(|()| client.stream.read_exact(&mut heard)) {
            Ok(()) => {
                assert_eq!(heard, OK);
                answers.fetch_add(1, Ordering::Relaxed);
                fates.answered.push(id);
            }
            Err(error) => {
                assert_ne!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock,
                    "{id} was not reported as lost"
                );
                fates.lost.push(id);
                client = Client::new(TcpStream::connect(addr).unwrap());
            }
        }
    }
    fates
}

#[test]
fn no_post_is_executed_twice_and_no_get_is_lost() {
    if std::env::var_os(ROLE).is_some() {
        return be_a_server();
    }
    let executed = Executed::default();
    let start = |number| Process::start(number, executed.clone());
    let mut servers = [start(0), start(1)];
    let mut balancer = Balancer::to(&[]);
    let offered = |servers: &[Process; 2]| servers.each_ref().map(|server| server.endpoint.clone()).to_vec();
    balancer.apply(offered(&servers));
    let (stop, answers, addr) = (AtomicBool::new(false), AtomicU64::new(0), balancer.addr);
    let fates: Vec<Fates> = thread::scope(|scope| {
        let (stop, answers) = (&stop, &answers);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || ask(addr, number, stop, answers)))
            .collect();
        for kill in 0..KILLS {
            let before = answers.load(Ordering::Relaxed);
            while answers.load(Ordering::Relaxed) < before + PACE {
                thread::yield_now();
            }
            // Its endpoint is offered for as long as the next server takes to start.
            let next = start(kill + 2);
            std::mem::replace(&mut servers[kill % 2], next).kill();
            balancer.apply(offered(&servers));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for server in servers {
        server.kill();
    }
    let executed = executed.lock().unwrap();
    let times = |id: &String| executed.get(id).copied().unwrap_or(0);
    for fate in &fates {
        for id in fate
            .answered
            .iter()
            .chain(&fate.lost)
            .filter(|id| id.starts_with("/post"))
        {
            assert!(times(id) <= 1, "{id} was executed {} times", times(id));
        }
        for id in &fate.answered {
            assert!(times(id) >= 1, "{id} was answered by nobody");
        }
        let lost: Vec<_> = fate.lost.iter().filter(|id| id.starts_with("/get")).collect();
        assert!(lost.is_empty(), "could have gone elsewhere: {lost:?}");
    }
    let count = |of: fn(&Fates) -> usize| fates.iter().map(of).sum::<usize>();
    println!(
        "{KILLS} kills: {} answered, {} POSTs lost",
        count(|fate| fate.answered.len()),
        count(|fate| fate.lost.len())
    );
}
