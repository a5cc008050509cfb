//! Creates, gets and lists.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::core::Request;
use kube::{Api, Client, Resource as _};

use super::target::Running;
use super::{Error, Figure, Plan};

/// Requests at the same time.
const CONCURRENT: usize = 16;
/// What an object holds, in bytes; a pod with its status is about as large.
const VALUE: usize = 2_000;
/// How often the pods are listed.
const LISTS: u32 = 5;

/// Creates objects, and gets each.
pub async fn creates_and_gets(running: &Running<'_>, plan: &Plan) -> Result<Vec<Figure>, Error> {
    let api: Api<ConfigMap> = Api::default_namespaced(running.client.clone());
    let created = timed(plan.objects, |number| {
        let api = api.clone();
        async move {
            let object = object(number);
            api.create(&PostParams::default(), &object).await.map(drop)
        }
    });
    let created = created.await?;
    let got = timed(plan.objects, |number| {
        let client = running.client.clone();
        async move { get(&client, &name(number)).await }
    });
    let got = got.await?;
    let rate = |time: Duration| f64::from(plan.objects) / time.as_secs_f64();
    Ok(vec![
        Figure::new(format!("creates/s, {CONCURRENT} at a time"), rate(created)),
        Figure::new(format!("gets/s, {CONCURRENT} at a time"), rate(got)),
    ])
}

async fn timed<F>(count: u32, request: impl Fn(u32) -> F) -> Result<Duration, Error>
where
    F: Future<Output = kube::Result<()>>,
{
    let begun = Instant::now();
    stream::iter((0..count).map(request))
        .buffer_unordered(CONCURRENT)
        .try_collect::<()>()
        .await?;
    Ok(begun.elapsed())
}

fn name(number: u32) -> String {
    format!("object-{number}")
}

fn object(number: u32) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(number)),
            ..ObjectMeta::default()
        },
        data: Some([("value".to_owned(), "x".repeat(VALUE))].into()),
        ..ConfigMap::default()
    }
}

/// The answer is read, not decoded: it is the server that is measured.
async fn get(client: &Client, name: &str) -> kube::Result<()> {
    let request = Request::new(ConfigMap::url_path(&(), Some("default")))
        .get(name, &kube::api::GetParams::default())
        .map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await.map(drop)
}

/// Lists all pods, whole.
pub async fn lists(running: &Running<'_>, plan: &Plan) -> Result<Vec<Figure>, Error> {
    let before = running.peak()?;
    let mut times = Vec::new();
    for _ in 0..LISTS {
        let request = Request::new(Pod::url_path(&(), Some("default"))).list(&ListParams::default())?;
        let begun = Instant::now();
        let answer = running.client.request_text(request).await?;
        times.push(begun.elapsed());
        if !answer.trim_end().ends_with('}') {
            return Err("the list is cut short".into());
        }
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(vec![
        Figure::new(
            format!("list of {} pods, ms", plan.pods),
            median.as_secs_f64() * 1e3,
        ),
        Figure::new(format!("peak memory before {LISTS} lists, MiB"), before),
        Figure::new(format!("peak memory after {LISTS} lists, MiB"), running.peak()?),
    ])
}
