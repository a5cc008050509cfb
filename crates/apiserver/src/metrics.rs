//! `metrics.k8s.io`: what pods and nodes use, for `kubectl top` and the autoscaler.
//!
//! Flows in: a GET of `pods` or `nodes`. Flows out: PodMetrics or NodeMetrics, worked out from what the nodes' agents say
//! at that moment. Nothing is stored. All nodes share one machine, so a node uses what its pods use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::kind::Column;
use api::labels::Selector;
use api::quantity::Amount;
use api::table::column;
use futures::future::join_all;
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use store::Entry;
use tower::Service as _;

use crate::body::{self, Response};
use crate::negotiate::{self, Form};
use crate::nodes::NodeService;
use crate::object::{Object, meta_str, push_json};
use crate::path::ObjectPath;
use crate::query::Query;
use crate::resource::Resource;
use crate::server::Core;
use crate::status::{Failure, Subject};
use crate::table::{self, Include};

/// The API group.
pub(crate) const GROUP: &str = "metrics.k8s.io";
/// The only version that clients know.
pub(crate) const VERSION: &str = "v1beta1";

/// How long an agent may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// As upstream's metrics server heads them.
const COLUMNS: [Column; 4] = [column("Name"), column("cpu"), column("memory"), column("Window")];

/// A kind that is never stored: it is measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// `PodMetrics`
    pub kind: &'static str,
    /// `pods`: that of the kind whose objects are measured.
    pub plural: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

/// All of them.
pub(crate) static ALL: [Measured; 2] = [
    Measured {
        kind: "NodeMetrics",
        plural: "nodes",
        namespaced: false,
    },
    Measured {
        kind: "PodMetrics",
        plural: "pods",
        namespaced: true,
    },
];

/// What a path asks for.
pub(crate) fn at(path: &ObjectPath) -> Option<&'static Measured> {
    let is_ours = path.group == GROUP && path.version == VERSION && path.subresource.is_none();
    ALL.iter()
        .find(|measured| is_ours && measured.plural == path.plural)
}

/// Serves a GET of one object, or of all that a label selector shows.
pub(crate) async fn get(
    core: &Core,
    measured: &Measured,
    path: &ObjectPath,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let table = match negotiate::form(headers)? {
        Form::Table => Some(Include::parse(query)?),
        _ => None,
    };
    let selector = Selector::parse(query.get("labelSelector").unwrap_or_default());
    let selector = selector.map_err(|error| Failure::BadRequest(error.to_string()))?;
    let summaries = summaries(core).await?;
    let resource = core.registry.get("", measured.plural)?;
    let namespace = path.namespace.as_deref();
    let Some(name) = path.name.as_deref() else {
        let page = core
            .store
            .list(&resource.collection(namespace), None, 0, None)
            .await?;
        let all = page.entries.iter().map(|entry| object(entry, &resource));
        let shown =
            all.filter(|object| selector.matches_with(|label| object["metadata"]["labels"][label].as_str()));
        let items: Vec<Value> = shown
            .filter_map(|object| metrics(measured, &object, &summaries))
            .collect();
        if let Some(include) = table {
            return Ok(respond_with_table(&items, include));
        }
        let version = format!("{GROUP}/{VERSION}");
        let list = json!({ "kind": format!("{}List", measured.kind), "apiVersion": version, "metadata": {}, "items": items });
        return Ok(respond(&list));
    };
    let missing = || {
        let name = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
        Failure::NotFound(Subject {
            group: GROUP.to_owned(),
            kind: measured.kind.to_lowercase(),
            name,
        })
    };
    let entry = core.store.get(&resource.key(namespace, name)).await?;
    let entry = entry.ok_or_else(missing)?;
    let mut one = metrics(measured, &object(&entry, &resource), &summaries).ok_or_else(missing)?;
    one["kind"] = measured.kind.into();
    one["apiVersion"] = format!("{GROUP}/{VERSION}").into();
    Ok(match table {
        Some(include) => respond_with_table(&[one], include),
        None => respond(&one),
    })
}

