//! The negative control: the same judges on a balancer that lets requests drop. Four nginx behind haproxy in TCP mode are
//! replaced one by one the usual way: taken out of the configuration, 3 s of hope, SIGTERM.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::traffic::Verdict;
use crate::{Background, Traffic, programs};

/// One nginx of its own folder, in the foreground.
struct Server {
    name: String,
    port: u16,
    nginx: Background,
}

/// A port that is free now. Another program may take it before it is used: then the test fails and says so.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound listener").port()
}

impl Server {
    fn start(folder: &Path, number: usize) -> Self {
        let (name, port) = (format!("s{number}"), free_port());
        let home = folder.join(&name);
        fs::create_dir(&home).expect("a folder in our own folder");
        let config = home.join("nginx.conf");
        // By default nginx announces every 1,000th close, which would hide the fault.
        let text = format!(
            "daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n\
             events {{}}\nhttp {{ access_log off; keepalive_requests 1000000;\n\
             client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};\n\
             uwsgi_temp_path {home}; scgi_temp_path {home};\n\
             server {{ listen 127.0.0.1:{port}; return 200 'hello'; }} }}\n",
            home = home.display()
        );
        fs::write(&config, text).expect("a file in our own folder");
        let mut command = Command::new(programs::find("nginx"));
        command
            .arg("-e")
            .arg(home.join("error.log"))
            .arg("-c")
            .arg(&config);
        let server = Self {
            name,
            port,
            nginx: Background::start(&mut command),
        };
        answers(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        server
    }
}

/// Waits until something listens there.
fn answers(address: SocketAddr) {
    for _ in 0..1_000_000 {
        if std::net::TcpStream::connect(address).is_ok() {
            return;
        }
        thread::yield_now();
    }
    panic!("nothing listens on {address}");
}

fn write_config(folder: &Path, front: u16, servers: &[Server]) {
    let mut text = format!(
        "global\n  nbthread 2\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend f\n  bind 127.0.0.1:{front}\n  default_backend b\nbackend b\n"
    );
    for server in servers {
        text.push_str(&format!("  server {} 127.0.0.1:{}\n", server.name, server.port));
    }
    fs::write(folder.join("haproxy.cfg"), text).expect("a file in our own folder");
}

/// Replaces the four under load; what the judges saw.
///
/// # Panics
/// If haproxy or nginx does not run.
pub fn roll() -> Verdict {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let front = free_port();
    let mut servers: Vec<Server> = (0..4)
        .map(|number| Server::start(folder.path(), number))
        .collect();
    write_config(folder.path(), front, &servers);
    let mut command = Command::new(programs::find("haproxy"));
    command.arg("-W").arg("-f").arg(folder.path().join("haproxy.cfg"));
    let haproxy = Background::start(&mut command);
    let front_address = SocketAddr::from((Ipv4Addr::LOCALHOST, front));
    answers(front_address);
    // How haproxy spreads them is chance: with 32 the sum of all drops was seen to be as low as 30.
    let traffic = Traffic::with_connections(front_address, 128);
    traffic.flows(100);
    for number in 4..8 {
        let old = servers.remove(0);
        servers.push(Server::start(folder.path(), number));
        write_config(folder.path(), front, &servers);
        // haproxy's master reads its configuration again, as its reload does.
        haproxy.signal(Signal::SIGUSR2);
        // The naive way is a fixed wait; this is what is being shown.
        thread::sleep(Duration::from_secs(3));
        old.nginx.end(Signal::SIGTERM);
    }
    traffic.flows(100);
    let verdict = traffic.finish();
    haproxy.end(Signal::SIGTERM);
    for server in servers {
        server.nginx.end(Signal::SIGTERM);
    }
    verdict
}
