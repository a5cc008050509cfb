//! What a connection may do after messages of every kind: change its backend, stay with it, or end.

use super::*;

/// Requests with their answers, the last of which decides.
type Exchanges<'a> = [(&'a str, &'a str)];

/// A client at one backend, after these exchanges, when the other backend is the only one offered.
fn drained_after(exchanges: &Exchanges<'_>) -> (Balancer, [Server; 2], Client, Client) {
    let servers = [Server::new(), Server::new()];
    let mut balancer = Balancer::to(&[&servers[0]]);
    let mut client = balancer.client();
    let mut served = servers[0].accept();
    for (request, answer) in exchanges {
        client.say(request.as_bytes());
        served.hear(request.as_bytes());
        served.say(answer.as_bytes());
        client.hear(answer.as_bytes());
    }
    balancer.until_installed(&[&servers[1]]);
    (balancer, servers, client, served)
}

fn moves_after(exchanges: &Exchanges<'_>) {
    println!("{exchanges:?}");
    let (_balancer, [_, other], mut client, mut served) = drained_after(exchanges);
    served.hear_end();
    client.say(GET);
    let mut served = other.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

fn stays_after(exchanges: &Exchanges<'_>) {
    println!("{exchanges:?}");
    let (balancer, [first, other], mut client, mut served) = drained_after(exchanges);
    client.say(GET);
    served.hear(GET);
    served.say(b"anything");
    client.hear(b"anything");
    assert!(!other.has_caller());
    assert_eq!(balancer.backend(&first).open, 1);
}

fn ends_after(exchanges: &Exchanges<'_>) {
    println!("{exchanges:?}");
    let (_balancer, [_, other], mut client, mut served) = drained_after(exchanges);
    client.hear_end();
    served.hear_end();
    assert!(!other.has_caller());
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";

#[test]
fn connections_move_behind_whole_messages() {
    for exchange in [
        (
            OLD,
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
        ),
        (
            OLD,
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
        ),
        (
            ASK,
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
        ),
        (ASK, "HTTP/1.1 204 No Content\r\n\r\n"),
        (ASK, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
        (ASK, "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
        (
            ASK,
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"ntlm\"\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            ASK,
            "HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "HEAD / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        ),
        (
            "CONNECT a:1 HTTP/1.1\r\n\r\n",
            "HTTP/1.1 405 No\r\nContent-Length: 1\r\n\r\na",
        ),
        (
            "OPTIONS * HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        moves_after(&[exchange]);
        moves_after(&[(ASK, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), exchange]);
    }
}

#[test]
fn connections_stay_where_they_mean_more_than_messages() {
    for exchange in [
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
        (ASK, "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (
            ASK,
            "HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            ASK,
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\", Negotiate\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nAuthorization: Negotiate YII=\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nProxy-Authorization: ntlm TlR=\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        stays_after(&[exchange]);
    }
}

#[test]
fn connections_stay_behind_answers_that_clients_may_read_differently() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "what?\r\n",
    ] {
        stays_after(&[(ASK, answer)]);
    }
}

#[test]
fn connections_end_where_one_side_says_so() {
    for exchange in [
        (
            ASK,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
        ),
        (
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        ),
        (
            "GET / HTTP/1.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        ),
        (OLD, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
        (ASK, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"),
        (
            "HEAD / HTTP/1.0\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n",
        ),
    ] {
        ends_after(&[exchange]);
    }
}

#[test]
fn both_directions_are_live_behind_a_continue() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    let head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.say(head);
    let mut served = a.accept();
    served.hear(head);
    served.say(b"HTTP/1.1 100 Continue\r\n\r\n");
    client.hear(b"HTTP/1.1 100 Continue\r\n\r\n");
    client.say(b"3\r\none\r\n");
    served.hear(b"3\r\none\r\n");
    served.say(
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
    );
    client.hear(
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
    );
    balancer.until_installed(&[&b]);
    client.say(b"3\r\ntwo\r\n");
    served.hear(b"3\r\ntwo\r\n");
    served.say(b"3\r\ntwo\r\n");
    client.hear(b"3\r\ntwo\r\n");
    client.say(b"0\r\n\r\n");
    served.hear(b"0\r\n\r\n");
    served.say(b"0\r\n\r\n");
    client.hear(b"0\r\n\r\n");
    served.hear_end();
    client.say(GET);
    b.accept().hear(GET);
}

#[test]
fn requests_sent_ahead_of_a_half_close_are_all_answered() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(&GET.repeat(3));
    client.half_close();
    let mut served = server.accept();
    for _ in 0..3 {
        served.hear(GET);
        served.say(OK);
    }
    client.hear(&OK.repeat(3));
    client.hear_end();
    served.hear_end();
}

#[test]
fn a_client_that_leaves_instead_of_sending_the_rest_frees_the_backend() {
    let server = Server::new();
    let mut balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    let head = b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\npart";
    client.say(head);
    let mut served = server.accept();
    served.hear(head);
    served.say(OK);
    client.hear(OK);
    drop(client);
    served.hear_end();
    balancer.route(&[]);
    // The server keeps its end open.
    balancer.until_drained(&server);
}

#[test]
fn an_early_answer_is_drained_for_two_seconds_at_most() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    let head = b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n";
    let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    client.say(head);
    let mut served = server.accept();
    served.hear(head);
    served.say(answer);
    client.hear(answer);
    client.hear_end();
    // The backend does not have to wait for it.
    served.hear_end();
    let begun = std::time::Instant::now();
    while client.stream.write_all(&[0; 65536]).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it is drained without an end");
    }
    assert!(begun.elapsed() > Duration::from_secs(1));
}
