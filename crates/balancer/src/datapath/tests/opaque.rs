//! Connections that are bytes.

use std::thread;

use super::*;

#[test]
fn bytes_pass_both_ways_and_half_closes_with_them() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(b"\x16\x03hello");
    let mut served = server.accept();
    served.hear(b"\x16\x03hello");
    client.half_close();
    served.hear_end();
    served.say(b"answer");
    client.hear(b"answer");
    drop(served);
    client.hear_end();
}

#[test]
fn a_server_may_speak_first() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    let mut served = server.accept();
    served.say(b"220 ready\r\n");
    client.hear(b"220 ready\r\n");
    // No longer looked for, whatever it looks like.
    client.say(GET);
    served.hear(GET);
    served.say(b"500 what?\r\n");
    client.hear(b"500 what?\r\n");
}

#[test]
fn a_client_that_only_listens_is_served() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.half_close();
    let mut served = server.accept();
    served.hear_end();
    served.say(b"12:00\n");
    drop(served);
    client.hear(b"12:00\n");
    client.hear_end();
}

#[test]
fn http_on_an_opaque_port_is_bytes() {
    let server = Server::new();
    let balancer = Balancer::with(Settings::default(), Protocol::Opaque, &[&server]);
    let mut client = balancer.client();
    client.say(&[GET, GET].concat());
    let mut served = server.accept();
    served.hear(&[GET, GET].concat());
}

#[test]
fn slow_readers_hold_the_other_side_back_and_lose_nothing() {
    const SIZE: usize = 16 << 20;
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(b"\0");
    let mut served = server.accept();
    served.hear(b"\0");
    let pattern: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect();
    // Nobody reads until both have written as much as goes in: threads, since writing blocks.
    let (mut up, mut down) = (
        client.stream.try_clone().unwrap(),
        served.stream.try_clone().unwrap(),
    );
    thread::scope(|scope| {
        scope.spawn(|| up.write_all(&pattern).unwrap());
        scope.spawn(|| down.write_all(&pattern).unwrap());
        for end in [&mut client, &mut served] {
            let mut heard = vec![0; SIZE];
            end.stream.read_exact(&mut heard).unwrap();
            assert!(heard == pattern);
        }
    });
}

#[test]
fn a_reset_is_passed_on() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(b"\0");
    let mut served = server.accept();
    served.hear(b"\0");
    served.reset();
    let error = client.stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(!server.has_caller());
}
