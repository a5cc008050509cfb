//! The metrics by name: what was counted of Services, endpoints and the balancer itself.

use std::collections::HashMap;
use std::sync::Arc;

use super::process::Process;
use super::text::{Kind, Label, Text};
use crate::datapath::{BOUNDS, BackendState, Counter, Endpoint, RouteCounts, Total};

/// What a scrape is made of.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Client connections now, those without a backend included.
    pub connections: u32,
    /// Addresses that are listened on.
    pub listening: usize,
    /// Addresses that should be listened on and cannot.
    pub unbound: usize,
    /// What was counted.
    pub routes: Vec<RouteCounts>,
    /// Names of the endpoints' pods, by owner.
    pub pods: HashMap<Arc<str>, String>,
    /// The endpoints' parts in the routing.
    pub states: HashMap<Endpoint, BackendState>,
}

/// What a Service and an endpoint have alike: counter, name behind the prefix, meaning.
const COUNTERS: [(Counter, &str, &str); 7] = [
    (
        Counter::Requests,
        "requests_total",
        "HTTP/1 requests sent, those sent again included.",
    ),
    (
        Counter::Replays,
        "replays_total",
        "HTTP/1 requests sent again elsewhere, because the endpoint broke the connection before it answered.",
    ),
    (
        Counter::Moved,
        "moved_connections_total",
        "Client connections that went on at another endpoint, between two messages.",
    ),
    (
        Counter::Cut,
        "cut_connections_total",
        "Connections that an endpoint broke in mid-message and whose request was not sent again, or that ended because its time was over.",
    ),
    (
        Counter::Failed,
        "connect_failures_total",
        "Attempts to connect to an endpoint that failed; the client was served elsewhere if there was one.",
    ),
    (
        Counter::Received,
        "received_bytes_total",
        "Bytes of clients that endpoints have taken.",
    ),
    (
        Counter::Sent,
        "sent_bytes_total",
        "Bytes of endpoints for clients.",
    ),
];

/// Meaning of the histograms.
const RESPONSE: &str =
    "Time from the last byte of an HTTP/1 request to the end of the head of its final response.";

/// One place that counts, with its labels.
type Row<'a> = (Vec<Label<'a>>, &'a Total);

/// The whole text.
pub fn render(snapshot: &Snapshot, process: &Process) -> String {
    let mut text = Text::default();
    services(&mut text, snapshot);
    endpoints(&mut text, snapshot);
    let gauges = [
        (
            "connections",
            "Client connections now, those that wait for an endpoint included.",
            f64::from(snapshot.connections),
        ),
        (
            "listeners",
            "Addresses of Services that are listened on.",
            snapshot.listening as f64,
        ),
        (
            "unbound_listeners",
            "Addresses of Services that cannot be listened on; see the Services' events.",
            snapshot.unbound as f64,
        ),
    ];
    for (name, help, value) in gauges {
        let name = format!("coracle_balancer_{name}");
        text.family(&name, Kind::Gauge, help);
        text.sample(&name, &[], value);
    }
    own_process(&mut text, process);
    text.finish()
}

fn services(text: &mut Text, snapshot: &Snapshot) {
    let rows = |total: fn(&RouteCounts) -> &Total| -> Vec<Row<'_>> {
        let routes = snapshot.routes.iter();
        routes.map(|route| (labels(&route.route), total(route))).collect()
    };
    let clients = rows(|route| &route.clients);
    connections(text, "coracle_service", "clients", &clients);
    let name = "coracle_service_refused_connections_total";
    text.family(
        name,
        Kind::Counter,
        "Connections of clients for which no endpoint was found in time.",
    );
    for (labels, total) in &clients {
        text.sample(name, labels, total[Counter::Failed]);
    }
    counters(text, "coracle_service", &rows(|route| &route.all));
}

