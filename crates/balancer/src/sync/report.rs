//! What the loop tells those who ask: the status document and the counters.

use std::collections::HashMap;

use super::rounds::Rounds;
use crate::datapath::{Counter, Endpoint};
use crate::metrics::Snapshot;
use crate::status::{Backend, Listener, Service, Status};

impl Rounds {
    /// The status document.
    pub(super) fn status(&self) -> Status {
        let listeners = self.datapath.listeners().into_iter().map(|listener| Listener {
            addr: listener.addr,
            route: listener.route.to_string(),
            error: listener.error.map(|error| error.to_string()),
        });
        let counts = self.datapath.counts();
        let services = counts.iter().map(|counts| Service {
            route: counts.route.to_string(),
            open: counts.clients.open(),
            requests: counts.all[Counter::Requests],
        });
        let mut requests: HashMap<&Endpoint, u64> = HashMap::new();
        for (endpoint, total) in counts.iter().flat_map(|counts| &counts.endpoints) {
            *requests.entry(endpoint).or_default() += total[Counter::Requests];
        }
        let backends = self.datapath.backends().into_iter().map(|backend| {
            let pod = self.in_service.pod(&backend.owner);
            let endpoint = Endpoint {
                addr: backend.addr,
                owner: backend.owner,
            };
            Backend {
                addr: backend.addr,
                pod: pod.map(|pod| format!("{}/{}", pod.namespace, pod.name)),
                state: backend.state,
                open: backend.open,
                requests: requests.get(&endpoint).copied().unwrap_or_default(),
            }
        });
        let mut backends: Vec<_> = backends.collect();
        backends.sort_by(|a, b| (&a.pod, a.addr).cmp(&(&b.pod, b.addr)));
        Status {
            pid: std::process::id(),
            milliseconds: self.datapath.now(),
            connections: self.datapath.connections(),
            most: self.datapath.most(),
            metrics: self.metrics.as_ref().map(|metrics| metrics.borrow().clone()),
            listeners: listeners.collect(),
            services: services.collect(),
            backends,
        }
    }

    /// The counters, and what they belong to.
    pub(super) fn snapshot(&self) -> Snapshot {
        let listeners = self.datapath.listeners();
        let unbound = listeners
            .iter()
            .filter(|listener| listener.error.is_some())
            .count();
        let routes = self.datapath.counts();
        let owners = routes
            .iter()
            .flat_map(|counts| &counts.endpoints)
            .map(|(endpoint, _)| &endpoint.owner);
        let pods = owners
            .filter_map(|owner| Some((owner.clone(), self.in_service.pod(owner)?.name.clone())))
            .collect();
        let backends = self.datapath.backends().into_iter();
        let states = backends.map(|backend| {
            let endpoint = Endpoint {
                addr: backend.addr,
                owner: backend.owner,
            };
            (endpoint, backend.state)
        });
        Snapshot {
            connections: self.datapath.connections(),
            listening: listeners.len() - unbound,
            unbound,
            pods,
            states: states.collect(),
            routes,
        }
    }
}