/// One row an object. A pod uses what its containers use together.
fn respond_with_table(items: &[Value], include: Include) -> Response {
    let rows = items.iter().map(|item| {
        let containers = item["containers"].as_array().into_iter().flatten();
        let usages = containers.chain([item]).map(|used| &used["usage"]);
        let (cpu, memory) = usages.fold((0, 0), |(cpu, memory): (u64, i64), usage| {
            let text = |resource: &str| usage[resource].as_str().unwrap_or_default();
            let nanos = text("cpu").trim_end_matches('n').parse().unwrap_or(0);
            let bytes = text("memory").parse().map_or(0, Amount::value);
            (cpu.saturating_add(nanos), memory.saturating_add(bytes))
        });
        let cells = vec![
            item["metadata"]["name"].clone(),
            format!("{cpu}n").into(),
            Amount::from_bytes(memory).to_string().into(),
            item["window"].clone(),
        ];
        (cells, item)
    });
    let mut out = Vec::new();
    table::write_answer(&COLUMNS, &rows.collect::<Vec<_>>(), include, &mut out);
    body::json(StatusCode::OK, out)
}

fn object(entry: &Arc<Entry>, resource: &Resource) -> Value {
    Object::from(&**entry).to_value(resource)
}

fn respond(value: &Value) -> Response {
    let mut out = Vec::new();
    push_json(&mut out, value);
    body::json(StatusCode::OK, out)
}

/// What the agents say, by node. A node whose agent does not answer has no metrics.
async fn summaries(core: &Core) -> Result<HashMap<String, Value>, Failure> {
    let nodes = core.registry.get("", "nodes")?;
    let page = core.store.list(&nodes.prefix, None, 0, None).await?;
    let asked = page.entries.iter().filter_map(|entry| {
        let (_, name) = nodes.split_key(&entry.key);
        let agent = core.nodes.node(name)?;
        Some(async move { Some((name.to_owned(), summary(agent).await?)) })
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

async fn summary(mut agent: NodeService) -> Option<Value> {
    let request = Request::get("/stats/summary").body(body::full("")).ok()?;
    let answered = async {
        std::future::poll_fn(|context| agent.poll_ready(context))
            .await
            .ok()?;
        let response = agent.call(request).await.ok()?;
        let bytes = body::collect(response.into_body()).await.ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    tokio::time::timeout(LIMIT, answered).await.ok().flatten()
}

/// The metrics of one object; `None` until it has been measured.
fn metrics(measured: &Measured, object: &Value, summaries: &HashMap<String, Value>) -> Option<Value> {
    let node = if measured.namespaced {
        object["spec"]["nodeName"].as_str()?
    } else {
        meta_str(object, "name")
    };
    let summary = summaries.get(node)?;
    let pods = summary["pods"].as_array()?;
    let mut metrics = json!({
        "metadata": about(&object["metadata"]),
        "timestamp": summary["time"],
        "window": format!("{}s", summary["windowSeconds"]),
    });
    if measured.namespaced {
        let uid = &object["metadata"]["uid"];
        let pod = pods.iter().find(|pod| pod["podRef"]["uid"] == *uid)?;
        let containers = pod["containers"].as_array()?.iter();
        let containers = containers.map(
            |container| json!({ "name": container["name"], "usage": usage(std::slice::from_ref(container)) }),
        );
        metrics["containers"] = containers.collect();
    } else {
        let all = pods.iter().filter_map(|pod| pod["containers"].as_array());
        metrics["usage"] = usage(&all.flatten().cloned().collect::<Vec<_>>());
    }
    Some(metrics)
}

fn about(metadata: &Value) -> Value {
    let mut about = json!({ "name": metadata["name"], "creationTimestamp": crate::metadata::now() });
    for field in ["namespace", "labels"] {
        if !metadata[field].is_null() {
            about[field] = metadata[field].clone();
        }
    }
    about
}

/// Processor in billionths, memory in bytes rounded down to whole KiB, as upstream's metrics server writes them.
fn usage(containers: &[Value]) -> Value {
    let sum = |part: &str, field: &str| {
        let figures = containers
            .iter()
            .filter_map(|container| container[part][field].as_i64());
        figures.fold(0, i64::saturating_add)
    };
    let cpu = format!("{}n", sum("cpu", "usageNanoCores"));
    let memory = Amount::from_bytes(sum("memory", "workingSetBytes") / 1024 * 1024);
    json!({ "cpu": cpu, "memory": memory.to_string() })
}
