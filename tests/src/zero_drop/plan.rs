//! The test plan as data: which traffic, on which server, while what happens, how often, and what is promised.

use load::Protocol;

use super::event::Event;
use super::scenario::{Promise, Scenario};
use super::server::{Pods, Server};
use super::shape::Shape;

/// Those of row 3 that a server with a single page can serve.
const PLAIN: &[Shape] = &[Shape::KeepAlive, Shape::Close, Shape::Idle(8), Shape::Idlex(8)];

/// All of row 3.
const ALL: &[Shape] = &[
    Shape::KeepAlive,
    Shape::Close,
    Shape::Slow,
    Shape::Drip,
    Shape::Upload,
    Shape::Idle(8),
    Shape::Idlex(8),
    Shape::Post,
];

const WRK: &[Shape] = &[Shape::Wrk(32), Shape::WrkClose];
const BRISK: &[Shape] = &[Shape::Wrk(32), Shape::KeepAlive, Shape::Close];
const MIXED: &[Shape] = &[Shape::KeepAlive, Shape::Close, Shape::Slow, Shape::Post];

/// A roll of four pods in which nothing may fail.
const fn row(
    row: u8,
    server: Server,
    shapes: &'static [Shape],
    event: Event,
    short: u32,
    long: u32,
) -> Scenario {
    Scenario {
        row,
        server,
        pods: Pods::FOUR,
        shapes,
        event,
        short,
        long,
        promise: Promise::Nothing,
        stress: false,
    }
}

/// Pods that must be ready for a while, so that a roll to bad ones halts.
const CAUTIOUS: Pods = Pods {
    min_ready: 2,
    progress_deadline: 4,
    ..Pods::FOUR
};

const ONE_MORE: Pods = Pods {
    replicas: 1,
    surge: 1,
    unavailable: 0,
    ..Pods::FOUR
};

const ONE_FEWER: Pods = Pods {
    replicas: 1,
    surge: 0,
    unavailable: 1,
    ..Pods::FOUR
};

/// Pods that wait for an answer of a minute; all at once, so that a roll takes little more.
const LONG: Pods = Pods {
    surge: 4,
    ..grace(120)
};

/// A pod on each of the three nodes, so that the next one finds its address only when the last one has left.
const SAME_ADDRESS: Pods = Pods {
    replicas: 3,
    surge: 0,
    unavailable: 1,
    host_network: true,
    ..Pods::FOUR
};

const fn grace(seconds: u32) -> Pods {
    Pods {
        grace: seconds,
        ..Pods::FOUR
    }
}

const fn kept(pods: Pods, scenario: Scenario) -> Scenario {
    Scenario { pods, ..scenario }
}

const fn stressed(scenario: Scenario) -> Scenario {
    Scenario {
        stress: true,
        ..scenario
    }
}

const fn may_fail(scenario: Scenario) -> Scenario {
    Scenario {
        promise: Promise::OnceAtMost,
        ..scenario
    }
}

/// Sessions without end, with a short grace: those on a pod that must go are cut when it is over.
const fn endless(number: u8, shapes: &'static [Shape], short: u32, long: u32) -> Scenario {
    Scenario {
        promise: Promise::CutsTold,
        ..kept(
            grace(4),
            row(number, Server::Node, shapes, Event::Roll, short, long),
        )
    }
}

/// What is said of each row.
pub const TITLES: [(u8, &str); 20] = [
    (1, "wrk, 32 and 256 connections, keep-alive"),
    (2, "wrk, a connection each"),
    (3, "all shapes at once"),
    (4, "idle for a second between GET and POST, 200 connections"),
    (5, "server's idle timeout = client's think time"),
    (6, "a 20 s answer, a 60 s download, a 30 s upload"),
    (7, "the drained pod gets SIGKILL"),
    (
        8,
        "HTTP/1.1 in every framing, pipelined, in pieces, with requests smuggled in",
    ),
    (9, "new pods that listen late, crash, or are never ready"),
    (10, "a pod frozen while it drains"),
    (11, "kill -9 of pods"),
    (12, "one replica"),
    (13, "rollback, overlapping rolls, scaling in a roll"),
    (14, "WebSocket and h2c"),
    (15, "opaque streams"),
    (16, "servers that do not close"),
    (17, "server and balancer killed or replaced"),
    (18, "the next pod has the last one's address"),
    (19, "soak"),
    (20, "negative control: haproxy in TCP mode with a 3 s sleep"),
];

