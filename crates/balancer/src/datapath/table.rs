//! The routing table: an immutable snapshot, swapped whole.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::affinity::{Affinity, position};
use super::backend::Backend;
use super::counters::Series;
use super::listener::Listener;

/// Backends that are looked at for one connection, unless all of these refuse connections: more would not be chosen much
/// better, and the cost would grow with their number.
const LOOKED_AT: usize = 16;

/// How a route's connections are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Decided by each connection's first bytes.
    #[default]
    Detect,
    /// HTTP/1: the client speaks first, and connections are handled between messages.
    Http1,
    /// Bytes.
    Opaque,
    /// No connections: datagrams, in sessions.
    Udp,
}

/// What to listen on and where connections go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteSpec {
    /// For people, `default/web:http`.
    pub name: Arc<str>,
    /// The addresses of the route.
    pub listen: Vec<SocketAddr>,
    /// More of them, which it has unless they are in another route's `listen`.
    pub also: Vec<SocketAddr>,
    /// How its connections are understood.
    pub protocol: Protocol,
    /// Where new connections go. Leaving this list is what starts an endpoint's drain.
    pub endpoints: Vec<Endpoint>,
    /// Without endpoints: one is about to come, so clients wait for it. Otherwise they are refused at once.
    pub expecting: bool,
    /// A client's connections go to one endpoint, until so long after its last one.
    pub affinity: Option<Duration>,
}

/// A place that connections can go to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub addr: SocketAddr,
    /// Whose address it is, such as a pod's uid. See [`Backend`].
    pub owner: Arc<str>,
}

/// One route of an installed table.
pub struct Route {
    pub name: Arc<str>,
    pub protocol: Protocol,
    /// In the order of their backends' addresses in memory.
    offers: Vec<Arc<Offer>>,
    expecting: bool,
    affinity: Option<Affinity>,
    /// Counts of its clients' connections.
    pub clients: Arc<Series>,
}

/// A backend that a route offers, and what is counted of the two.
pub struct Offer {
    pub backend: Arc<Backend>,
    pub series: Arc<Series>,
}

/// All listeners and where their connections go.
pub struct Table {
    /// Counts the tables of a datapath, from 1.
    pub version: u64,
    pub entries: Vec<(Arc<Listener>, Arc<Route>)>,
}

impl Route {
    /// The route that was asked for, with these backends.
    pub fn new(
        spec: &RouteSpec,
        mut offers: Vec<Arc<Offer>>,
        clients: Arc<Series>,
        affinity: Option<Affinity>,
    ) -> Self {
        offers.sort_by_key(|offer| Arc::as_ptr(&offer.backend));
        Self {
            name: spec.name.clone(),
            protocol: spec.protocol,
            offers,
            expecting: spec.expecting,
            affinity,
            clients,
        }
    }

    /// How many backends there are.
    pub fn len(&self) -> usize {
        self.offers.len()
    }

    /// Whether new connections may go to this backend.
    pub fn offers(&self, backend: &Arc<Backend>) -> bool {
        position(&self.offers, backend).is_some()
    }

    /// Whether it is worth waiting for a backend that takes a connection.
    pub fn is_hopeful(&self) -> bool {
        self.expecting || !self.offers.is_empty()
    }

