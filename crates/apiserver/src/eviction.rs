//! Eviction: a pod is deleted only if its disruption budget has room for that.
//!
//! Flows in: an Eviction at `pods/NAME/eviction`. Flows out: 201, and the pod is on its way out; or 429, and nothing has
//! happened. The budget is spent before the pod is deleted, so that two evictions at once never spend the same one twice;
//! the disruption controller works it out anew. Never looks at pods other than the one.

use api::kind::Write;
use api::labels::Selector;
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::decode;
use crate::delete::DeleteOptions;
use crate::metadata;
use crate::object::{Object, is_terminating, meta_str};
use crate::query::WriteOptions;
use crate::resource::Resource;
use crate::status::{self, Failure, Subject};
use crate::tracking::Tracking;
use crate::write::{self, Change};

/// The most evicted pods that a budget keeps track of.
const MAX_DISRUPTED: usize = 2000;

/// The controller is about to catch up: far sooner than upstream's 10 s, there being no network in between.
const RETRY_SECONDS: u32 = 1;

/// Serves a POST of an Eviction.
pub(crate) async fn evict(call: &Call, body: Body) -> Result<Response, Failure> {
    let mut write = WriteOptions::of(call)?;
    let eviction = decode::body(&call.headers, &body::collect(body).await?, "Eviction")?.value;
    write::check_namespace(call.namespace(), &eviction)?;
    let named = meta_str(&eviction, "name");
    if !named.is_empty() && named != call.name()? {
        let why = "name in URL does not match name in Eviction object";
        return Err(Failure::BadRequest(why.to_owned()));
    }
    let mut delete = DeleteOptions::of_eviction(&eviction["deleteOptions"])?;
    write.dry_run |= delete.dry_run();
    let entry = call.core.read(&call.resource, &call.key()?, call.name()?).await?;
    let pod = Object::from(&*entry).to_value(&call.resource);
    delete.check_preconditions(&call.resource, &pod)?;
    if disrupts(&pod)
        && let Some(budget) = budget_of(call, &pod).await?
        && !is_free(&pod, &budget)
    {
        spend(call, &pod, meta_str(&budget, "name"), write).await?;
    }
    if !write.dry_run {
        mark(call).await?;
    }
    delete.settle(meta_str(&pod, "uid"), write.dry_run);
    call.core
        .delete(&call.resource, &call.key()?, call.name()?, &delete)
        .await?;
    Ok(body::json(StatusCode::CREATED, status::created()))
}

/// A pod that does not run, or is on its way out, is no loss.
fn disrupts(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    !matches!(phase, "Pending" | "Succeeded" | "Failed") && !is_terminating(pod)
}

/// The budget that the pod falls under.
async fn budget_of(call: &Call, pod: &Value) -> Result<Option<Value>, Failure> {
    let budgets = call.core.registry.get("policy", "poddisruptionbudgets")?;
    let prefix = budgets.collection(call.namespace());
    let page = call.core.store.list(&prefix, None, 0, None).await?;
    let all = page
        .entries
        .iter()
        .map(|entry| Object::from(&**entry).to_value(&budgets));
    let mut covering = all.filter(|budget| covers(&budget["spec"]["selector"], &pod["metadata"]["labels"]));
    let budget = covering.next();
    if covering.next().is_some() {
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Failure::Untyped(why.to_owned()));
    }
    Ok(budget)
}

/// No selector covers nothing, an empty one everything.
fn covers(selector: &Value, labels: &Value) -> bool {
    let selector = Option::<LabelSelector>::deserialize(selector).ok().flatten();
    selector
        .and_then(|selector| Selector::from_spec(&selector).ok())
        .is_some_and(|selector| selector.matches_with(|key| labels[key].as_str()))
}

/// Whether a pod may go without the budget being asked: one that serves nobody, as far as the budget's policy allows.
fn is_free(pod: &Value, budget: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let is_ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    let count = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let (healthy, desired) = (count("currentHealthy"), count("desiredHealthy"));
    !is_ready && (always || (desired > 0 && healthy >= desired))
}

/// Takes one disruption from the budget.
async fn spend(call: &Call, pod: &Value, budget: &str, options: WriteOptions) -> Result<(), Failure> {
    let budgets = call.core.registry.get("policy", "poddisruptionbudgets")?;
    let change = Change {
        tracking: Tracking::Nobody,
        core: &call.core,
        resource: &budgets,
        namespace: call.namespace(),
        name: budget,
        write: Write::Status,
        options,
    };
    let spent = change.apply(|live| {
        let spent = spent(&call.resource, live.object, meta_str(pod, "name"))?;
        change.decode(spent)
    });
    spent.await.map(drop)
}

/// The budget with one disruption less.
fn spent(pods: &Resource, budget: &Value, pod: &str) -> Result<Value, Failure> {
    let name = meta_str(budget, "name");
    let count = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let generation = budget["metadata"]["generation"].as_i64().unwrap_or(0);
    if count("observedGeneration") < generation {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(Failure::disruption(why, Some(RETRY_SECONDS)));
    }
    let disrupted = budget["status"]["disruptedPods"].as_object();
    if disrupted.is_some_and(|pods| pods.len() > MAX_DISRUPTED) {
        return Err(Failure::Forbidden {
            subject: Subject::new(pods, pod),
            why: "DisruptedPods map too big - too many evictions not confirmed by PDB controller".to_owned(),
            causes: Vec::new(),
        });
    }
    let allowed = count("disruptionsAllowed");
    if allowed <= 0 {
        let (desired, healthy) = (count("desiredHealthy"), count("currentHealthy"));
        let why =
            format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return Err(Failure::disruption(why, None));
    }
    let mut budget = budget.clone();
    let status = &mut budget["status"];
    status["disruptionsAllowed"] = (allowed - 1).into();
    status["disruptedPods"][pod] = metadata::now().into();
    Ok(budget)
}

/// Says in the pod's conditions why it goes.
async fn mark(call: &Call) -> Result<(), Failure> {
    let change = Change {
        tracking: Tracking::Nobody,
        core: &call.core,
        resource: &call.resource,
        namespace: call.namespace(),
        name: call.name()?,
        write: Write::Status,
        options: WriteOptions::of(call)?,
    };
    let marked = change.apply_unchecked(|pod| {
        let mut pod = pod.clone();
        let conditions = pod["status"]["conditions"].take();
        let others = conditions.as_array().cloned().unwrap_or_default();
        let others = others
            .into_iter()
            .filter(|condition| condition["type"] != "DisruptionTarget");
        let target = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": null,
            "lastTransitionTime": metadata::now(),
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        });
        pod["status"]["conditions"] = others.chain([target]).collect();
        Ok(pod)
    });
    marked.await.map(drop)
}
