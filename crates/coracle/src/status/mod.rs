//! `coracle status`: what runs of a cluster, seen from outside.
//!
//! Flows in: the data folder, the API, the balancer's status document. Flows out: a few lines and a table of the pods
//! with their connections and requests. Each part is asked on its own, so that what is down is seen beside what is not.

mod traffic;

use std::fmt::Write as _;
use std::process::ExitCode;

use balancer::datapath::BackendState;
use balancer::status::{Metrics, ReadError, Status};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, ObjectList};
use kube::{Api, ResourceExt as _};

use crate::cli::ClusterArgs;
use crate::client;
use crate::data_dir::{DataDir, Settings};
use crate::output;
use crate::process::ProcessId;
use crate::up::balancer::{running, status_socket};
use traffic::Traffic;

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
    let measuring = async {
        match balancer {
            Some(process) => Some((process, Traffic::measure(&status_socket(&data_dir)).await)),
            None => None,
        }
    };
    let listing = async {
        match server {
            Some(_) => Some(objects(&data_dir).await),
            None => None,
        }
    };
    let (traffic, objects) = tokio::join!(measuring, listing);
    let mut text = format!("data folder   {folder}\n");
    writeln!(text, "server        {}", server_line(&settings, server, balancer))?;
    let traffic = describe_balancer(&mut text, traffic)?;
    if let Some(objects) = objects {
        describe_cluster(&mut text, &objects?, traffic.as_ref())?;
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

/// The balancer and its Services, if it runs; its traffic, if it answers.
fn describe_balancer(
    text: &mut String,
    balancer: Option<(ProcessId, Result<Traffic, ReadError>)>,
) -> Result<Option<Traffic>, std::fmt::Error> {
    let Some((process, measured)) = balancer else {
        writeln!(text, "balancer      not running")?;
        return Ok(None);
    };
    let traffic = match measured {
        Ok(traffic) => traffic,
        Err(error) => {
            let pid = process.pid;
            writeln!(text, "balancer      pid {pid}, does not answer yet: {error}")?;
            return Ok(None);
        }
    };
    let Status {
        pid,
        connections,
        most,
        metrics,
        listeners,
        ..
    } = &traffic.status;
    writeln!(text, "balancer      pid {pid}, {connections} connections")?;
    if connections >= most {
        writeln!(
            text,
            "  at the limit of open files: more connections wait; raise it (ulimit -n) for `coracle balancer replace`"
        )?;
    }
    if let Some(Metrics { addr, error }) = metrics {
        let error = error.iter().map(|error| format!(": {error}")).collect::<String>();
        writeln!(text, "metrics       http://{addr}/metrics{error}")?;
    }
    for listener in listeners {
        let error = listener
            .error
            .iter()
            .map(|error| format!(": {error}"))
            .collect::<String>();
        writeln!(text, "  {:<22} {}{error}", listener.addr, listener.route)?;
    }
    Ok(Some(traffic))
}

/// Nodes and pods, as the API knows them.
async fn objects(data_dir: &DataDir) -> anyhow::Result<(ObjectList<Node>, ObjectList<Pod>)> {
    let client = client::of(data_dir).await?;
    let nodes = Api::all(client.clone()).list(&ListParams::default()).await?;
    let pods = Api::all(client).list(&ListParams::default()).await?;
    Ok((nodes, pods))
}

/// Nodes, Services and pods, beside what the balancer knows of them.
fn describe_cluster(
    text: &mut String,
    (nodes, pods): &(ObjectList<Node>, ObjectList<Pod>),
    traffic: Option<&Traffic>,
) -> std::fmt::Result {
    let ready = nodes.items.iter().filter(|node| is_ready(node)).count();
    writeln!(text, "nodes         {ready} of {} ready", nodes.items.len())?;
    writeln!(text, "pods          {}", pods.items.len())?;
    let services = traffic.map(Traffic::services).unwrap_or_default();
    if let (Some(traffic), false) = (traffic, services.is_empty()) {
        writeln!(text, "\n{:<66} {:<11} REQUESTS/S", "SERVICE", "CONNECTIONS")?;
        for (name, load) in services {
            writeln!(text, "{name:<66} {:<11} {}", load.open, traffic.rate(&load))?;
        }
    }
    if pods.items.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\n{:<45} {:<10} {:<9} {:<9} {:<11} REQUESTS/S",
        "POD", "NODE", "PHASE", "TRAFFIC", "CONNECTIONS"
    )?;
    let loads = traffic.map(Traffic::pods).unwrap_or_default();
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
        let load = loads.get(name.as_str()).copied().unwrap_or_default();
        let rate = traffic.map_or_else(|| "-".to_owned(), |traffic| traffic.rate(&load));
        writeln!(
            text,
            "{name:<45} {node:<10} {phase:<9} {:<9} {:<11} {rate}",
            load.state.map_or("-", state),
            load.open
        )?;
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
