//! The counts of all routes and endpoints, kept as long as they have a meaning.
//!
//! Flows in: routes and endpoints of each table, and who is still alive. Flows out: the counters that threads write
//! ([`Series`]), and their sums. A route's sums never fall while the route lives: what an endpoint that is gone has
//! counted is kept in its route.

use std::collections::HashMap;
use std::sync::Arc;

use super::counters::{Series, Total};
use super::table::Endpoint;

/// All series of a datapath.
pub struct Ledger {
    threads: usize,
    routes: HashMap<Arc<str>, Account>,
}

/// One route's series.
struct Account {
    clients: Arc<Series>,
    endpoints: HashMap<Endpoint, Arc<Series>>,
    /// What endpoints that are gone have counted.
    gone: Total,
}

/// What has been counted of a route.
#[derive(Clone, Debug)]
pub struct RouteCounts {
    /// The route's name.
    pub route: Arc<str>,
    /// Its clients' connections.
    pub clients: Total,
    /// All its endpoints together, those that are gone included.
    pub all: Total,
    /// Each endpoint that is not gone.
    pub endpoints: Vec<(Endpoint, Total)>,
}

impl Ledger {
    /// An empty ledger of a datapath with so many threads.
    pub fn new(threads: usize) -> Self {
        Self {
            threads,
            routes: HashMap::new(),
        }
    }

    /// The series of a route's clients.
    pub fn clients(&mut self, route: &Arc<str>) -> Arc<Series> {
        self.account(route).clients.clone()
    }

    /// The series of a route's endpoint.
    pub fn endpoint(&mut self, route: &Arc<str>, endpoint: &Endpoint) -> Arc<Series> {
        let threads = self.threads;
        let known = &mut self.account(route).endpoints;
        if let Some(series) = known.get(endpoint) {
            return series.clone();
        }
        let series = Arc::new(Series::new(threads));
        known.insert(endpoint.clone(), series.clone());
        series
    }

    fn account(&mut self, route: &Arc<str>) -> &mut Account {
        let threads = self.threads;
        self.routes.entry(route.clone()).or_insert_with(|| Account {
            clients: Arc::new(Series::new(threads)),
            endpoints: HashMap::new(),
            gone: Total::default(),
        })
    }

    /// Forgets endpoints whose owner is not alive any more, and routes that are gone, once no table and no connection has
    /// them: nobody can count there again.
    pub fn sweep(&mut self, is_alive: impl Fn(&str) -> bool) {
        for account in self.routes.values_mut() {
            let gone = account
                .endpoints
                .extract_if(|endpoint, series| Arc::strong_count(series) == 1 && !is_alive(&endpoint.owner));
            for (_, series) in gone {
                account.gone += &series.total();
            }
        }
        self.routes.retain(|_, account| {
            let is_routed = Arc::strong_count(&account.clients) > 1;
            is_routed || account.clients.total().open() > 0 || account.is_used()
        });
    }

    /// All counts, by route and endpoint in order.
    pub fn read(&self) -> Vec<RouteCounts> {
        let mut routes: Vec<_> = self
            .routes
            .iter()
            .map(|(name, account)| account.read(name))
            .collect();
        routes.sort_by(|a, b| a.route.cmp(&b.route));
        routes
    }
}

impl Account {
    /// Whether a table or a connection has one of its endpoints.
    fn is_used(&self) -> bool {
        self.endpoints
            .values()
            .any(|series| Arc::strong_count(series) > 1)
    }

    fn read(&self, name: &Arc<str>) -> RouteCounts {
        let endpoints = self.endpoints.iter();
        let mut endpoints: Vec<_> = endpoints
            .map(|(endpoint, series)| (endpoint.clone(), series.total()))
            .collect();
        endpoints.sort_by(|(a, _), (b, _)| (a.addr, &a.owner).cmp(&(b.addr, &b.owner)));
        let mut all = self.gone.clone();
        for (_, total) in &endpoints {
            all += total;
        }
        RouteCounts {
            route: name.clone(),
            clients: self.clients.total(),
            all,
            endpoints,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::counters::Counter;
    use super::*;

    fn endpoint(owner: &str) -> Endpoint {
        Endpoint {
            addr: ([127, 0, 0, 1], 1).into(),
            owner: owner.into(),
        }
    }

    #[test]
    fn sums_outlive_endpoints_and_end_with_their_route() {
        let mut ledger = Ledger::new(2);
        let route: Arc<str> = "default/web:80".into();
        let clients = ledger.clients(&route);
        let series = ledger.endpoint(&route, &endpoint("a"));
        series.of(1).add(Counter::Requests, 3);
        ledger.sweep(|_| false);
        assert_eq!(
            ledger.read()[0].endpoints.len(),
            1,
            "somebody may count there still"
        );
        drop(series);
        ledger.sweep(|owner| owner == "a");
        assert_eq!(ledger.read()[0].endpoints.len(), 1, "it may come back");
        ledger.sweep(|_| false);
        let counts = ledger.read();
        assert!(counts[0].endpoints.is_empty());
        assert_eq!(counts[0].all[Counter::Requests], 3);
        clients.of(0).add(Counter::Opened, 1);
        let tally = clients.of(0).clone();
        drop(clients);
        ledger.sweep(|_| false);
        assert_eq!(ledger.read().len(), 1, "a client has a connection");
        tally.add(Counter::Closed, 1);
        ledger.sweep(|_| false);
        assert!(ledger.read().is_empty());
    }

    #[test]
    fn an_endpoint_that_comes_back_counts_on() {
        let mut ledger = Ledger::new(1);
        let route: Arc<str> = "default/web:80".into();
        let _clients = ledger.clients(&route);
        ledger
            .endpoint(&route, &endpoint("a"))
            .of(0)
            .add(Counter::Moved, 2);
        ledger.sweep(|_| true);
        ledger
            .endpoint(&route, &endpoint("a"))
            .of(0)
            .add(Counter::Moved, 1);
        assert_eq!(ledger.read()[0].endpoints[0].1[Counter::Moved], 3);
    }
}
