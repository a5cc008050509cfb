//! What an autoscaler's pods use, request, and how they stand.

use std::collections::HashMap;
use std::sync::Arc;

use api::pods;
use api::quantity::Amount;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, HorizontalPodAutoscalerSpec, MetricSpec, MetricStatus, MetricTarget,
    MetricValueStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;
use serde_json::Value;

use super::replicas::{Seen, State, Target, Tolerance, propose};
use super::target::sentence;

/// For so long after its start a pod's first use of the processor is its own start-up.
const INITIALIZATION: SignedDuration = SignedDuration::from_mins(5);
/// A pod that was not ready since so soon after its start has never been.
const INITIAL_READINESS: SignedDuration = SignedDuration::from_secs(30);
/// Changes of less than a tenth are none.
const TOLERANCE: f64 = 0.1;

/// What one metric asks for.
pub struct Reading {
    /// The number of pods.
    pub replicas: i32,
    /// The metric, as events call it.
    pub name: String,
    /// For the status.
    pub status: MetricStatus,
}

/// What pods use, by name.
pub struct Measurements {
    pods: HashMap<String, Value>,
}

/// A resource of a pod, or of one of its containers.
struct Resource<'a> {
    name: &'a str,
    container: Option<&'a str>,
}

impl Measurements {
    /// Asks for them; the error is a sentence.
    pub async fn read(client: &Client, namespace: &str, selector: &str) -> Result<Self, String> {
        let query = form_urlencoded::byte_serialize(selector.as_bytes()).collect::<String>();
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={query}");
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(|error| error.to_string())?;
        let mut list: Value = client.request(request).await.map_err(|error| sentence(&error))?;
        let items = list["items"]
            .as_array_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        let named = items.into_iter().filter_map(|pod| {
            let name = pod["metadata"]["name"].as_str()?.to_owned();
            Some((name, pod))
        });
        Ok(Self {
            pods: named.collect(),
        })
    }

    /// What a metric asks for; or the reason and sentence why nothing.
    pub fn read_metric(
        &self,
        metric: &MetricSpec,
        mine: &[Arc<Pod>],
        spec: &HorizontalPodAutoscalerSpec,
        current: i32,
        now: Timestamp,
    ) -> Result<Reading, (&'static str, String)> {
        let (resource, wanted) = match (&metric.resource, &metric.container_resource) {
            (Some(source), _) => (
                Resource {
                    name: &source.name,
                    container: None,
                },
                &source.target,
            ),
            (None, Some(source)) => {
                let container = Some(source.container.as_str());
                (
                    Resource {
                        name: &source.name,
                        container,
                    },
                    &source.target,
                )
            }
            (None, None) => {
                let why = format!("metrics of type {:?} are not served here", metric.type_);
                return Err(("InvalidMetricSourceType", why));
            }
        };
        let failed = |why: String| ("FailedGetResourceMetric", why);
        let target = target(wanted).ok_or_else(|| failed("invalid target".to_owned()))?;
        let mut seen = Vec::new();
        for pod in mine {
            seen.extend(self.seen(pod, &resource, target, now).map_err(failed)?);
        }
        let proposal = propose(current, &seen, target, tolerance(spec)).ok_or_else(|| {
            failed(format!(
                "no metrics returned from resource metrics API for {}",
                resource.name
            ))
        })?;
        let average = Quantity(resource.amount(proposal.average));
        let value = MetricValueStatus {
            average_utilization: proposal.utilization,
            average_value: Some(average),
            value: None,
        };
        let of_request = match target {
            Target::Utilization(_) => "resource utilization (percentage of request)",
            Target::Average(_) => "resource",
        };
        Ok(Reading {
            replicas: proposal.replicas,
            name: format!("{} {of_request}", resource.name),
            status: resource.status(value),
        })
    }

    /// How a pod stands; `None` if it does not count.
    fn seen(
        &self,
        pod: &Pod,
        resource: &Resource<'_>,
        target: Target,
        now: Timestamp,
    ) -> Result<Option<Seen>, String> {
        if pods::is_terminating(pod) || pods::phase(pod) == "Failed" {
            return Ok(None);
        }
        let request = match target {
            Target::Average(_) => 0,
            Target::Utilization(_) => resource.request(pod)?,
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let measured = self
            .pods
            .get(name)
            .and_then(|pod| Some((pod, resource.usage(pod)?)));
        let (state, usage) = match measured {
            _ if pods::phase(pod) == "Pending" => (State::Unready, 0),
            None => (State::Missing, 0),
            Some((metrics, _)) if resource.name == "cpu" && is_starting(pod, metrics, now) => {
                (State::Unready, 0)
            }
            Some((_, usage)) => (State::Ready, usage),
        };
        Ok(Some(Seen {
            state,
            usage,
            request,
        }))
    }
}

impl Resource<'_> {
    fn counts(&self, container: &str) -> bool {
        self.container.is_none_or(|only| only == container)
    }

