//! A pod's place and keeper: found again, or made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::backoff::Backoff;
use super::container::Run;
use super::worker::Worker;
use crate::PodPorts;
use crate::low_ports;
use crate::sandbox::{self, Place, launch};
use crate::start;
use crate::status::container_id;

/// Why a pod has no place.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// All addresses of the node are taken.
    #[error("the node has no free address")]
    NoAddress,
    /// All ports are taken.
    #[error("no free port is left for the pod")]
    NoPort,
    /// The folder cannot be made.
    #[error("cannot make the pod's folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The keeper cannot be started.
    #[error("cannot start the pod's keeper: {0}")]
    Keeper(std::io::Error),
}

impl Worker {
    /// The pod's folder.
    pub(super) fn dir(&self) -> PathBuf {
        self.node.pods_dir().join(&self.uid)
    }

    /// Takes over what runs, or is on record, from before: after a restart of the agent, or after the keeper was lost.
    pub(super) async fn recover(&mut self) {
        self.is_recovered = true;
        if self.place.is_none() {
            return;
        }
        let dir = self.dir();
        self.link = launch::find(&dir, &self.uid).await;
        // What a lost keeper was asked to start will not come; one that lives does not start an attempt twice.
        self.containers.values_mut().for_each(|run| run.starting = None);
        let attempts = launch::attempts(&dir, self.link.as_ref());
        let is_running_on = self.link.is_some();
        for attempt in &attempts {
            self.containers
                .entry(attempt.container.clone())
                .or_insert_with(|| {
                    // After a stop of the whole cluster, or of the machine, nothing is to wait for earlier crashes.
                    let since = jiff::Timestamp::from_millisecond(attempt.started_ms).unwrap_or_default();
                    let crashes = if is_running_on {
                        Backoff::after(attempt.attempt, since)
                    } else {
                        Backoff::default()
                    };
                    Run {
                        crashes,
                        ..Run::default()
                    }
                });
        }
        self.take_attempts(&attempts);
        self.take_reported();
    }

    /// What an earlier agent found out of containers that still run is still so: a pod that serves goes on serving.
    fn take_reported(&mut self) {
        let Some(status) = &self.pod.status else { return };
        for reported in status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .chain(&status.ephemeral_container_statuses)
            .flatten()
        {
            let Some(run) = self.containers.get_mut(&reported.name) else {
                continue;
            };
            run.known.image_id.clone_from(&reported.image_id);
            let Some(attempt) = run
                .known
                .attempt
                .as_ref()
                .filter(|attempt| attempt.exit.is_none())
            else {
                continue;
            };
            if reported.container_id.as_ref() == Some(&container_id(attempt)) {
                run.known.is_started = reported.started == Some(true);
                run.known.is_ready = reported.ready;
                run.is_post_started = true;
            }
        }
    }

    /// Sees to it that the pod has a place and a keeper.
    pub(super) async fn set_up(&mut self) -> Result<(), SetUpError> {
        if self.link.is_some() {
            return Ok(());
        }
        if self.place.is_none() {
            let place = self.allocate()?;
            sandbox::create(&self.dir(), &place)
                .map_err(|source| SetUpError::Folder {
                    path: self.dir(),
                    source,
                })
                .inspect_err(|_| self.node.give_back(&place))?;
            self.tell_forbidden_ports(&place);
            if let Some(text) = start::not_enforced(&self.spec()) {
                self.notes.warning("NotEnforced", text);
            }
            if let Some(text) = start::sandbox_not_enforced(&self.pod) {
                self.notes.warning("NotEnforced", text);
            }
            self.place = Some(Arc::new(place));
            // So that the user sees an address and ContainerCreating at once; a failure is made good by the step's end.
            let _ = self.write_status().await;
        }
        let link = launch::launch(&self.node.config.program, &self.dir(), &self.uid).await;
        self.link = Some(link.map_err(SetUpError::Keeper)?);
        Ok(())
    }

    fn allocate(&self) -> Result<Place, SetUpError> {
        let metadata = &self.pod.metadata;
        let spec = self.spec();
        let host_network = spec.host_network == Some(true);
        let ip = if host_network {
            Some(self.node.ip)
        } else {
            self.node.addresses.take()
        };
        let mut place = Place {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: self.uid.clone(),
            ip: ip.ok_or(SetUpError::NoAddress)?,
            host_network,
            ports: BTreeMap::new(),
        };
        if self.listens_as_declared(&place) {
            return Ok(place);
        }
        let mut given: BTreeMap<u16, u16> = BTreeMap::new();
        for (number, protocol) in self.ports() {
            // A port is given out for all protocols, so that `PORT_53` means the same with TCP and UDP.
            let taken = given.get(&number).copied();
            match taken.or_else(|| self.node.config.ports.take()) {
                Some(port) => {
                    given.insert(number, port);
                    place.ports.insert(api::ports::key(number, &protocol), port);
                }
                None => {
                    self.node.give_back(&place);
                    return Err(SetUpError::NoPort);
                }
            }
        }
        Ok(place)
    }

    fn listens_as_declared(&self, place: &Place) -> bool {
        place.host_network || self.node.config.pod_ports == PodPorts::Declared
    }

    /// Once in a pod's life, when it gets its place.
    fn tell_forbidden_ports(&self, place: &Place) {
        if !self.listens_as_declared(place) {
            return;
        }
        let ports: BTreeSet<u16> = self.ports().into_iter().map(|(number, _)| number).collect();
        let forbidden = low_ports::forbidden(place.ip, ports.into_iter());
        if let Some(text) = low_ports::sentence(&forbidden, place.host_network, self.node.config.pod_ports) {
            self.notes.warning("PortNotBound", text);
        }
    }

    /// The declared ports of all containers, and port 80 where an image implies it, with their protocols.
    fn ports(&self) -> BTreeSet<(u16, String)> {
        let spec = self.spec();
        let mut ports = BTreeSet::new();
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        for container in containers {
            let declared: Vec<_> = container
                .ports
                .iter()
                .flatten()
                .filter_map(|port| {
                    let protocol = port.protocol.as_deref().unwrap_or("TCP");
                    Some((u16::try_from(port.container_port).ok()?, protocol.to_owned()))
                })
                .collect();
            let image = container.image.as_deref().unwrap_or_default();
            if declared.is_empty() && self.node.config.images.implies_port_80(image) {
                ports.insert((80, "TCP".to_owned()));
            }
            ports.extend(declared);
        }
        ports
    }
}
