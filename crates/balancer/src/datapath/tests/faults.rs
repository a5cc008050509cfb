//! Backends that refuse, vanish or are not there, and listeners that cannot be.

use super::*;

#[test]
fn a_refused_connection_is_tried_elsewhere() {
    let server = Server::new();
    let mut balancer = Balancer::to(&[]);
    let dead = Endpoint {
        addr: free_address(),
        owner: "dead".into(),
    };
    let dead2 = Endpoint {
        addr: free_address(),
        owner: "dead".into(),
    };
    balancer.apply(vec![dead, server.endpoint("pod"), dead2]);
    for _ in 0..6 {
        let mut client = balancer.client();
        client.say(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
        let mut served = server.accept();
        served.hear(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
        served.say(OK);
        client.hear(OK);
    }
}

#[test]
fn without_a_backend_the_client_waits_for_one() {
    let server = Server::new();
    let mut balancer = Balancer::to(&[]);
    let mut http = balancer.client();
    http.say(GET);
    let mut opaque = balancer.client();
    opaque.say(b"\0");
    balancer.route(&[&server]);
    let (mut one, mut two) = (server.accept(), server.accept());
    let mut first = [0; 1];
    one.stream.peek(&mut first).unwrap();
    if first == [0] {
        std::mem::swap(&mut one, &mut two);
    }
    one.hear(GET);
    one.say(OK);
    http.hear(OK);
    two.hear(b"\0");
}

#[test]
fn a_server_that_comes_up_late_is_waited_for() {
    let addr = free_address();
    let mut balancer = Balancer::to(&[]);
    balancer.apply(vec![Endpoint {
        addr,
        owner: "pod".into(),
    }]);
    let mut client = balancer.client();
    client.say(GET);
    let listener = TcpListener::bind(addr).unwrap();
    let server = Server { addr, listener };
    let mut served = server.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn the_wait_for_a_backend_ends_with_a_refusal() {
    let settings = Settings {
        threads: 1,
        hold: Duration::from_millis(100),
        ..Settings::default()
    };
    let mut balancer = Balancer::with(settings, Protocol::Detect, &[]);
    let mut client = balancer.client();
    client.say(GET);
    client.is_refused();
    balancer.client().is_refused();
    balancer.apply(vec![Endpoint {
        addr: free_address(),
        owner: "dead".into(),
    }]);
    let mut client = balancer.client();
    client.say(GET);
    client.is_refused();
}

#[test]
fn nobody_waits_where_no_backend_is_to_be_expected() {
    let settings = Settings {
        threads: 2,
        // Longer than anything in this test may take.
        hold: PATIENCE * 6,
        ..Settings::default()
    };
    let mut balancer = Balancer::with(settings, Protocol::Detect, &[]);
    let mut silent = balancer.client();
    let mut asking = balancer.client();
    asking.say(GET);
    balancer.spec.expecting = false;
    balancer.route(&[]);
    // Those who waited are told at once, and those who come.
    silent.is_refused();
    asking.is_refused();
    balancer.client().is_refused();
    let server = Server::new();
    balancer.until_installed(&[&server]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = server.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn an_unanswered_get_is_sent_again() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(GET);
    for _ in 0..2 {
        let mut served = server.accept();
        served.hear(GET);
        served.reset();
    }
    let mut served = server.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn no_request_is_sent_more_than_three_times() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(GET);
    for _ in 0..3 {
        let mut served = server.accept();
        served.hear(GET);
    }
    client.is_refused();
    assert!(!server.has_caller());
}

#[test]
fn a_post_is_never_sent_again() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    for request in [
        &b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PATCH / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = balancer.client();
        client.say(request);
        let mut served = server.accept();
        served.hear(request);
        drop(served);
        client.is_refused();
        assert!(!server.has_caller());
    }
}

/// With its body, as far as it has come; the rest follows.
#[test]
fn an_unanswered_put_is_sent_again_if_it_is_short() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(b"PUT / HTTP/1.1\r\nContent-Length: 8\r\n\r\nhalf");
    let mut served = server.accept();
    served.hear(b"PUT / HTTP/1.1\r\nContent-Length: 8\r\n\r\nhalf");
    served.reset();
    let mut served = server.accept();
    served.hear(b"PUT / HTTP/1.1\r\nContent-Length: 8\r\n\r\nhalf");
    client.say(b"half");
    served.hear(b"half");
    served.say(OK);
    client.hear(OK);
    let long = [
        b"PUT / HTTP/1.1\r\nContent-Length: 16384\r\n\r\n",
        &[b'x'; 16384][..],
    ]
    .concat();
    client.say(&long);
    served.hear(&long);
    drop(served);
    client.is_refused();
    assert!(!server.has_caller());
}

#[test]
fn an_answer_once_begun_is_never_begun_again() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    client.say(GET);
    let mut served = server.accept();
    served.hear(GET);
    served.say(&OK[..5]);
    client.hear(&OK[..5]);
    drop(served);
    client.hear_end();
    assert!(!server.has_caller());
}

#[test]
fn a_silent_connection_survives_its_backend() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let mut client = balancer.client();
    drop(server.accept());
    let mut served = server.accept();
    client.say(GET);
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
}

