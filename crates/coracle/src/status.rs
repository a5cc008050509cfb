//! `coracle status`: what runs of a cluster, seen from outside.
//!
//! Flows in: the data folder, the API, the balancer's status document. Flows out: a few lines and a table of the pods
//! with their connections. Each part is asked on its own, so that what is down is seen beside what is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use balancer::datapath::BackendState;
use balancer::status::Status;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};

use crate::cli::ClusterArgs;
use crate::data_dir::{DataDir, Settings};
use crate::output;
use crate::process::ProcessId;
use crate::up::balancer::{running, status_socket};

/// How long the API may take to answer.
const API_LIMIT: Duration = Duration::from_secs(5);

/// Prints the status; the exit code is 0 only if server and balancer run.
pub async fn command(args: ClusterArgs) -> anyhow::Result<ExitCode> {
    let data_dir = DataDir::new(args.data_dir)?;
    let folder = data_dir.root().display();
    let Some(settings) = data_dir.settings()? else {
        output::line(format_args!(
            "There is no cluster in {folder}: start one with `coracle up`."
        ))?;
        return Ok(ExitCode::FAILURE);
    };
    let (server, balancer) = (data_dir.server(), running(&data_dir));
    let mut text = format!("data folder   {folder}\n");
    writeln!(text, "server        {}", server_line(&settings, server, balancer))?;
    let mut traffic = None;
    match balancer {
        None => writeln!(text, "balancer      not running")?,
        Some(process) => match balancer::status::read(&status_socket(&data_dir)).await {
            Ok(status) => {
                describe_balancer(&mut text, &status)?;
                traffic = Some(status);
            }
            Err(error) => writeln!(
                text,
                "balancer      pid {}, does not answer yet: {error}",
                process.pid
            )?,
        },
    }
    if server.is_some() {
        describe_cluster(&mut text, &data_dir, traffic.as_ref()).await?;
    }
    output::text_of(text)?;
    let all = server.is_some() && balancer.is_some();
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn server_line(settings: &Settings, server: Option<ProcessId>, balancer: Option<ProcessId>) -> String {
    match (server, balancer) {
        (Some(server), _) => format!("https://127.0.0.1:{}, pid {}", settings.api_port, server.pid),
        (None, Some(_)) => "not running: start it with `coracle up`; pods and traffic go on".to_owned(),
        (None, None) => "not running: start it with `coracle up`".to_owned(),
    }
}

fn describe_balancer(text: &mut String, status: &Status) -> std::fmt::Result {
    writeln!(
        text,
        "balancer      pid {}, {} connections",
        status.pid, status.connections
    )?;
    for listener in &status.listeners {
        let error = listener
            .error
            .iter()
            .map(|error| format!(": {error}"))
            .collect::<String>();
        writeln!(text, "  {:<22} {}{error}", listener.addr, listener.route)?;
    }
    Ok(())
}

/// Nodes and pods, as the API knows them, beside what the balancer knows of them.
async fn describe_cluster(
    text: &mut String,
    data_dir: &DataDir,
    balancer: Option<&Status>,
) -> anyhow::Result<()> {
    let file = Kubeconfig::read_from(data_dir.kubeconfig("admin"))?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(API_LIMIT);
    config.read_timeout = Some(API_LIMIT);
    let client = Client::try_from(config)?;
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    let ready = nodes.items.iter().filter(|node| is_ready(node)).count();
    let pods = Api::<Pod>::all(client).list(&ListParams::default()).await?;
    writeln!(text, "nodes         {ready} of {} ready", nodes.items.len())?;
    writeln!(text, "pods          {}", pods.items.len())?;
    let mut traffic: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
    for backend in balancer.into_iter().flat_map(|status| &status.backends) {
        if let Some(pod) = &backend.pod {
            traffic.entry(pod).or_insert((state(backend.state), 0)).1 += backend.open;
        }
    }
    if !pods.items.is_empty() {
        writeln!(
            text,
            "\n{:<45} {:<10} {:<10} {:<9} CONNECTIONS",
            "POD", "NODE", "PHASE", "TRAFFIC"
        )?;
    }
    for pod in &pods.items {
        let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        let node = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.as_deref())
            .unwrap_or("<none>");
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .unwrap_or("Unknown");
        let (state, open) = traffic.get(name.as_str()).copied().unwrap_or(("-", 0));
        writeln!(text, "{name:<45} {node:<10} {phase:<10} {state:<9} {open}")?;
    }
    Ok(())
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn state(state: BackendState) -> &'static str {
    match state {
        BackendState::Ready => "ready",
        BackendState::Draining => "draining",
        BackendState::Drained => "drained",
    }
}
