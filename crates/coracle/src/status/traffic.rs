//! What the balancer moves: connections now, and requests a second, measured between two of its status documents.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use balancer::datapath::BackendState;
use balancer::status::{ReadError, Status, read};

/// Between the two documents.
const WINDOW: Duration = Duration::from_secs(1);

/// A balancer, and what it did in a short while.
pub struct Traffic {
    /// Its newest status.
    pub status: Status,
    /// The status before.
    before: Status,
}

/// What is seen of a pod or a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// The pod's part in the routing: where all its ports are ready it is ready.
    pub state: Option<BackendState>,
    /// Connections now.
    pub open: u64,
    /// HTTP/1 requests until the first document, and until the second.
    requests: [u64; 2],
}

impl Traffic {
    /// Reads the documents of the balancer at this socket; takes as long as the window.
    ///
    /// # Errors
    /// Either document cannot be had.
    pub async fn measure(socket: &Path) -> Result<Self, ReadError> {
        let before = read(socket).await?;
        tokio::time::sleep(WINDOW).await;
        let status = read(socket).await?;
        Ok(Self { status, before })
    }

    /// Each port of each Service, by name.
    pub fn services(&self) -> BTreeMap<&str, Load> {
        let mut loads: BTreeMap<&str, Load> = BTreeMap::new();
        for service in &self.status.services {
            let load = loads.entry(&service.route).or_default();
            load.open += service.open;
            load.requests[1] += service.requests;
        }
        for service in &self.before.services {
            if let Some(load) = loads.get_mut(service.route.as_str()) {
                load.requests[0] += service.requests;
            }
        }
        loads
    }

    /// Each pod that has or had connections, by `namespace/name`.
    pub fn pods(&self) -> BTreeMap<&str, Load> {
        let mut loads: BTreeMap<&str, Load> = BTreeMap::new();
        for backend in &self.status.backends {
            let Some(pod) = &backend.pod else { continue };
            let load = loads.entry(pod).or_default();
            let before = load.state.unwrap_or(backend.state);
            load.state = Some(match (before, backend.state) {
                (BackendState::Ready, state) | (state, BackendState::Ready) => state,
                (BackendState::Draining, _) | (_, BackendState::Draining) => BackendState::Draining,
                (BackendState::Drained, BackendState::Drained) => BackendState::Drained,
            });
            load.open += u64::from(backend.open);
            load.requests[1] += backend.requests;
        }
        for backend in &self.before.backends {
            if let Some(load) = backend.pod.as_deref().and_then(|pod| loads.get_mut(pod)) {
                load.requests[0] += backend.requests;
            }
        }
        loads
    }

    /// Requests a second, rounded; `-` for what has never had a request, and where a new balancer began to count anew.
    pub fn rate(&self, load: &Load) -> String {
        let [before, now] = load.requests;
        let milliseconds = self.status.milliseconds.saturating_sub(self.before.milliseconds);
        if now == 0 || milliseconds == 0 || self.status.pid != self.before.pid {
            return "-".to_owned();
        }
        let many = now.saturating_sub(before) * 1000;
        ((many + milliseconds / 2) / milliseconds).to_string()
    }
}

#[cfg(test)]
mod tests {
    use balancer::status::{Backend, Service};

    use super::*;

    fn status(milliseconds: u64, backends: &[(&str, BackendState, u64)]) -> Status {
        let service = Service {
            route: "d/web:80".to_owned(),
            open: 7,
            requests: backends.iter().map(|(_, _, requests)| requests).sum(),
        };
        let backend = |(pod, state, requests): &(&str, BackendState, u64)| Backend {
            addr: ([127, 0, 0, 1], 1).into(),
            pod: Some((*pod).to_owned()),
            state: *state,
            open: 2,
            requests: *requests,
        };
        Status {
            pid: 1,
            milliseconds,
            connections: 0,
            most: 1,
            metrics: None,
            listeners: Vec::new(),
            services: vec![service],
            backends: backends.iter().map(backend).collect(),
        }
    }

    #[test]
    fn rates_are_the_difference_by_the_time_between() {
        use BackendState::{Draining, Ready};
        let mut traffic = Traffic {
            before: status(5000, &[("d/a", Ready, 100), ("d/a", Ready, 10)]),
            status: status(
                7000,
                &[("d/a", Draining, 300), ("d/a", Ready, 10), ("d/b", Ready, 0)],
            ),
        };
        let pods = traffic.pods();
        let (a, b) = (pods["d/a"], pods["d/b"]);
        assert_eq!(
            (a.state, a.open, traffic.rate(&a)),
            (Some(Draining), 4, "100".into())
        );
        assert_eq!((b.state, b.open, traffic.rate(&b)), (Some(Ready), 2, "-".into()));
        let service = traffic.services()["d/web:80"];
        assert_eq!((service.open, traffic.rate(&service)), (7, "100".into()));
        traffic.before.pid = 2;
        assert_eq!(traffic.rate(&a), "-");
    }
}
