//! A resource that a metric is about: how much of it a pod uses and requests, and what is said of it.

use api::quantity::Amount;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, MetricStatus, MetricValueStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;

/// A resource of a pod, or of one of its containers.
pub struct Resource<'a> {
    /// `cpu` or `memory`.
    pub name: &'a str,
    /// The container, if it is not the whole pod's.
    pub container: Option<&'a str>,
}

/// Why a metric asks for nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// In one word, as events and conditions have it.
    pub reason: &'static str,
    /// In a sentence.
    pub why: String,
    /// The sentence, and of which metric.
    pub of_metric: String,
}

impl<'a> Resource<'a> {
    /// A resource of whole pods, or of their containers of this name.
    pub fn of(name: &'a str, container: Option<&'a str>) -> Self {
        Self { name, container }
    }

    /// That nothing has been measured.
    pub fn unmeasured(&self, why: &str) -> String {
        format!("unable to get metrics for resource {}: {why}", self.name)
    }

    /// That it asks for nothing.
    pub fn failure(&self, why: String) -> Failure {
        let (reason, of_metric) = match self.container {
            None => (
                "FailedGetResourceMetric",
                format!("failed to get {} resource metric value: {why}", self.name),
            ),
            Some(container) => (
                "FailedGetContainerResourceMetric",
                format!("failed to get {container} container metric value: {why}"),
            ),
        };
        Failure {
            reason,
            why,
            of_metric,
        }
    }

    fn counts(&self, container: &str) -> bool {
        self.container.is_none_or(|only| only == container)
    }

    /// What a pod uses, in thousandths.
    pub fn usage(&self, metrics: &Value) -> Option<i64> {
        let containers = metrics["containers"].as_array()?.iter();
        let counted =
            containers.filter(|container| container["name"].as_str().is_some_and(|name| self.counts(name)));
        let amounts = counted.map(|container| {
            let amount = container["usage"][self.name].as_str()?.parse::<Amount>().ok()?;
            Some(amount.milli())
        });
        amounts.sum()
    }

    /// What a pod requests, in thousandths; every container that counts must say what it requests.
    pub fn request(&self, pod: &Pod) -> Result<i64, String> {
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

    /// As a quantity.
    pub fn amount(&self, milli: i64) -> String {
        match self.name {
            "memory" => Amount::from_bytes(milli / 1000).to_string(),
            _ => Amount::from_milli(milli).to_string(),
        }
    }

    /// For the autoscaler's status.
    pub fn status(&self, current: MetricValueStatus) -> MetricStatus {
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