/// Every scenario, in the plan's order.
pub const PLAN: &[Scenario] = &[
    row(1, Server::Nginx, WRK, Event::Nothing, 0, 10),
    row(1, Server::Nginx, &[Shape::Wrk(32)], Event::Roll, 1, 25),
    row(1, Server::Nginx, &[Shape::Wrk(256)], Event::Roll, 0, 25),
    row(1, Server::StandIn, &[Shape::Wrk(256)], Event::Roll, 1, 25),
    stressed(row(1, Server::Nginx, &[Shape::Wrk(32)], Event::Roll, 0, 10)),
    row(2, Server::Nginx, &[Shape::WrkClose], Event::Roll, 1, 25),
    row(2, Server::Node, &[Shape::WrkClose], Event::Roll, 0, 25),
    row(3, Server::StandIn, ALL, Event::Nothing, 0, 10),
    row(3, Server::StandIn, ALL, Event::Everything, 0, 4),
    row(3, Server::Node, ALL, Event::Everything, 0, 4),
    row(3, Server::Python, ALL, Event::Everything, 0, 4),
    row(3, Server::Nginx, PLAIN, Event::Everything, 1, 4),
    stressed(row(3, Server::Node, ALL, Event::Roll, 0, 5)),
    row(4, Server::Nginx, &[Shape::Idlex(200)], Event::Roll, 1, 10),
    row(
        4,
        Server::Node,
        &[Shape::Idle(200), Shape::Idlex(200)],
        Event::Roll,
        0,
        10,
    ),
    row(5, Server::Impatient, &[Shape::Idlex(250)], Event::Nothing, 2, 20),
    kept(
        LONG,
        row(
            6,
            Server::StandIn,
            &[Shape::LongAnswer, Shape::LongDownload, Shape::LongUpload],
            Event::Roll,
            0,
            1,
        ),
    ),
    row(7, Server::Killed, ALL, Event::Roll, 1, 25),
    row(
        8,
        Server::Node,
        &[Shape::Session(Protocol::Framing)],
        Event::Roll,
        1,
        20,
    ),
    row(9, Server::Node, MIXED, Event::Late, 0, 10),
    kept(CAUTIOUS, row(9, Server::Node, MIXED, Event::Crashing, 1, 20)),
    kept(CAUTIOUS, row(9, Server::Node, MIXED, Event::NeverReady, 0, 20)),
    kept(
        grace(3),
        row(
            10,
            Server::Node,
            &[Shape::KeepAlive, Shape::Close, Shape::Slow],
            Event::Freeze,
            1,
            5,
        ),
    ),
    row(
        11,
        Server::Node,
        &[Shape::KeepAlive, Shape::Close, Shape::Slow],
        Event::Kill,
        1,
        20,
    ),
    may_fail(row(
        11,
        Server::Node,
        &[Shape::Post, Shape::Idlex(8)],
        Event::Kill,
        1,
        50,
    )),
    kept(ONE_MORE, row(12, Server::Node, MIXED, Event::Roll, 1, 20)),
    kept(ONE_FEWER, row(12, Server::Node, MIXED, Event::Roll, 1, 20)),
    row(13, Server::Node, MIXED, Event::Rollback, 0, 10),
    row(13, Server::Node, MIXED, Event::Overlap, 1, 10),
    row(13, Server::Node, MIXED, Event::ScaleInRoll, 0, 10),
    row(
        14,
        Server::Node,
        &[Shape::Session(Protocol::WebSocket)],
        Event::Roll,
        1,
        20,
    ),
    row(
        14,
        Server::StandIn,
        &[Shape::Session(Protocol::H2c)],
        Event::Roll,
        1,
        20,
    ),
    row(
        15,
        Server::Node,
        &[Shape::Session(Protocol::Opaque)],
        Event::Roll,
        1,
        10,
    ),
    endless(14, &[Shape::Busy(Protocol::WebSocket)], 0, 20),
    endless(
        15,
        &[Shape::Busy(Protocol::Opaque), Shape::Silent(Protocol::Opaque)],
        1,
        10,
    ),
    row(16, Server::Waiting, MIXED, Event::Roll, 0, 10),
    row(16, Server::Python, MIXED, Event::Roll, 1, 10),
    kept(grace(4), row(16, Server::Stubborn, MIXED, Event::Roll, 0, 10)),
    row(17, Server::StandIn, MIXED, Event::ServerCrash, 1, 10),
    row(17, Server::Node, ALL, Event::BalancerReplace, 1, 10),
    may_fail(row(17, Server::Node, MIXED, Event::BalancerCrash, 1, 10)),
    kept(SAME_ADDRESS, row(18, Server::Node, MIXED, Event::Roll, 1, 20)),
    row(19, Server::Nginx, BRISK, Event::Roll, 0, 250),
];
