//! HTTP/1 connections without any change of backends.

use super::*;

/// A server with one client that has made one exchange.
fn keep_alive() -> (Server, Balancer, Client, Client) {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = server.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    (server, balancer, client, served)
}

#[test]
fn requests_in_a_row_use_one_connection() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    for _ in 0..50 {
        client.say(GET);
        served.hear(GET);
        served.say(OK);
        client.hear(OK);
    }
}

#[test]
fn a_head_in_pieces_is_one_head() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    for byte in GET.chunks(1) {
        client.say(byte);
    }
    served.hear(GET);
    for byte in OK.chunks(1) {
        served.say(byte);
    }
    client.hear(OK);
}

#[test]
fn pipelined_requests_go_one_at_a_time() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    let second = b"POST /2 HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";
    client.say(&[GET, second, GET].concat());
    served.hear(GET);
    served.stream.set_nonblocking(true).unwrap();
    assert!(
        served.stream.read(&mut [0; 1]).is_err(),
        "the second request came before the first answer"
    );
    served.stream.set_nonblocking(false).unwrap();
    served.say(OK);
    served.hear(second);
    served.say(OK);
    served.hear(GET);
    served.say(OK);
    client.hear(&[OK, OK, OK].concat());
}

#[test]
fn chunks_with_extensions_and_trailers_both_ways() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    let chunks = b"5;a=b\r\nhello\r\n0\r\nSum: 1\r\n\r\n";
    let request = [
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        &chunks[..],
    ]
    .concat();
    let response = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        &chunks[..],
    ]
    .concat();
    for _ in 0..2 {
        client.say(&request);
        served.hear(&request);
        served.say(&response);
        client.hear(&response);
    }
    client.say(GET);
    served.hear(GET);
}

#[test]
fn head_has_no_body_whatever_its_length_says() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    let head = b"HEAD / HTTP/1.1\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    client.say(head);
    served.hear(head);
    served.say(answer);
    client.hear(answer);
    client.say(GET);
    served.hear(GET);
}

#[test]
fn a_continue_comes_before_the_body() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    let head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.say(head);
    served.hear(head);
    served.say(b"HTTP/1.1 100 Continue\r\n\r\n");
    client.hear(b"HTTP/1.1 100 Continue\r\n\r\n");
    client.say(b"body");
    served.hear(b"body");
    served.say(OK);
    client.hear(OK);
    client.say(GET);
    served.hear(GET);
}

#[test]
fn an_announced_close_reaches_the_client() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    client.say(GET);
    served.hear(GET);
    served.say(answer);
    client.hear(answer);
    client.hear_end();
    served.hear_end();
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    client.say(GET);
    served.hear(GET);
    served.say(b"HTTP/1.1 200 OK\r\n\r\nuntil");
    client.hear(b"HTTP/1.1 200 OK\r\n\r\nuntil");
    served.say(b" the end");
    drop(served);
    client.hear(b" the end");
    client.hear_end();
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    client.say(GET);
    client.half_close();
    served.hear(GET);
    served.hear_end();
    served.say(OK);
    client.hear(OK);
    client.hear_end();
}

#[test]
fn an_early_answer_survives_the_body_that_nobody_reads() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    let head = b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n";
    let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    client.say(head);
    served.hear(head);
    served.say(answer);
    client.hear(&answer[..20]);
    // The server is gone with the body unread; the client goes on sending before it reads.
    served.reset();
    client.say(&[0; 100_000]);
    client.hear(&answer[20..]);
    client.hear_end();
}

#[test]
fn what_follows_an_early_answer_is_not_lost_without_a_close() {
    let (_server, _balancer, mut client, mut served) = keep_alive();
    let head = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
    client.say(head);
    served.hear(head);
    served.say(OK);
    client.hear(OK);
    client.say(b"body");
    client.say(GET);
    served.hear(b"body");
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn a_backend_that_closes_between_messages_is_replaced() {
    let (server, _balancer, mut client, served) = keep_alive();
    drop(served);
    client.say(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    let mut served = server.accept();
    served.hear(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    served.say(OK);
    client.hear(OK);
}

#[test]
fn a_stale_answer_is_not_the_next_one() {
    let (server, _balancer, mut client, mut served) = keep_alive();
    served.say(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    served.hear_end();
    client.say(GET);
    let mut served = server.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn a_second_answer_to_one_request_is_not_the_next_one() {
    let (server, _balancer, mut client, mut served) = keep_alive();
    client.say(GET);
    served.hear(GET);
    served.say(&[OK, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"].concat());
    client.hear(OK);
    client.say(GET);
    let mut served = server.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn requests_that_servers_read_differently_are_never_moved() {
    let (server, mut balancer, mut client, mut served) = keep_alive();
    let smuggled = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n";
    client.say(smuggled);
    served.hear(smuggled);
    balancer.route(&[]);
    served.say(OK);
    client.hear(OK);
    client.say(GET);
    served.hear(GET);
    assert_eq!(balancer.backend(&server).state, BackendState::Draining);
}

#[test]
fn a_declared_http_port_waits_for_the_client() {
    let server = Server::new();
    let balancer = Balancer::with(Settings::default(), Protocol::Http1, &[&server]);
    let mut client = balancer.client();
    client.say(&GET[..5]);
    assert!(!server.has_caller());
    client.say(&GET[5..]);
    let mut served = server.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn a_backend_that_said_too_much_is_left_whatever_happens_to_the_route() {
    let a = Server::new();
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    let head = b"POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\nhalf";
    client.say(head);
    let mut served = a.accept();
    served.hear(head);
    served.say(&[OK, OK].concat());
    client.hear(OK);
    balancer.until_installed(&[&a]);
    client.say(b"half");
    served.hear(b"half");
    served.hear_end();
    client.say(GET);
    let mut served = a.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

/// Whatever part of the answer the client's socket has not taken when the answer is complete.
#[test]
fn a_half_closed_client_that_reads_late_gets_all_of_its_answer() {
    const STEP: usize = 32 << 10;
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    for size in (1..).map(|steps| steps * STEP) {
        let mut client = balancer.client();
        client.say(GET);
        client.half_close();
        let mut served = server.accept();
        served.hear(GET);
        let serving = std::thread::spawn(move || {
            served.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes());
            served.say(&vec![b'x'; size]);
            served
        });
        // Beyond what sockets hold, the answer goes on only as the client reads it.
        let patience = std::time::Instant::now() + Duration::from_millis(300);
        let is_open = || balancer.backend(&server).open > 0;
        while is_open() && std::time::Instant::now() < patience {
            std::thread::yield_now();
        }
        let fits = !is_open();
        let mut answer = Vec::new();
        client.stream.read_to_end(&mut answer).unwrap();
        assert!(answer.len() > size, "{} of more than {size} bytes", answer.len());
        serving.join().unwrap();
        if !fits {
            return;
        }
    }
}
