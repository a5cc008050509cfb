//! What an autoscaler's pods use, request, and how they stand.

use std::collections::HashMap;
use std::sync::Arc;

use api::pods;
use api::quantity::Amount;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscalerSpec, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;
use serde_json::Value;

use super::replicas::{Proposal, Seen, State, Target, Tolerance, propose};
use super::resource::{Failure, Resource};
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

/// What a metric asks for, by what was measured or the sentence why nothing was.
pub fn read_metric(
    metric: &MetricSpec,
    measured: Result<&Measurements, &str>,
    mine: &[Arc<Pod>],
    spec: &HorizontalPodAutoscalerSpec,
    at: (i32, Timestamp),
) -> Result<Reading, Failure> {
    let (resource, wanted) = match (&metric.resource, &metric.container_resource) {
        (Some(source), _) => (Resource::of(&source.name, None), &source.target),
        (None, Some(source)) => (
            Resource::of(&source.name, Some(&source.container)),
            &source.target,
        ),
        (None, None) => {
            let why = format!("metrics of type {:?} are not served here", metric.type_);
            return Err(Failure {
                reason: "InvalidMetricSourceType",
                of_metric: why.clone(),
                why,
            });
        }
    };
    let target = target(wanted).ok_or_else(|| {
        resource.failure(
            "invalid resource metric source: neither an average utilization target nor an average value (usage) \
             target was set"
                .to_owned(),
        )
    })?;
    let (of_request, what) = match target {
        Target::Utilization(_) => (" utilization (percentage of request)", "utilization"),
        Target::Average(_) => ("", "usage"),
    };
    let proposal = match measured {
        Ok(measured) => measured.read_resource(&resource, target, mine, tolerance(spec), at),
        Err(why) => Err(resource.unmeasured(&format!(
            "unable to fetch metrics from resource metrics API: {why}"
        ))),
    };
    let proposal =
        proposal.map_err(|why| resource.failure(format!("failed to get {} {what}: {why}", resource.name)))?;
    let value = MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(Quantity(resource.amount(proposal.average))),
        value: None,
    };
    Ok(Reading {
        replicas: proposal.replicas,
        name: format!("{} resource{of_request}", resource.name),
        status: resource.status(value),
    })
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

    /// What a resource asks for; the error is a sentence.
    fn read_resource(
        &self,
        resource: &Resource<'_>,
        target: Target,
        mine: &[Arc<Pod>],
        tolerance: Tolerance,
        (current, now): (i32, Timestamp),
    ) -> Result<Proposal, String> {
        self.has_measured(resource)
            .map_err(|why| resource.unmeasured(&why))?;
        if mine.is_empty() {
            return Err("no pods returned by selector while calculating replica count".to_owned());
        }
        let mut seen = Vec::new();
        for pod in mine {
            seen.extend(self.seen(pod, resource, target, now)?);
        }
        propose(current, &seen, target, tolerance).ok_or_else(|| {
            let why = if seen.iter().any(|pod| pod.state == State::Ready) {
                "no metrics returned matched known pods"
            } else {
                "did not receive metrics for any ready pods"
            };
            why.to_owned()
        })
    }

    /// Whether there is something to read; the error is a sentence.
    fn has_measured(&self, resource: &Resource<'_>) -> Result<(), String> {
        if self.pods.is_empty() {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        let Some(container) = resource.container else {
            return Ok(());
        };
        let mut pods = self.pods.values();
        let lacks = |pod: &&Value| {
            let mut containers = pod["containers"].as_array().into_iter().flatten();
            !containers.any(|known| known["name"] == container)
        };
        match pods.find(lacks) {
            None => Ok(()),
            Some(pod) => {
                let of = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
                Err(format!(
                    "failed to get container metrics: container {container} not present in metrics for pod {}/{}",
                    of("namespace"),
                    of("name")
                ))
            }
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, requests: &Value) -> Arc<Pod> {
        let pod = json!({
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "containers": [{ "name": "nginx", "resources": { "requests": requests } }] },
            "status": { "phase": "Running" },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn measured(pods: &[&str]) -> Measurements {
        let metrics = |name: &&str| {
            let containers = json!([{ "name": "nginx", "usage": { "cpu": "10m", "memory": "1Mi" } }]);
            let pod =
                json!({ "metadata": { "name": name, "namespace": "default" }, "containers": containers });
            ((*name).to_owned(), pod)
        };
        Measurements {
            pods: pods.iter().map(metrics).collect(),
        }
    }

    fn failure(metric: Value, measured: Result<&Measurements, &str>, mine: &[Arc<Pod>]) -> Failure {
        let metric: MetricSpec = serde_json::from_value(metric).unwrap();
        let spec = HorizontalPodAutoscalerSpec::default();
        let reading = read_metric(&metric, measured, mine, &spec, (1, Timestamp::UNIX_EPOCH));
        reading.err().unwrap()
    }

    fn cpu() -> Value {
        json!({ "type": "Resource", "resource": {
            "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } })
    }

    #[test]
    fn why_nothing_is_asked_for_is_told_as_upstream_does() {
        let (none, one) = (measured(&[]), measured(&["web"]));
        let silent = [pod("web", &json!({}))];
        let asking = [pod("late", &json!({ "cpu": "100m" }))];
        let why = |measured, mine: &[_]| failure(cpu(), measured, mine).why;
        let start = "failed to get cpu utilization: ";
        assert_eq!(
            why(Ok(&none), &silent),
            format!(
                "{start}unable to get metrics for resource cpu: no metrics returned from resource metrics API"
            )
        );
        assert_eq!(
            why(Err("no"), &silent),
            format!(
                "{start}unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: no"
            )
        );
        assert_eq!(
            why(Ok(&one), &silent),
            format!("{start}missing request for cpu in container nginx of Pod web")
        );
        assert_eq!(
            why(Ok(&one), &asking),
            format!("{start}did not receive metrics for any ready pods")
        );
        assert_eq!(
            why(Ok(&one), &[]),
            format!("{start}no pods returned by selector while calculating replica count")
        );
        let failed = failure(cpu(), Ok(&one), &silent);
        assert_eq!(failed.reason, "FailedGetResourceMetric");
        assert_eq!(
            failed.of_metric,
            format!("failed to get cpu resource metric value: {}", failed.why)
        );
    }

    #[test]
    fn a_container_that_nothing_was_measured_of_is_named() {
        let one = measured(&["web"]);
        let metric = json!({ "type": "ContainerResource", "containerResource": {
            "name": "memory", "container": "sidecar", "target": { "type": "AverageValue", "averageValue": "1Mi" } } });
        let failed = failure(metric, Ok(&one), &[pod("web", &json!({}))]);
        assert_eq!(failed.reason, "FailedGetContainerResourceMetric");
        assert_eq!(
            failed.of_metric,
            "failed to get sidecar container metric value: failed to get memory usage: \
             unable to get metrics for resource memory: failed to get container metrics: \
             container sidecar not present in metrics for pod default/web"
        );
    }
}
