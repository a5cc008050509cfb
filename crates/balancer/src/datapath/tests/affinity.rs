//! Session affinity over real sockets: clients with addresses of their own.

use std::net::{IpAddr, Ipv4Addr};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::*;

/// Answers each request with its number, and closes after each answer without a word of warning.
fn numbered(number: usize) -> Server {
    let server = Server::new();
    let listener = server.listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut served = Client::new(stream);
                if served.stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
                    served.say(answer(number).as_bytes());
                }
            });
        }
    });
    server
}

fn answer(number: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}")
}

fn client_at(ip: u8, balancer: &Balancer) -> Client {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(
        &fd,
        &SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 77, 0, ip)), 0),
    )
    .unwrap();
    connect(&fd, &balancer.addr).unwrap();
    Client::new(fd.into())
}

/// One exchange; the server's number.
fn ask(client: &mut Client) -> usize {
    client.say(GET);
    let mut heard = vec![0; answer(0).len()];
    client.stream.read_exact(&mut heard).unwrap();
    usize::from(heard[heard.len() - 1] - b'0')
}

fn sticky(servers: &[&Server]) -> Balancer {
    let mut balancer = Balancer::to(&[]);
    balancer.spec.affinity = Some(Duration::from_secs(60));
    balancer.route(servers);
    balancer
}

#[test]
fn clients_stay_with_their_server_as_long_as_it_is_there() {
    let servers: Vec<_> = (0..5).map(numbered).collect();
    let all: Vec<_> = servers.iter().collect();
    let mut balancer = sticky(&all[..3]);
    let map =
        |balancer: &Balancer| -> Vec<usize> { (1..40).map(|ip| ask(&mut client_at(ip, balancer))).collect() };
    let before = map(&balancer);
    assert!((0..3).all(|server| before.contains(&server)), "{before:?}");
    assert_eq!(map(&balancer), before);
    balancer.until_installed(&all);
    assert_eq!(map(&balancer), before, "new servers take no clients from others");
    balancer.until_installed(&all[1..]);
    let after = map(&balancer);
    for (before, after) in before.iter().zip(&after) {
        assert!(*before == 0 && *after != 0 || before == after, "{before} {after}");
    }
    balancer.until_installed(&all);
    assert_eq!(map(&balancer), after, "whoever has moved stays");
}

#[test]
fn a_connection_that_changes_its_backend_keeps_its_server() {
    let servers: Vec<_> = (0..4).map(numbered).collect();
    let balancer = sticky(&servers.iter().collect::<Vec<_>>());
    for ip in 1..20 {
        let mut client = client_at(ip, &balancer);
        let server = ask(&mut client);
        // The server has closed, so each of these takes a new backend connection.
        for _ in 0..3 {
            assert_eq!(ask(&mut client), server);
        }
    }
}

#[test]
fn an_affinity_that_is_switched_on_and_off_holds_from_the_next_connection_on() {
    let servers: Vec<_> = (0..2).map(numbered).collect();
    let all: Vec<_> = servers.iter().collect();
    let mut balancer = Balancer::to(&all);
    let spread = |balancer: &Balancer| {
        let seen: Vec<_> = (0..20).map(|_| ask(&mut client_at(9, balancer))).collect();
        seen.contains(&0) && seen.contains(&1)
    };
    assert!(spread(&balancer));
    balancer.spec.affinity = Some(Duration::from_secs(60));
    balancer.until_installed(&all);
    assert!(!spread(&balancer));
    balancer.spec.affinity = None;
    balancer.until_installed(&all);
    assert!(spread(&balancer));
}
