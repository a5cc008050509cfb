//! The balancer is replaced under load, again and again, and is killed.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use coracle_tests::{Cluster, Kubectl, Traffic, http, programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a balancer may take to come.
const LIMIT: Duration = Duration::from_secs(30);

/// A cluster with four nginx behind a Service.
fn start() -> (Cluster, Kubectl) {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(&programs::example("nginx-deployment.yaml"));
    kubectl.rolled_out("nginx-deployment");
    kubectl.ok(&["expose", "deployment", "nginx-deployment"]);
    kubectl.in_service("app=nginx");
    (cluster, kubectl)
}

fn replace(cluster: &Cluster) {
    let old = cluster.balancer_pid();
    let data_dir = cluster.data_dir();
    let replaced = cluster.run(&["balancer", "replace", "--data-dir", &data_dir.to_string_lossy()]);
    assert_eq!(replaced.code, Some(0), "{replaced:?}");
    assert_ne!(cluster.balancer_pid(), old);
    let left = cluster.processes();
    assert!(left.iter().all(|process| process.pid != old), "{left:#?}");
}

#[test]
fn ten_generations_and_a_rollout_in_the_middle_drop_nothing() {
    let (cluster, kubectl) = start();
    let traffic = Traffic::start(http::cluster_ip(&kubectl, "nginx-deployment"));
    for generation in 1..=10 {
        traffic.flows(50);
        if generation == 5 {
            kubectl.ok(&["set", "image", "deployment/nginx-deployment", "nginx=nginx:1.8"]);
        }
        replace(&cluster);
    }
    kubectl.rolled_out("nginx-deployment");
    traffic.flows(50);
    let verdict = traffic.finish();
    // Every client has kept its connection through all of it.
    assert_eq!(verdict.strict[0].connections, 8, "{verdict}");
    verdict.assert_clean();
    cluster.stop();
}

#[test]
fn a_server_of_another_program_replaces_the_balancer_and_drops_nothing() {
    let (mut cluster, kubectl) = start();
    let traffic = Traffic::start(http::cluster_ip(&kubectl, "nginx-deployment"));
    traffic.flows(50);
    let old = cluster.balancer_pid();
    cluster.crash();
    cluster.up();
    traffic.flows(50);
    assert_eq!(
        cluster.balancer_pid(),
        old,
        "a server of the same program leaves it alone"
    );
    cluster.crash();
    cluster.upgrade();
    cluster.up();
    let deadline = Instant::now() + LIMIT;
    while cluster.balancer_pid() == old {
        assert!(Instant::now() < deadline, "the balancer is still pid {old}");
        traffic.flows(10);
    }
    traffic.flows(50);
    traffic.finish().assert_clean();
    cluster.stop();
}

#[test]
fn a_server_on_another_port_is_found_and_nothing_is_dropped() {
    let (mut cluster, kubectl) = start();
    let traffic = Traffic::start(http::cluster_ip(&kubectl, "nginx-deployment"));
    traffic.flows(50);
    cluster.crash();
    // The last known endpoints serve on while there is no API.
    traffic.flows(50);
    cluster.up_on_another_port();
    // A roll needs a balancer that hears of new endpoints: old pods wait for the new ones to be in service.
    kubectl.ok(&["set", "image", "deployment/nginx-deployment", "nginx=nginx:1.8"]);
    kubectl.rolled_out("nginx-deployment");
    traffic.flows(50);
    let verdict = traffic.finish();
    assert_eq!(verdict.strict[0].connections, 8, "{verdict}");
    verdict.assert_clean();
    cluster.stop();
}

/// Processor time of a process, in clock ticks of 10 ms.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    [11, 12]
        .map(|at: usize| fields[at].parse::<u64>().expect("a number"))
        .iter()
        .sum()
}

/// The balancer's connections, as `coracle status` tells them.
fn connections(status: &str) -> usize {
    let (before, _) = status.split_once(" connections").expect("the balancer's line");
    let (_, number) = before.rsplit_once(' ').expect("a number");
    number.parse().expect("a number")
}

#[test]
fn at_the_limit_of_open_files_clients_wait_and_the_balancer_rests() {
    let (cluster, kubectl) = start();
    let service = http::cluster_ip(&kubectl, "nginx-deployment");
    let data_dir = cluster.data_dir().to_string_lossy().into_owned();
    // The new balancer inherits the limit of the command.
    let replace = cluster.coracle(&["balancer", "replace", "--data-dir", &data_dir]);
    let mut limited = Command::new("prlimit");
    limited
        .arg("--nofile=100:200")
        .arg(replace.get_program())
        .args(replace.get_args());
    limited.env("HOME", cluster.home());
    let replaced = limited.output().expect("prlimit runs");
    assert!(replaced.status.success(), "{replaced:?}");

    // The soft limit is raised to the hard one: 36 connections, and 128 descriptors for all else.
    let mut clients: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(service).expect("the system accepts"))
        .collect();
    let mut last = clients.pop().expect("60 of them");
    last.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .expect("it is open");
    last.set_read_timeout(Some(Duration::from_secs(2)))
        .expect("a socket");
    let before = ticks(cluster.balancer_pid());
    let waiting = last.read(&mut [0; 1]).expect_err("its turn has not come");
    assert_eq!(waiting.kind(), ErrorKind::WouldBlock);
    let spent = ticks(cluster.balancer_pid()) - before;
    println!("processor time of 2 s at the limit: {} ms", spent * 10);
    assert!(spent < 10, "{spent} ticks");
    let status = cluster.run(&["status", "--data-dir", &data_dir]);
    // Each thread looks on its own whether there is room for one more.
    let threads = thread::available_parallelism().expect("of this machine").get();
    let most = 36..36 + threads;
    assert!(most.contains(&connections(&status.stdout)), "{status:?}");
    assert!(status.stdout.contains("at the limit of open files"), "{status:?}");

    drop(clients);
    let mut answer = String::new();
    last.set_read_timeout(Some(LIMIT)).expect("a socket");
    last.read_to_string(&mut answer).expect("its turn comes");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let log = fs::read_to_string(cluster.data_dir().join("balancer/log")).expect("the log");
    assert_eq!(log.matches("at the limit of open files").count(), 1, "{log}");
    cluster.stop();
}

#[test]
fn a_killed_balancer_is_back_at_once_and_refuses_nobody() {
    let (cluster, kubectl) = start();
    let service = http::cluster_ip(&kubectl, "nginx-deployment");
    let mut worst = Duration::ZERO;
    for _ in 0..3 {
        let old = cluster.balancer_pid();
        kill(Pid::from_raw(old), Signal::SIGKILL).expect("it runs");
        let killed = Instant::now();
        let answer = http::get(service).expect("a client waits and is not refused");
        let gap = killed.elapsed();
        assert_eq!(answer.status, 200);
        println!("from kill to answer: {gap:?}");
        worst = worst.max(gap);
        assert_ne!(cluster.balancer_pid(), old);
        // One that dies again and again is not started again at once.
        let traffic = Traffic::gentle(service);
        traffic.flows(500);
        traffic.finish().assert_clean();
    }
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    cluster.stop();
}