    /// In thousandths.
    fn usage(&self, metrics: &Value) -> Option<i64> {
        let containers = metrics["containers"].as_array()?.iter();
        let counted =
            containers.filter(|container| container["name"].as_str().is_some_and(|name| self.counts(name)));
        let amounts = counted.map(|container| {
            let amount = container["usage"][self.name].as_str()?.parse::<Amount>().ok()?;
            Some(amount.milli())
        });
        amounts.sum()
    }

    /// In thousandths; every container that counts must say what it requests.
    fn request(&self, pod: &Pod) -> Result<i64, String> {
        let request = |container: &Container| {
            let requests = container.resources.as_ref()?.requests.as_ref()?;
            requests
                .get(self.name)?
                .0
                .parse::<Amount>()
                .ok()
                .map(Amount::milli)
        };
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let counted = containers.filter(|container| self.counts(&container.name));
        let requests = counted.map(|container| {
            request(container).ok_or_else(|| {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                format!(
                    "missing request for {} in container {} of Pod {name}",
                    self.name, container.name
                )
            })
        });
        requests.sum()
    }

    fn amount(&self, milli: i64) -> String {
        match self.name {
            "memory" => Amount::from_bytes(milli / 1000).to_string(),
            _ => Amount::from_milli(milli).to_string(),
        }
    }

    fn status(&self, current: MetricValueStatus) -> MetricStatus {
        let name = self.name.to_owned();
        match self.container {
            None => MetricStatus {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricStatus { name, current }),
                ..MetricStatus::default()
            },
            Some(container) => MetricStatus {
                type_: "ContainerResource".to_owned(),
                container_resource: Some(ContainerResourceMetricStatus {
                    name,
                    container: container.to_owned(),
                    current,
                }),
                ..MetricStatus::default()
            },
        }
    }
}

fn target(wanted: &MetricTarget) -> Option<Target> {
    match (wanted.average_utilization, &wanted.average_value) {
        (Some(percent), _) => Some(Target::Utilization(percent)),
        (None, Some(amount)) => amount
            .0
            .parse::<Amount>()
            .ok()
            .map(|amount| Target::Average(amount.milli())),
        (None, None) => None,
    }
}

fn tolerance(spec: &HorizontalPodAutoscalerSpec) -> Tolerance {
    let behavior = spec.behavior.as_ref();
    let of = |tolerance: Option<&Quantity>| {
        let amount = tolerance.and_then(|tolerance| tolerance.0.parse::<Amount>().ok());
        amount.map_or(TOLERANCE, |amount| {
            f64::from(i32::try_from(amount.milli()).unwrap_or(i32::MAX)) / 1000.0
        })
    };
    let up = behavior.and_then(|behavior| behavior.scale_up.as_ref()?.tolerance.as_ref());
    let down = behavior.and_then(|behavior| behavior.scale_down.as_ref()?.tolerance.as_ref());
    Tolerance {
        down: of(down),
        up: of(up),
    }
}

/// Whether what a pod does with the processor is its own start-up rather than work.
fn is_starting(pod: &Pod, metrics: &Value, now: Timestamp) -> bool {
    let Some(ready) = pods::condition(pod, "Ready") else {
        return true;
    };
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(started), Some(since)) = (started, &ready.last_transition_time) else {
        return true;
    };
    if now.duration_since(started.0) < INITIALIZATION {
        // Measured, at least in part, before it was ready.
        let window = metrics["window"]
            .as_str()
            .and_then(|window| window.parse::<SignedDuration>().ok());
        let at = metrics["timestamp"]
            .as_str()
            .and_then(|at| at.parse::<Timestamp>().ok());
        let (Some(window), Some(at)) = (window, at) else {
            return true;
        };
        return ready.status == "False" || at.duration_since(since.0) < window;
    }
    ready.status == "False" && since.0.duration_since(started.0) < INITIAL_READINESS
}
