//! Many watchers, and how soon each learns of a write.
//!
//! Once with a watcher for each object (by label, so that the server has to match every write against every watcher), and
//! once with all of them watching everything. The time is from the moment the write is sent until its event is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{AsyncBufReadExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchParams};
use kube::core::Request;
use kube::{Api, Client, Resource as _};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::target::Running;
use super::{Error, Figure, Plan};

/// Watchers are given this long to open, and events to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// Writes in a second that all watchers see.
const SHARED_WRITES: u32 = 10;

/// Measures both.
pub async fn measure(running: &Running<'_>, plan: &Plan) -> Result<Vec<Figure>, Error> {
    let watchers = plan.watchers;
    let api: Api<ConfigMap> = Api::default_namespaced(running.client.clone());
    for number in 0..watchers {
        api.create(&PostParams::default(), &object(number)).await?;
    }
    let mut figures = Vec::new();
    for (writes, each) in [(plan.writes, true), (SHARED_WRITES, false)] {
        let mut times = deliveries(running, plan, (writes, each)).await?;
        times.sort_unstable();
        let seen_by = if each { "one" } else { "all" };
        for (name, share) in [("p50", 50), ("p99", 99)] {
            let index = times.len() * share / 100;
            let time = times.get(index).copied().unwrap_or_default();
            let what = format!("{watchers} watchers, {writes} writes/s seen by {seen_by}: {name}, ms");
            figures.push(Figure::new(what, time.as_secs_f64() * 1e3));
        }
    }
    Ok(figures)
}

fn name(number: u32) -> String {
    format!("watched-{number}")
}

fn object(number: u32) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(number)),
            labels: Some([("watched".to_owned(), number.to_string())].into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

/// The time of every delivery. `each`: every watcher watches one object.
async fn deliveries(
    running: &Running<'_>,
    plan: &Plan,
    (writes, each): (u32, bool),
) -> Result<Vec<Duration>, Error> {
    let api: Api<ConfigMap> = Api::default_namespaced(running.client.clone());
    let revision = api.list_metadata(&ListParams::default().limit(1)).await?;
    let revision = revision.metadata.resource_version.unwrap_or_default();
    let (sender, mut delivered) = mpsc::unbounded_channel();
    let clock = Instant::now();
    let mut watching = JoinSet::new();
    let opened = Arc::new(tokio::sync::Barrier::new(usize::try_from(plan.watchers)? + 1));
    for number in 0..plan.watchers {
        let selector = if each {
            format!("watched={number}")
        } else {
            "watched".to_owned()
        };
        let parameters = WatchParams::default().labels(&selector).timeout(290);
        let request =
            Request::new(ConfigMap::url_path(&(), Some("default"))).watch(&parameters, &revision)?;
        let (client, sender, opened) = (running.client.clone(), sender.clone(), opened.clone());
        watching.spawn(follow(client, request, opened, sender, clock));
    }
    tokio::time::timeout(PATIENCE, opened.wait()).await?;
    let count = writes * plan.seconds;
    let mut writing = JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / writes);
    for number in 0..count {
        pace.tick().await;
        writing.spawn(write(api.clone(), number % plan.watchers, clock));
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    let expected = count * if each { 1 } else { plan.watchers };
    let mut times = Vec::new();
    while times.len() < usize::try_from(expected)? {
        let time = tokio::time::timeout(PATIENCE, delivered.recv()).await?;
        times.push(time.ok_or("all watchers have ended")?);
    }
    Ok(times)
}

async fn write(api: Api<ConfigMap>, number: u32, clock: Instant) -> kube::Result<()> {
    let sent = clock.elapsed().as_nanos().to_string();
    let patch = Patch::Merge(json!({"data": {"sent": sent}}));
    api.patch(&name(number), &PatchParams::default(), &patch)
        .await
        .map(drop)
}

/// Reads a watch until it is dropped. Events are not decoded: it is the server that is measured.
async fn follow(
    client: Client,
    request: http::Request<Vec<u8>>,
    opened: Arc<tokio::sync::Barrier>,
    sender: mpsc::UnboundedSender<Duration>,
    clock: Instant,
) -> Result<(), Error> {
    let mut lines = client.request_stream(request).await?.lines();
    opened.wait().await;
    while let Some(line) = lines.next().await {
        if let Some(sent) = sent(&line?) {
            let _ = sender.send(clock.elapsed().saturating_sub(sent));
        }
    }
    Ok(())
}

/// When the write of an event was sent.
fn sent(line: &str) -> Option<Duration> {
    let (_, rest) = line.split_once("\"sent\":\"")?;
    let (digits, _) = rest.split_once('"')?;
    Some(Duration::from_nanos(digits.parse().ok()?))
}