    /// The backend for a connection of this client, which is asked for only if that matters. `turn` grows by one from
    /// choice to choice. `None` if the route has no backend.
    pub fn choose(
        &self,
        turn: usize,
        now: u64,
        client: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<&Arc<Offer>> {
        match &self.affinity {
            Some(affinity) => match client() {
                Some(client) => affinity.choose(client, &self.offers, now),
                None => self.least_loaded(turn, now),
            },
            None => self.least_loaded(turn, now),
        }
    }

    /// The backend for a request that `broken` did not answer: of the others, the one known longest. New pods that crash do
    /// so one after the other, and a request may be sent again only so often.
    pub fn choose_again(
        &self,
        broken: &Arc<Backend>,
        turn: usize,
        now: u64,
        client: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<&Arc<Offer>> {
        if self.affinity.is_some() {
            return self.choose(turn, now, client);
        }
        self.offers.iter().min_by_key(|offer| {
            let backend = &offer.backend;
            let is_broken = Arc::ptr_eq(backend, broken);
            (backend.is_suspect(now), is_broken, backend.born())
        })
    }

    /// The backend with the fewest connections, the first such one from `start` on. Of many backends only so many are
    /// looked at. Those that lately refused a connection come last.
    fn least_loaded(&self, start: usize, now: u64) -> Option<&Arc<Offer>> {
        let count = self.offers.len();
        let best = |among: usize| {
            (0..among)
                .filter_map(|offset| self.offers.get(start.wrapping_add(offset) % count.max(1)))
                .min_by_key(|offer| (offer.backend.is_suspect(now), offer.backend.open()))
        };
        match best(count.min(LOOKED_AT)) {
            Some(suspect) if suspect.backend.is_suspect(now) && count > LOOKED_AT => best(count),
            best => best,
        }
    }

    /// Whether two routes are alike.
    pub fn same(&self, other: &Self) -> bool {
        let alike = match (&self.affinity, &other.affinity) {
            (Some(mine), Some(its)) => mine.same(its),
            (None, None) => true,
            _ => false,
        };
        alike
            && self.name == other.name
            && self.protocol == other.protocol
            && self.expecting == other.expecting
            && self.offers.len() == other.offers.len()
            && self
                .offers
                .iter()
                .zip(&other.offers)
                .all(|(mine, its)| Arc::ptr_eq(&mine.backend, &its.backend))
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::Lease;
    use super::*;

    fn route(count: u16) -> Route {
        let offer = |n| {
            let addr = SocketAddr::from(([127, 0, 0, 1], n + 1));
            Arc::new(Offer {
                backend: Arc::new(Backend::new(addr, "owner".into(), Arc::new(|| {}))),
                series: Arc::new(Series::new(1)),
            })
        };
        let offers = (0..count).map(offer).collect();
        Route::new(&RouteSpec::default(), offers, Arc::new(Series::new(1)), None)
    }

    fn choose(route: &Route, start: usize, now: u64) -> Option<&Arc<Offer>> {
        route.choose(start, now, || panic!("nobody asks for the client"))
    }

    #[test]
    fn the_least_loaded_backend_is_chosen() {
        let route = route(3);
        let _leases = [
            Lease::new(route.offers[0].clone(), 0),
            Lease::new(route.offers[2].clone(), 0),
        ];
        for start in 0..3 {
            assert!(Arc::ptr_eq(choose(&route, start, 0).unwrap(), &route.offers[1]));
        }
    }

    #[test]
    fn equals_take_turns() {
        let route = route(3);
        for start in 0..6 {
            assert!(Arc::ptr_eq(
                choose(&route, start, 0).unwrap(),
                &route.offers[start % 3]
            ));
        }
    }

    #[test]
    fn a_suspect_is_the_last_resort() {
        let route = route(2);
        route.offers[0].backend.suspect(100);
        assert!(Arc::ptr_eq(choose(&route, 0, 99).unwrap(), &route.offers[1]));
        assert!(Arc::ptr_eq(choose(&route, 0, 100).unwrap(), &route.offers[0]));
        route.offers[1].backend.suspect(200);
        assert!(choose(&route, 0, 50).is_some());
        assert!(choose(&self::route(0), 5, 0).is_none());
    }

    #[test]
    fn a_broken_request_goes_to_the_backend_known_longest() {
        let route = route(3);
        let again = |broken: &Arc<Offer>, now| {
            route
                .choose_again(&broken.backend, 0, now, || panic!("nobody asks for the client"))
                .unwrap()
        };
        let mut by_age = route.offers.clone();
        by_age.sort_by_key(|offer| offer.backend.born());
        let [oldest, second, third] = &by_age[..] else {
            panic!("three backends")
        };
        let _busy = [Lease::new(oldest.clone(), 0), Lease::new(oldest.clone(), 0)];
        assert!(Arc::ptr_eq(again(third, 0), oldest));
        assert!(Arc::ptr_eq(again(oldest, 0), second));
        oldest.backend.suspect(100);
        assert!(Arc::ptr_eq(again(third, 99), second));
        assert!(Arc::ptr_eq(again(third, 100), oldest));
    }

    #[test]
    fn of_many_backends_some_are_looked_at_and_all_if_those_refuse() {
        let route = route(1000);
        let busy: Vec<_> = (0..LOOKED_AT - 1)
            .map(|at| Lease::new(route.offers[at].clone(), 0))
            .collect();
        assert!(Arc::ptr_eq(
            choose(&route, 0, 0).unwrap(),
            &route.offers[LOOKED_AT - 1]
        ));
        for at in 0..999 {
            route.offers[at].backend.suspect(100);
        }
        assert!(Arc::ptr_eq(choose(&route, 0, 0).unwrap(), &route.offers[999]));
        drop(busy);
        // One connection after the other, each kept: all get their share.
        let route = self::route(100);
        let leases: Vec<_> = (0..1000)
            .map(|turn| Lease::new(choose(&route, turn, 0).unwrap().clone(), 0))
            .collect();
        assert!(route.offers.iter().all(|offer| offer.backend.open() == 10));
        drop(leases);
    }

    #[test]
    fn backends_offered_are_known() {
        let other = route(1);
        let route = route(50);
        assert!(route.offers.iter().all(|offer| route.offers(&offer.backend)));
        assert!(!route.offers(&other.offers[0].backend));
        assert!(route.is_hopeful() && !self::route(0).is_hopeful());
    }
}
