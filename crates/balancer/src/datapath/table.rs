//! The routing table: an immutable snapshot, swapped whole.

use std::net::SocketAddr;
use std::sync::Arc;

use super::backend::Backend;
use super::counters::Series;
use super::listener::Listener;

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
}

/// What to listen on and where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// For people, `default/web:http`.
    pub name: Arc<str>,
    /// The addresses of the route.
    pub listen: Vec<SocketAddr>,
    /// How its connections are understood.
    pub protocol: Protocol,
    /// Where new connections go. Leaving this list is what starts an endpoint's drain.
    pub endpoints: Vec<Endpoint>,
}

/// A place that connections can go to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    pub offers: Vec<Arc<Offer>>,
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
    /// Whether new connections may go to this backend.
    pub fn offers(&self, backend: &Arc<Backend>) -> bool {
        self.offers
            .iter()
            .any(|offer| Arc::ptr_eq(&offer.backend, backend))
    }

    /// The backend with the fewest connections, the first such one from `start` on. Those that lately refused a
    /// connection come last. `None` if the route has no backend.
    pub fn choose(&self, start: usize, now: u64) -> Option<&Arc<Offer>> {
        let count = self.offers.len();
        let nth = |offset: usize| self.offers.get((start + offset) % count.max(1));
        (0..count)
            .filter_map(nth)
            .min_by_key(|offer| (offer.backend.is_suspect(now), offer.backend.open()))
    }

    /// Whether two routes are alike, the order of their backends included.
    pub fn same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.protocol == other.protocol
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

    fn route(count: u8) -> Route {
        let offer = |n| {
            let addr = SocketAddr::from(([127, 0, 0, 1], u16::from(n) + 1));
            Arc::new(Offer {
                backend: Arc::new(Backend::new(addr, "owner".into(), Arc::new(|| {}))),
                series: Arc::new(Series::new(1)),
            })
        };
        Route {
            name: "r".into(),
            protocol: Protocol::Detect,
            offers: (0..count).map(offer).collect(),
            clients: Arc::new(Series::new(1)),
        }
    }

    #[test]
    fn the_least_loaded_backend_is_chosen() {
        let route = route(3);
        let _leases = [
            Lease::new(route.offers[0].clone(), 0),
            Lease::new(route.offers[2].clone(), 0),
        ];
        for start in 0..3 {
            assert!(Arc::ptr_eq(route.choose(start, 0).unwrap(), &route.offers[1]));
        }
    }

    #[test]
    fn equals_take_turns() {
        let route = route(3);
        for start in 0..6 {
            assert!(Arc::ptr_eq(
                route.choose(start, 0).unwrap(),
                &route.offers[start % 3]
            ));
        }
    }

    #[test]
    fn a_suspect_is_the_last_resort() {
        let route = route(2);
        route.offers[0].backend.suspect(100);
        assert!(Arc::ptr_eq(route.choose(0, 99).unwrap(), &route.offers[1]));
        assert!(Arc::ptr_eq(route.choose(0, 100).unwrap(), &route.offers[0]));
        route.offers[1].backend.suspect(200);
        assert!(route.choose(0, 50).is_some());
        assert!(self::route(0).choose(5, 0).is_none());
    }
}
