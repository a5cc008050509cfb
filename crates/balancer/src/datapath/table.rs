//! The routing table: an immutable snapshot, swapped whole.

use std::net::SocketAddr;
use std::sync::Arc;

use super::backend::Backend;
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
    pub backends: Vec<Arc<Backend>>,
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
        self.backends.iter().any(|offered| Arc::ptr_eq(offered, backend))
    }

    /// The backend with the fewest connections, the first such one from `start` on. Those that lately refused a
    /// connection come last. `None` if the route has no backend.
    pub fn choose(&self, start: usize, now: u64) -> Option<&Arc<Backend>> {
        let count = self.backends.len();
        let nth = |offset: usize| self.backends.get((start + offset) % count.max(1));
        (0..count)
            .filter_map(nth)
            .min_by_key(|backend| (backend.is_suspect(now), backend.open()))
    }

    /// Whether two routes are alike, the order of their backends included.
    pub fn same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.protocol == other.protocol
            && self.backends.len() == other.backends.len()
            && self
                .backends
                .iter()
                .zip(&other.backends)
                .all(|(mine, its)| Arc::ptr_eq(mine, its))
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::Lease;
    use super::*;

    fn route(count: u8) -> Route {
        let backend = |n| {
            let addr = SocketAddr::from(([127, 0, 0, 1], u16::from(n) + 1));
            Arc::new(Backend::new(addr, "owner".into(), Arc::new(|| {})))
        };
        Route {
            name: "r".into(),
            protocol: Protocol::Detect,
            backends: (0..count).map(backend).collect(),
        }
    }

    #[test]
    fn the_least_loaded_backend_is_chosen() {
        let route = route(3);
        let _leases = [
            Lease::new(route.backends[0].clone()),
            Lease::new(route.backends[2].clone()),
        ];
        for start in 0..3 {
            assert!(Arc::ptr_eq(route.choose(start, 0).unwrap(), &route.backends[1]));
        }
    }

    #[test]
    fn equals_take_turns() {
        let route = route(3);
        for start in 0..6 {
            assert!(Arc::ptr_eq(
                route.choose(start, 0).unwrap(),
                &route.backends[start % 3]
            ));
        }
    }

    #[test]
    fn a_suspect_is_the_last_resort() {
        let route = route(2);
        route.backends[0].suspect(100);
        assert!(Arc::ptr_eq(route.choose(0, 99).unwrap(), &route.backends[1]));
        assert!(Arc::ptr_eq(route.choose(0, 100).unwrap(), &route.backends[0]));
        route.backends[1].suspect(200);
        assert!(route.choose(0, 50).is_some());
        assert!(self::route(0).choose(5, 0).is_none());
    }
}
