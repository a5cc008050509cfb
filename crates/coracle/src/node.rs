//! `coracle node stop|start`: ends a node's agent as if its machine's kubelet had died, and starts one again.
//!
//! Flows in: a node's name. Flows out: an annotation of the Node object, which the server goes by (module `up::nodes`).

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use api::names::{NODE_AGENT, STOPPED};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::cli::ClusterArgs;
use crate::data_dir::DataDir;
use crate::{client, output};

/// `coracle node`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum NodeCommand {
    /// Stop a node's agent, as when a kubelet dies: its pods' processes go on, and nobody looks after them
    Stop(NodeArgs),
    /// Start a node's agent again; it takes the node's pods over
    Start(NodeArgs),
}

/// Which node.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// The node, as in `kubectl get nodes`
    name: String,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Does what was asked.
pub async fn run(command: NodeCommand) -> anyhow::Result<ExitCode> {
    let (args, stop) = match command {
        NodeCommand::Stop(args) => (args, true),
        NodeCommand::Start(args) => (args, false),
    };
    let NodeArgs { name, cluster } = args;
    let data_dir = DataDir::new(cluster.data_dir)?;
    let nodes = nodes(&data_dir).await?;
    let node = find(&nodes, &name).await?;
    let agent = node.annotations().get(NODE_AGENT);
    let option = data_dir.option();
    match (agent.is_some_and(|agent| agent == STOPPED), stop) {
        (true, true) => {
            bail!("the agent of {name} is stopped already: `coracle node start {name}{option}` starts it")
        }
        (false, false) => {
            bail!("the agent of {name} runs already: `coracle node stop {name}{option}` stops it")
        }
        _ => {}
    }
    let patch = json!({ "metadata": { "annotations": { NODE_AGENT: stop.then_some(STOPPED) } } });
    nodes
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    output::line(format_args!(
        "{}",
        if stop {
            format!(
                "The agent of {name} is stopped. Its pods go on, but nobody looks after them; soon the node is \
                 NotReady. `coracle node start {name}{option}` starts it again."
            )
        } else {
            format!("The agent of {name} is started, and takes the node's pods over.")
        }
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The API of a server that runs.
async fn nodes(data_dir: &DataDir) -> anyhow::Result<Api<Node>> {
    let (folder, option) = (data_dir.root().display(), data_dir.option());
    if data_dir.settings()?.is_none() {
        bail!("there is no cluster in {folder}: start one with `coracle up{option}`");
    }
    if data_dir.server().is_none() {
        bail!("the server of {folder} does not run: start it with `coracle up{option}`");
    }
    Ok(Api::all(client::of(data_dir).await?))
}

async fn find(nodes: &Api<Node>, name: &str) -> anyhow::Result<Node> {
    let unanswered = "the API does not answer";
    if let Some(node) = nodes.get_opt(name).await.context(unanswered)? {
        return Ok(node);
    }
    let all = nodes.list(&ListParams::default()).await.context(unanswered)?;
    let names: Vec<String> = all.items.iter().map(|node| node.name_any()).collect();
    bail!("there is no node {name}: the nodes are {}", names.join(", "))
}