fn endpoints(text: &mut Text, snapshot: &Snapshot) {
    let of_routes = snapshot.routes.iter();
    let all: Vec<_> = of_routes
        .flat_map(|route| {
            let endpoints = route.endpoints.iter();
            endpoints.map(|(endpoint, total)| (&route.route, endpoint, total))
        })
        .collect();
    let addresses: Vec<String> = all
        .iter()
        .map(|(_, endpoint, _)| endpoint.addr.to_string())
        .collect();
    let rows: Vec<Row<'_>> = all
        .iter()
        .zip(&addresses)
        .map(|((route, endpoint, total), address)| {
            let mut labels = labels(route);
            let pod = snapshot.pods.get(&endpoint.owner).map_or("", String::as_str);
            labels.extend([("pod", pod), ("address", address.as_str())]);
            (labels, *total)
        })
        .collect();
    connections(
        text,
        "coracle_endpoint",
        "the balancer, failed attempts included",
        &rows,
    );
    let name = "coracle_endpoint_ready";
    text.family(name, Kind::Gauge, "Whether the endpoint gets new connections.");
    for ((labels, _), (_, endpoint, _)) in rows.iter().zip(&all) {
        let is_ready = snapshot.states.get(endpoint) == Some(&BackendState::Ready);
        text.sample(name, labels, u8::from(is_ready));
    }
    counters(text, "coracle_endpoint", &rows);
}

/// `namespace/service:port` as labels.
fn labels(route: &str) -> Vec<Label<'_>> {
    let (namespace, rest) = route.split_once('/').unwrap_or(("", route));
    let (service, port) = rest.rsplit_once(':').unwrap_or((rest, ""));
    vec![("namespace", namespace), ("service", service), ("port", port)]
}

fn connections(text: &mut Text, prefix: &str, of: &str, rows: &[Row<'_>]) {
    let name = format!("{prefix}_connections_total");
    text.family(&name, Kind::Counter, &format!("Connections of {of}."));
    for (labels, total) in rows {
        text.sample(&name, labels, total[Counter::Opened]);
    }
    let name = format!("{prefix}_open_connections");
    text.family(&name, Kind::Gauge, "Connections now.");
    for (labels, total) in rows {
        text.sample(&name, labels, total.open());
    }
}

fn counters(text: &mut Text, prefix: &str, rows: &[Row<'_>]) {
    for (counter, name, help) in COUNTERS {
        let name = format!("{prefix}_{name}");
        text.family(&name, Kind::Counter, help);
        for (labels, total) in rows {
            text.sample(&name, labels, total[counter]);
        }
    }
    let name = format!("{prefix}_response_seconds");
    text.family(&name, Kind::Histogram, RESPONSE);
    // What never spoke HTTP has no response times.
    for (labels, total) in rows.iter().filter(|(_, total)| total[Counter::Requests] > 0) {
        text.histogram(
            &name,
            labels,
            (&BOUNDS, total.responses()),
            total[Counter::Waited],
        );
    }
}

fn own_process(text: &mut Text, process: &Process) {
    use Kind::{Counter, Gauge};
    let all = [
        (
            Counter,
            "cpu_seconds_total",
            "CPU time, user and system, in seconds.",
            process.cpu,
        ),
        (
            Gauge,
            "start_time_seconds",
            "Start of the process, in seconds since 1970.",
            process.started,
        ),
        (
            Gauge,
            "resident_memory_bytes",
            "Resident memory in bytes.",
            process.resident,
        ),
        (
            Gauge,
            "virtual_memory_bytes",
            "Mapped memory in bytes.",
            process.mapped,
        ),
        (Gauge, "threads", "Threads of the process.", process.threads),
        (Gauge, "open_fds", "Open file descriptors.", process.open_fds),
        (
            Gauge,
            "max_fds",
            "Limit of open file descriptors.",
            process.max_fds,
        ),
    ];
    for (kind, name, help, value) in all {
        if let Some(value) = value {
            let name = format!("process_{name}");
            text.family(&name, kind, help);
            text.sample(&name, &[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_three_labels() {
        assert_eq!(
            labels("default/web:http"),
            [("namespace", "default"), ("service", "web"), ("port", "http")]
        );
        assert_eq!(
            labels("bench"),
            [("namespace", ""), ("service", "bench"), ("port", "")]
        );
    }
}
