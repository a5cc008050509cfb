//! What is counted, and where.

use super::*;

const POST: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\nhalfhalf";

/// Counts of the route's clients, of the route, and of these servers' endpoints (none for one that is forgotten).
fn counts(balancer: &Balancer, servers: &[&Server]) -> (Total, Total, Vec<Total>) {
    let [counts] = &balancer.datapath.counts()[..] else {
        panic!("one route")
    };
    let of = |server: &&Server| {
        let mut endpoints = counts.endpoints.iter();
        let found = endpoints.find(|(endpoint, _)| endpoint.addr == server.addr);
        found.map_or_else(Total::default, |(_, total)| total.clone())
    };
    (
        counts.clients.clone(),
        counts.all.clone(),
        servers.iter().map(of).collect(),
    )
}

fn responses(total: &Total) -> u64 {
    total.responses().iter().sum()
}

/// Waits until the balancer has noticed that its client is gone.
fn until_closed(balancer: &Balancer) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while counts(balancer, &[]).0.open() > 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "the connection is open still"
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_moved_connection_counts_at_both_endpoints_and_once_for_the_clients() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    let mut served = a.accept();
    for request in [GET, POST] {
        client.say(request);
        served.hear(request);
        served.say(OK);
        client.hear(OK);
    }
    let (clients, _, ends) = counts(&balancer, &[&a]);
    assert_eq!((clients.open(), ends[0].open()), (1, 1));
    balancer.route(&[&b]);
    balancer.until_drained(&a);
    client.say(GET);
    let mut served = b.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    drop(client);
    until_closed(&balancer);
    let (clients, all, ends) = counts(&balancer, &[&a, &b]);
    assert_eq!((clients[Counter::Opened], clients[Counter::Failed]), (1, 0));
    let of = |counter| (all[counter], ends[0][counter], ends[1][counter]);
    assert_eq!(of(Counter::Opened), (2, 1, 1));
    assert_eq!(of(Counter::Closed), (2, 1, 1));
    assert_eq!(of(Counter::Requests), (3, 2, 1));
    assert_eq!(of(Counter::Moved), (1, 1, 0));
    assert_eq!(
        (all[Counter::Cut], all[Counter::Failed], all[Counter::Replays]),
        (0, 0, 0)
    );
    let (get, post, ok) = (GET.len() as u64, POST.len() as u64, OK.len() as u64);
    assert_eq!(of(Counter::Received), (2 * get + post, get + post, get));
    assert_eq!(of(Counter::Sent), (3 * ok, 2 * ok, ok));
    assert_eq!((responses(&ends[0]), responses(&ends[1])), (2, 1));
}

#[test]
fn the_route_keeps_the_counts_of_endpoints_that_are_gone() {
    let (a, b) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = a.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    balancer.until_installed(&[&b]);
    balancer.until_drained(&a);
    balancer.datapath.forget_counts(|_| true);
    assert_eq!(
        counts(&balancer, &[&a]).2[0][Counter::Requests],
        1,
        "it may come back"
    );
    // A thread that tells of another table has let go of the connection's place, too.
    balancer.until_installed(&[&b]);
    balancer.datapath.forget_counts(|_| false);
    assert_eq!(counts(&balancer, &[&a]).2[0], Total::default(), "it is kept");
    let (_, all, ends) = counts(&balancer, &[&a]);
    assert_eq!((all[Counter::Requests], ends[0][Counter::Requests]), (1, 0));
}

#[test]
fn a_response_time_ends_with_the_head_of_the_final_response() {
    let a = Server::new();
    let balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    client.say(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let mut served = a.accept();
    served.hear(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    served.say(b"HTTP/1.1 100 Continue\r\n\r\n");
    client.hear(b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(responses(&counts(&balancer, &[]).1), 0);
    client.say(b"body");
    served.hear(b"body");
    served.say(&OK[..OK.len() - 1]);
    client.hear(&OK[..OK.len() - 1]);
    let (_, all, _) = counts(&balancer, &[]);
    assert_eq!((responses(&all), all[Counter::Requests]), (1, 1));
    assert!(all[Counter::Waited] < 10_000_000);
}

#[test]
fn an_upgraded_connection_counts_as_bytes_from_then_on() {
    let a = Server::new();
    let balancer = Balancer::to(&[&a]);
    let mut client = balancer.client();
    let upgrade = b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    client.say(upgrade);
    let mut served = a.accept();
    served.hear(upgrade);
    served.say(switch);
    client.hear(switch);
    client.say(GET);
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    let (_, all, _) = counts(&balancer, &[]);
    assert_eq!((all[Counter::Requests], responses(&all)), (1, 0));
    assert_eq!(all[Counter::Received], (upgrade.len() + GET.len()) as u64);
    assert_eq!(all[Counter::Sent], (switch.len() + OK.len()) as u64);
}

#[test]
fn failed_connects_replays_and_cuts_count_where_they_happen() {
    let (dead, dying, alive) = (free_address(), Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&dying]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = dying.accept();
    served.hear(GET);
    // Nobody listens at the first, and the second breaks off: the third gets the request.
    let endpoints = [dead, alive.addr].map(|addr| Endpoint {
        addr,
        owner: "pod".into(),
    });
    balancer.apply(endpoints.to_vec());
    served.reset();
    let mut served = alive.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    let (_, _, ends) = counts(&balancer, &[&dying, &alive]);
    let of = |counter| (ends[0][counter], ends[1][counter]);
    assert_eq!(of(Counter::Replays), (1, 0));
    assert_eq!(of(Counter::Cut), (0, 0), "the client has noticed nothing");
    assert_eq!(of(Counter::Requests), (1, 1));
    // Whichever the third was: one of the next two finds the dead one, if none has before.
    for _ in 0..2 {
        let mut client = balancer.client();
        client.say(GET);
        alive.accept().hear(GET);
    }
    assert!(counts(&balancer, &[]).1[Counter::Failed] >= 1);
}

#[test]
fn a_client_for_whom_there_is_no_backend_counts_as_refused() {
    let settings = Settings {
        threads: 1,
        hold: Duration::from_millis(10),
        ..Settings::default()
    };
    let balancer = Balancer::with(settings, Protocol::Detect, &[]);
    balancer.client().is_refused();
    until_closed(&balancer);
    let (clients, all, _) = counts(&balancer, &[]);
    assert_eq!((clients[Counter::Opened], clients[Counter::Failed]), (1, 1));
    assert_eq!(all, Total::default());
}
