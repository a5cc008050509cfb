//! Telling the user what of a Service is not done, once each: addresses that cannot be listened on, and [`Complaint`]s.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use informer::{Recorder, Type};

use super::plan::{Complaint, Plan};
use super::port::Port;
use crate::datapath::{BindError, ListenerStatus};

/// What has been told.
#[derive(Default)]
pub struct BindErrors {
    bound: HashMap<(SocketAddr, Arc<str>), BindError>,
    complaints: HashSet<(String, String)>,
}

impl BindErrors {
    /// Records a Warning event for each error that is new.
    pub fn tell(&mut self, recorder: &Recorder, plan: &Plan, listeners: &[ListenerStatus]) {
        let failing: HashSet<_> = listeners
            .iter()
            .filter(|listener| listener.error.is_some())
            .map(|listener| (listener.addr, &listener.route))
            .collect();
        self.bound
            .retain(|(addr, route), _| failing.contains(&(*addr, route)));
        for listener in listeners {
            let Some(error) = &listener.error else { continue };
            let key = (listener.addr, listener.route.clone());
            if self.bound.insert(key, error.clone()).as_ref() == Some(error) {
                continue;
            }
            tracing::warn!(addr = %listener.addr, route = &*listener.route, %error, "cannot listen");
            // A node port of a node that is another machine is that machine's business.
            if let Some(port) = plan.ports.iter().find(|port| port.name == listener.route)
                && *error != BindError::NotLocal
            {
                recorder.event(
                    &port.service,
                    Type::Warning,
                    "PortNotBound",
                    sentence(port, listener.addr, error),
                );
            }
        }
        self.complain(recorder, &plan.complaints);
    }

    fn complain(&mut self, recorder: &Recorder, complaints: &[Complaint]) {
        let of = |complaint: &Complaint| {
            let uid = complaint.service.uid.clone().unwrap_or_default();
            (uid, complaint.message.clone())
        };
        let current: HashSet<_> = complaints.iter().map(of).collect();
        self.complaints.retain(|told| current.contains(told));
        for complaint in complaints {
            if self.complaints.insert(of(complaint)) {
                recorder.event(
                    &complaint.service,
                    Type::Warning,
                    complaint.reason,
                    complaint.message.clone(),
                );
            }
        }
    }
}

/// What is wrong, and what works instead.
fn sentence(port: &Port, addr: SocketAddr, error: &BindError) -> String {
    let instead = match (error, port.node_port) {
        (BindError::NotPermitted, Some(node_port)) => format!(
            "; use the node port 127.0.0.1:{node_port}, or allow it by: sysctl -w net.ipv4.ip_unprivileged_port_start={}",
            addr.port()
        ),
        (BindError::NotPermitted, None) => format!(
            "; use a port of 1024 or above or a Service of type NodePort, or allow it by: \
             sysctl -w net.ipv4.ip_unprivileged_port_start={}",
            addr.port()
        ),
        _ => "; tried again every few seconds".to_owned(),
    };
    format!("cannot listen on {addr}: {error}{instead}")
}

#[cfg(test)]
mod tests {
    use super::super::slices::Targets;
    use super::*;
    use crate::datapath::Protocol;

    #[test]
    fn the_sentence_says_what_works_instead() {
        let addr = SocketAddr::from(([127, 96, 0, 9], 80));
        let mut port = Port {
            name: "default/web:80".into(),
            service: Default::default(),
            node_port: Some(30080),
            listen: vec![addr],
            also: Vec::new(),
            protocol: Protocol::Detect,
            affinity: None,
            selector: None,
            targets: Targets::default(),
        };
        let said = sentence(&port, addr, &BindError::NotPermitted);
        assert!(
            said.starts_with("cannot listen on 127.96.0.9:80: this user may not listen on ports below "),
            "{said}"
        );
        assert!(
            said.contains("127.0.0.1:30080") && said.ends_with("ip_unprivileged_port_start=80"),
            "{said}"
        );
        port.node_port = None;
        assert!(sentence(&port, addr, &BindError::NotPermitted).contains("NodePort"));
        let said = sentence(&port, addr, &BindError::InUse);
        assert_eq!(
            said,
            "cannot listen on 127.96.0.9:80: another program listens there; tried again every few seconds"
        );
    }
}
