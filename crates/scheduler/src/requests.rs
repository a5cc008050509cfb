//! What pods request and nodes have, as integers.

use std::collections::BTreeMap;

use api::pods::is_sidecar;
use api::quantity::Amount;
use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// For scoring only, a container that requests no cpu counts as this many thousandths.
const ASSUMED_CPU: i64 = 100;
/// For scoring only, a container that requests no memory counts as this many bytes.
const ASSUMED_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of resources: cpu in thousandths, all others in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources(BTreeMap<String, i64>);

impl Resources {
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub fn add(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            self.change(name, amount);
        }
    }

    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            self.change(name, -amount);
        }
    }

    fn change(&mut self, name: &str, amount: i64) {
        match self.0.get_mut(name) {
            Some(value) => *value = value.saturating_add(amount),
            None => {
                self.0.insert(name.to_owned(), amount);
            }
        }
    }

    fn set(&mut self, name: &str, amount: i64) {
        self.0.insert(name.to_owned(), amount);
    }

    /// Raises each amount to the other's where that is larger.
    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let value = self.0.entry(name.to_owned()).or_default();
            *value = amount.max(*value);
        }
    }
}

impl From<Option<&BTreeMap<String, Quantity>>> for Resources {
    fn from(quantities: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amounts = quantities.into_iter().flatten().filter_map(|(name, quantity)| {
            let amount: Amount = quantity.0.parse().ok()?;
            let units = if name == "cpu" {
                amount.milli()
            } else {
                amount.value()
            };
            Some((name.clone(), units))
        });
        Self(amounts.collect())
    }
}

/// What a node offers to pods.
pub(crate) fn allocatable(node: &Node) -> Resources {
    node.status
        .as_ref()
        .and_then(|status| status.allocatable.as_ref())
        .into()
}

/// What a pod takes from its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// What it asks for.
    pub exact: Resources,
    /// Cpu and memory that it counts as when nodes are scored: containers that ask for nothing still need some.
    pub assumed: Resources,
}

impl Request {
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        Self {
            exact: total(spec, requested),
            assumed: total(spec, requested_or_assumed),
        }
    }
}

fn requested(container: &Container) -> Resources {
    container
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref())
        .into()
}

fn requested_or_assumed(container: &Container) -> Resources {
    let request = requested(container);
    let mut assumed = Resources::default();
    for (name, default) in [("cpu", ASSUMED_CPU), ("memory", ASSUMED_MEMORY)] {
        assumed.set(name, request.0.get(name).copied().unwrap_or(default));
    }
    assumed
}

/// Containers run side by side, with the sidecars; init containers one after another, with the sidecars started so far.
fn total(spec: &PodSpec, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut sidecars = Resources::default();
    let mut starting = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut now = of(container);
        now.add(&sidecars);
        starting.raise_to(&now);
        if is_sidecar(container) {
            sidecars = now;
        }
    }
    let mut total = sidecars;
    for container in &spec.containers {
        total.add(&of(container));
    }
    total.raise_to(&starting);
    // What the pod says as a whole replaces the sum of its containers.
    let whole = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    for (name, amount) in Resources::from(whole).iter() {
        total.set(name, amount);
    }
    total.add(&spec.overhead.as_ref().into());
    total
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    fn container(cpu: &str) -> serde_json::Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn containers_add_up_and_init_containers_do_not() {
        let request = Request::of(&pod(json!({
            "initContainers": [container("1"), container("200m")],
            "containers": [container("250m"), container("500m")],
        })));
        assert_eq!(request.exact.get("cpu"), 1000);
    }

    #[test]
    fn sidecars_run_beside_what_starts_after_them() {
        let mut sidecar = container("100m");
        sidecar["restartPolicy"] = json!("Always");
        let request = Request::of(&pod(json!({
            "initContainers": [sidecar, container("2")],
            "containers": [container("1")],
            "overhead": {"cpu": "10m"},
        })));
        assert_eq!(request.exact.get("cpu"), 2110);
    }

    #[test]
    fn a_container_that_asks_for_nothing_counts_for_scoring() {
        let request = Request::of(&pod(json!({"containers": [{"name": "c"}]})));
        assert_eq!(request.exact, Resources::default());
        assert_eq!(request.assumed.get("cpu"), ASSUMED_CPU);
        assert_eq!(request.assumed.get("memory"), ASSUMED_MEMORY);
    }
}