#[test]
fn addresses_that_cannot_be_had_are_reported_and_tried_again() {
    let server = Server::new();
    let (sender, _changes) = channel();
    let mut datapath =
        Datapath::start(&Settings::default(), move || sender.send(()).unwrap_or_default()).unwrap();
    let taken = TcpListener::bind(free_address()).unwrap();
    let addr = taken.local_addr().unwrap();
    let route = |name: &str| RouteSpec {
        name: name.into(),
        listen: vec![addr, SocketAddr::from(([192, 0, 2, 1], 1))],
        protocol: Protocol::Detect,
        endpoints: vec![server.endpoint("pod")],
        ..RouteSpec::default()
    };
    datapath.apply(&[route("one")]);
    let errors: Vec<_> = datapath
        .listeners()
        .into_iter()
        .map(|listener| listener.error)
        .collect();
    assert_eq!(errors, [Some(BindError::InUse), Some(BindError::NotLocal)]);
    drop(taken);
    datapath.apply(&[route("one"), route("two")]);
    let listeners = datapath.listeners();
    assert!(
        listeners
            .iter()
            .any(|listener| listener.addr == addr && listener.error.is_none())
    );
    let second = listeners
        .iter()
        .find(|listener| &*listener.route == "two")
        .unwrap();
    assert_eq!(second.error, Some(BindError::Taken("one".into())));
    let mut client = Client::new(TcpStream::connect(addr).unwrap());
    client.say(b"\0");
    server.accept().hear(b"\0");
}

#[test]
fn an_address_that_was_given_goes_before_one_that_is_claimed_and_all_that_lose_it_are_told() {
    let (server, other) = (Server::new(), Server::new());
    let mut balancer = Balancer::to(&[&server]);
    let addr = balancer.addr;
    let claim = |name: &str| RouteSpec {
        name: name.into(),
        also: vec![addr],
        endpoints: vec![other.endpoint("pod")],
        ..RouteSpec::default()
    };
    let owner = RouteSpec {
        name: "owner".into(),
        listen: vec![addr],
        endpoints: vec![server.endpoint("pod")],
        ..RouteSpec::default()
    };
    balancer.datapath.apply(&[claim("a"), claim("b"), owner]);
    let listeners = balancer.datapath.listeners();
    let shown: Vec<_> = listeners
        .into_iter()
        .map(|listener| (listener.route.to_string(), listener.error))
        .collect();
    let lost = Some(BindError::Taken("owner".into()));
    assert_eq!(
        shown,
        [
            ("owner".into(), None),
            ("a".into(), lost.clone()),
            ("b".into(), lost)
        ]
    );
    let mut client = balancer.client();
    client.say(GET);
    let mut served = server.accept();
    served.hear(GET);
    served.say(OK);
    client.hear(OK);
    balancer.datapath.apply(&[claim("a"), claim("b")]);
    balancer.until_drained(&server);
    client.say(GET);
    other.accept().hear(GET);
}

#[test]
fn a_route_that_is_gone_refuses() {
    let server = Server::new();
    let mut balancer = Balancer::to(&[&server]);
    balancer.datapath.apply(&[]);
    balancer.until_drained(&server);
    assert!(TcpStream::connect(balancer.addr).is_err());
}

#[test]
fn a_route_that_comes_back_at_once_listens_again() {
    let server = Server::new();
    let mut balancer = Balancer::to(&[&server]);
    for _ in 0..50 {
        balancer.datapath.apply(&[]);
        // Panics if the address cannot be had.
        balancer.route(&[&server]);
    }
    let mut client = balancer.client();
    client.say(GET);
    server.accept().hear(GET);
}
