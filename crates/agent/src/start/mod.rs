//! From a container of a pod to what its keeper starts: program, arguments, environment, folders.
//!
//! Flows in: pod, image, place, the ConfigMaps and Secrets that the pod names, and the Services it is told of. Flows out: a [`Start`], or the reason
//! why the container waits. Pure but for the folders and files that it makes in the pod's folder.

mod access;
mod command;
mod environment;
mod fields;
mod filesystem;
mod host_path;
mod objects;
mod security;
mod services;
mod volumes;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, Service};

use crate::images::Image;
use crate::keeper::protocol::{Input, Start};
use crate::process::{CONTAINER_MARK, POD_MARK};
use crate::sandbox::Place;

pub use filesystem::not_enforced as sandbox_not_enforced;
pub use objects::Objects;
pub use security::not_enforced;
pub use services::of_pod as services_of_pod;

/// Size in bytes at which a log file is rotated.
const LOG_LIMIT: u64 = 10 << 20;

/// Where a container is about to run.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its folder.
    pub dir: &'a Path,
    /// Its address and ports.
    pub place: &'a Place,
    /// The Services it is told of.
    pub services: &'a [Arc<Service>],
    /// The node's name.
    pub node: &'a str,
    /// The node's address.
    pub node_ip: Ipv4Addr,
    /// This program, which is also the stand-in web server.
    pub program: &'a Path,
    /// The machine's processors and bytes of memory: what a container without limits may use.
    pub machine: (u64, u64),
}

/// Why a container cannot be started now.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A ConfigMap, a Secret, a field or a volume cannot be had.
    #[error("{0}")]
    Config(String),
    /// A volume is not what the pod says it is.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {text}")]
    Mount {
        /// The volume's name.
        volume: String,
        /// What is wrong with it.
        text: String,
    },
    /// There is nothing to run, or nowhere to run it.
    #[error("{0}")]
    Create(String),
    /// The API server did not answer.
    #[error("{0}")]
    Api(#[from] kube::Error),
    /// The pod's folder cannot be written.
    #[error("cannot write {path}: {source}")]
    Folder {
        /// What was to be written.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
}

impl StartError {
    /// The reason of the container's waiting state, as upstream calls it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Config(_) | Self::Api(_) => "CreateContainerConfigError",
            Self::Create(_) | Self::Folder { .. } => "CreateContainerError",
            Self::Mount { .. } => "ContainerCreating",
        }
    }
}

/// Works out what to start.
pub fn prepare(
    site: &Site<'_>,
    container: &Container,
    attempt: u32,
    image: &Image,
    objects: &Objects,
) -> Result<Start, StartError> {
    let mut confine = security::confine(site, container)?;
    let volumes = volumes::prepare(site, objects)?;
    let groups = security::groups(site);
    if !groups.is_empty() {
        access::open(site, &groups)?;
    }
    let root = volumes::link_mounts(site, container, &volumes)?;
    let dir = match container.working_dir.as_deref().filter(|dir| !dir.is_empty()) {
        None => root.clone(),
        Some(dir) if Path::new(dir).is_dir() => PathBuf::from(dir),
        Some(dir) => {
            return Err(StartError::Create(format!(
                "workingDir {dir:?} is not a folder of this machine"
            )));
        }
    };
    let mut env = environment::build(site, container, image, objects)?;
    for (name, path) in &volumes {
        let variable = format!("CORACLE_VOLUME_{}", name.to_ascii_uppercase().replace('-', "_"));
        env.insert(variable, path.to_string_lossy().into_owned());
    }
    let (program, args) = command::build(site, container, image, &env)?;
    if filesystem::is_asked_for(site.pod)? {
        let temporary = root.to_string_lossy().into_owned();
        env.entry("TMPDIR".to_owned()).or_insert(temporary);
        confine.sandbox = Some(filesystem::sandbox(
            site,
            container,
            [&program, &*dir.to_string_lossy()],
            &root,
            &volumes,
        ));
    }
    // Last, so that nothing can override them: by these marks strays are found.
    env.insert(POD_MARK.to_owned(), site.place.uid.clone());
    env.insert(CONTAINER_MARK.to_owned(), container.name.clone());
    Ok(Start {
        container: container.name.clone(),
        attempt,
        program,
        args,
        env: env.into_iter().collect(),
        dir: dir.to_string_lossy().into_owned(),
        stop_signal: stop_signal(container).unwrap_or(image.stop_signal),
        log_limit: LOG_LIMIT,
        input: match (container.stdin, container.stdin_once) {
            (Some(true), Some(true)) => Input::Once,
            (Some(true), _) => Input::Open,
            _ => Input::None,
        },
        terminal: container.tty == Some(true),
        confine,
    })
}

/// `lifecycle.stopSignal`, which wins over the image's.
fn stop_signal(container: &Container) -> Option<i32> {
    crate::images::signal_number(container.lifecycle.as_ref()?.stop_signal.as_deref()?)
}

/// The real TCP ports that a container is to listen on: the declared ones, else the one its image implies.
pub fn listen_ports(place: &Place, container: &Container, implied: bool) -> Vec<u16> {
    let declared = declared_ports(container, "TCP");
    let declared: Vec<u16> = declared.map(|port| real_port(place, port, "TCP")).collect();
    if declared.is_empty() && implied {
        vec![real_port(place, 80, "TCP")]
    } else {
        declared
    }
}

/// The real UDP ports that a container is to take datagrams at.
pub fn datagram_ports(place: &Place, container: &Container) -> Vec<u16> {
    let declared = declared_ports(container, "UDP");
    declared.map(|port| real_port(place, port, "UDP")).collect()
}

/// The declared ports of a container that are of this protocol.
fn declared_ports(container: &Container, protocol: &str) -> impl Iterator<Item = u16> {
    let ports = container.ports.iter().flatten();
    ports
        .filter(move |port| port.protocol.as_deref().unwrap_or("TCP") == protocol)
        .filter_map(|port| u16::try_from(port.container_port).ok())
}

/// Where a declared port really is.
pub fn real_port(place: &Place, port: u16, protocol: &str) -> u16 {
    place
        .ports
        .get(&api::ports::key(port, protocol))
        .copied()
        .unwrap_or(port)
}

/// An environment under construction.
type Environment = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
