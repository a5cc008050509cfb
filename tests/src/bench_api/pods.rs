//! Rollouts, and many pods at once.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::target::Running;
use super::{Error, Figure};
use futures::{StreamExt as _, pin_mut};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits until all nodes are ready.
pub async fn nodes_ready(running: &Running<'_>) -> Result<(), Error> {
    let nodes = Api::<Node>::all(running.client.clone());
    let events = watcher(nodes, watcher::Config::default());
    pin_mut!(events);
    let mut ready = std::collections::BTreeSet::new();
    let wait = async {
        while ready.len() < usize::from(running.size().nodes()) {
            match events.next().await {
                Some(Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)))
                    if is_ready(&node) =>
                {
                    ready.insert(node.name_any());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Error::from(error)),
                None => return Err("the watch has ended".into()),
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, wait).await?
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Rolls a Deployment from one image to another.
pub async fn rollout(running: &Running<'_>, replicas: u32) -> Result<Vec<Figure>, Error> {
    let api: Api<Deployment> = Api::default_namespaced(running.client.clone());
    let first = make_deployment(&api, replicas).await?;
    let begun = Instant::now();
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:1.8"}]}}}});
    api.patch(NAME, &PatchParams::default(), &Patch::Strategic(image))
        .await?;
    available(&api, replicas).await?;
    let rolled = begun.elapsed();
    let deployment = api.get(NAME).await?;
    api.delete(NAME, &DeleteParams::foreground()).await?;
    let uid = deployment.uid().unwrap_or_default();
    let gone = await_condition(api, NAME, is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await??;
    Ok(vec![
        Figure::new(
            format!("{replicas} replicas from nothing, s"),
            first.as_secs_f64(),
        ),
        Figure::new(format!("rollout of {replicas} replicas, s"), rolled.as_secs_f64()),
    ])
}

/// Makes a Deployment of many pods, and leaves it.
pub async fn make(running: &Running<'_>, pods: u32) -> Result<Figure, Error> {
    let api: Api<Deployment> = Api::default_namespaced(running.client.clone());
    let time = make_deployment(&api, pods).await?;
    Ok(Figure::new(
        format!("{pods} replicas from nothing, s"),
        time.as_secs_f64(),
    ))
}

/// Asks until all pods are listed: after a start, a server may answer before it has read them.
pub async fn all_known(running: &Running<'_>, pods: u32) -> Result<(), Error> {
    let api: Api<Pod> = Api::default_namespaced(running.client.clone());
    let listed = api.list_metadata(&ListParams::default()).await?.items.len();
    if listed == usize::try_from(pods)? {
        Ok(())
    } else {
        Err(format!("{listed} pods are listed after the start, of {pods}").into())
    }
}

const NAME: &str = "bench";

async fn make_deployment(api: &Api<Deployment>, replicas: u32) -> Result<Duration, Error> {
    let deployment = serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1.7.9", "ports": [{"containerPort": 80}]}]},
            },
        },
    }))?;
    let begun = Instant::now();
    api.create(&PostParams::default(), &deployment).await?;
    available(api, replicas).await?;
    Ok(begun.elapsed())
}

/// Waits until the Deployment is as asked, by the rule of `kubectl rollout status`.
async fn available(api: &Api<Deployment>, replicas: u32) -> Result<(), Error> {
    let wanted = i32::try_from(replicas)?;
    let is_there = move |deployment: Option<&Deployment>| {
        deployment.is_some_and(|deployment| {
            let Some(status) = &deployment.status else {
                return false;
            };
            let counts = [
                status.replicas,
                status.updated_replicas,
                status.available_replicas,
            ];
            status.observed_generation == deployment.metadata.generation
                && counts.iter().all(|count| *count == Some(wanted))
        })
    };
    let wait = await_condition(api.clone(), NAME, is_there);
    tokio::time::timeout(PATIENCE, wait).await??;
    Ok(())
}
