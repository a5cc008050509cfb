//! `logs`: the output of a container, of a pod that is named or of one that a Deployment or Service selects.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::core::params::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use super::Namespace;
use super::catalogue::Catalogue;
use super::rest::Objects;
use super::selection::Selection;

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// POD, or KIND/NAME of what selects pods
    pod: String,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// The run before the last restart
    #[arg(short, long)]
    previous: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<i64>,
    /// Which container [default: the pod's first]
    #[arg(short, long)]
    container: Option<String>,
    /// The time before each line
    #[arg(long)]
    timestamps: bool,
    #[command(flatten)]
    namespace: Namespace,
}

/// Copies the log to standard output.
///
/// # Errors
/// When there is no such pod, container or log, or standard output cannot be written.
pub async fn run(args: LogsArgs, client: Client) -> anyhow::Result<ExitCode> {
    let namespace = args.namespace.or_default(&client);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = match args.pod.split_once('/') {
        Some(("pod" | "pods" | "po", name)) => named(&pods, name, namespace).await?,
        Some(_) => selected_by(&args.pod, &client, namespace, &pods).await?,
        None => named(&pods, &args.pod, namespace).await?,
    };
    let params = LogParams {
        container: args.container.clone().or_else(|| default_container(&pod)),
        follow: args.follow,
        previous: args.previous,
        tail_lines: args.tail,
        timestamps: args.timestamps,
        ..LogParams::default()
    };
    let mut log = std::pin::pin!(pods.log_stream(&pod.name_any(), &params).await?);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = log.read(&mut buffer).await.context("the log broke off")?;
        if length == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = std::io::stdout().lock();
        out.write_all(&buffer[..length])?;
        out.flush()?;
    }
}

async fn named(pods: &Api<Pod>, name: &str, namespace: &str) -> anyhow::Result<Pod> {
    match pods.get_opt(name).await? {
        Some(pod) => Ok(pod),
        None => bail!("error from server (NotFound): pods \"{name}\" not found in namespace \"{namespace}\""),
    }
}

/// The container that a person means who names none; says so if there is a choice.
fn default_container(pod: &Pod) -> Option<String> {
    let names: Vec<&str> = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|one| one.name.as_str())
        .collect();
    let annotated = pod.annotations().get(DEFAULT_CONTAINER).map(String::as_str);
    let chosen = annotated
        .filter(|name| names.contains(name))
        .or_else(|| names.first().copied())?;
    if names.len() > 1 && annotated.is_none() {
        eprintln!("Defaulted container \"{chosen}\" out of: {}", names.join(", "));
    }
    Some(chosen.to_owned())
}

/// The best pod that `target` (`deployment/web`, `service/web`) selects: a ready one if there is one.
async fn selected_by(target: &str, client: &Client, namespace: &str, pods: &Api<Pod>) -> anyhow::Result<Pod> {
    let catalogue = Catalogue::load(client).await?;
    let Some((resource, name)) = Selection::objects(&[target.to_owned()], &catalogue)?
        .into_iter()
        .next()
    else {
        bail!("expected a pod");
    };
    let object = Objects::new(client, &resource, Some(namespace))
        .get(&name)
        .await?;
    let Some(selector) = selector(&object["spec"]["selector"]) else {
        bail!(
            "cannot get the logs from {}: it selects no pods",
            resource.label()
        );
    };
    let mut found = pods.list(&ListParams::default().labels(&selector)).await?.items;
    found.sort_by_key(|pod| !is_ready(pod));
    let total = found.len();
    let Some(pod) = found.into_iter().next() else {
        bail!("no pods found for {target}");
    };
    if total > 1 {
        eprintln!("Found {total} pods, using pod/{}", pod.name_any());
    }
    Ok(pod)
}

/// A label selector in query form, from a Deployment's (`matchLabels`) or a Service's (plain labels).
fn selector(selector: &Value) -> Option<String> {
    let labels = selector.get("matchLabels").unwrap_or(selector).as_object()?;
    let pairs = labels
        .iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    let text = pairs.collect::<Vec<_>>().join(",");
    (!text.is_empty()).then_some(text)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_of_deployments_and_services() {
        assert_eq!(
            selector(&json!({"matchLabels": {"a": "1", "b": "2"}})).as_deref(),
            Some("a=1,b=2")
        );
        assert_eq!(selector(&json!({"a": "1"})).as_deref(), Some("a=1"));
        assert_eq!(selector(&Value::Null), None);
    }

    #[test]
    fn the_annotated_container_wins_over_the_first() {
        let pod = |annotations: Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"annotations": annotations},
                "spec": {"containers": [{"name": "a"}, {"name": "b"}]}}))
            .expect("a pod")
        };
        assert_eq!(default_container(&pod(json!({}))).as_deref(), Some("a"));
        assert_eq!(
            default_container(&pod(json!({DEFAULT_CONTAINER: "b"}))).as_deref(),
            Some("b")
        );
        assert_eq!(
            default_container(&pod(json!({DEFAULT_CONTAINER: "gone"}))).as_deref(),
            Some("a")
        );
    }
}
