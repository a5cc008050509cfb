//! What a start of the cluster goes by: what was asked for now, else what was remembered, else the default.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;

use crate::cli::PodPorts;
use crate::data_dir::{DataDir, Settings};
use crate::kubeconfig;
use crate::network::Network;

use super::Options;

/// The name of the context of the cluster in the default data folder.
const CONTEXT: &str = "coracle";

/// Everything that a start needs to hold before the first component runs.
pub struct Start {
    /// Remembered from now on.
    pub settings: Settings,
    /// Where the API will answer.
    pub listener: TcpListener,
    /// The claim on the network block; `None` if this cluster's balancer still holds it.
    pub claim: Option<OwnedFd>,
}

/// Works out the settings, claims the network block and takes the API's port.
pub async fn settle(data_dir: &DataDir, options: &Options, balancer_alive: bool) -> anyhow::Result<Start> {
    let remembered = data_dir.settings()?;
    if let (Some(asked), Some(settings)) = (options.nodes, &remembered)
        && asked < settings.nodes
    {
        // Nobody would look after the pods of the nodes left out.
        bail!(
            "this cluster has {} nodes: it can get more of them, but not fewer; a new one, after `coracle down` or with \
             another --data-dir, can have {asked}",
            settings.nodes
        );
    }
    if options.fake_pods
        && let Some(settings) = &remembered
        && !settings.fake_pods
    {
        // Nobody would look after the processes of its pods.
        bail!("the pods of this cluster are real: start one with fake pods with another --data-dir");
    }
    let (network, claim) = match &remembered {
        None => Network::claim_any().map(|(network, claim)| (network, Some(claim)))?,
        Some(settings) => {
            let network = Network(settings.network);
            let claim = network.claim()?;
            if claim.is_none() && !balancer_alive {
                bail!(
                    "another cluster uses the addresses of this one ({}/16): stop it first, or start with a new --data-dir",
                    network.pods()
                );
            }
            (network, claim)
        }
    };
    let port = options
        .api_port
        .or(remembered.as_ref().map(|settings| settings.api_port))
        .unwrap_or(7443);
    let listener = listen(port).await?;
    let (kubeconfig, context) = kubeconfig_of(options, remembered.as_ref())?;
    let settings = Settings {
        network: network.0,
        api_port: listener.local_addr()?.port(),
        nodes: options
            .nodes
            .or(remembered.as_ref().map(|settings| settings.nodes))
            .unwrap_or(3),
        declared_ports: match options.pod_ports {
            Some(ports) => ports == PodPorts::Declared,
            None => remembered
                .as_ref()
                .is_some_and(|settings| settings.declared_ports),
        },
        metrics_address: options
            .metrics_address
            .or_else(|| remembered.as_ref().and_then(|settings| settings.metrics_address)),
        node_monitor_grace_seconds: match options.node_monitor_grace_period {
            Some(period) => Some(period.as_secs()),
            None => remembered
                .as_ref()
                .and_then(|settings| settings.node_monitor_grace_seconds),
        },
        fake_pods: options.fake_pods || remembered.as_ref().is_some_and(|settings| settings.fake_pods),
        context_before: kubeconfig::current(&kubeconfig, &context)?
            .or_else(|| remembered.and_then(|settings| settings.context_before)),
        kubeconfig,
        context,
    };
    data_dir.save_settings(&settings)?;
    Ok(Start {
        settings,
        listener,
        claim,
    })
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {port} on 127.0.0.1 is taken by another program: choose another with --api-port (0 takes a free one)"
        ),
        Err(error) => Err(error).with_context(|| {
            format!("cannot listen on 127.0.0.1:{port}: choose another port with --api-port")
        }),
    }
}

fn kubeconfig_of(options: &Options, remembered: Option<&Settings>) -> anyhow::Result<(PathBuf, String)> {
    let path = match (&options.kubeconfig, remembered) {
        (Some(path), _) => std::path::absolute(path)?,
        (None, Some(settings)) => settings.kubeconfig.clone(),
        (None, None) => kubeconfig::default_path()?,
    };
    Ok((path, CONTEXT.to_owned()))
}
