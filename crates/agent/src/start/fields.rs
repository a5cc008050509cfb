//! The downward API: what a pod may know of itself.

use k8s_openapi::api::core::v1::{Container, ResourceFieldSelector};

use super::{Site, StartError};

/// The value of a `fieldRef`.
pub fn field(site: &Site<'_>, path: &str) -> Result<String, StartError> {
    let metadata = &site.pod.metadata;
    let spec = site.pod.spec.as_ref();
    let entry = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
        map.as_ref()
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default()
    };
    if let Some(key) = path
        .strip_prefix("metadata.labels['")
        .and_then(|rest| rest.strip_suffix("']"))
    {
        return Ok(entry(&metadata.labels, key));
    }
    if let Some(key) = path
        .strip_prefix("metadata.annotations['")
        .and_then(|rest| rest.strip_suffix("']"))
    {
        return Ok(entry(&metadata.annotations, key));
    }
    Ok(match path {
        "metadata.name" => site.place.name.clone(),
        "metadata.namespace" => site.place.namespace.clone(),
        "metadata.uid" => site.place.uid.clone(),
        "metadata.labels" => lines(metadata.labels.as_ref()),
        "metadata.annotations" => lines(metadata.annotations.as_ref()),
        "spec.nodeName" => site.node.to_owned(),
        "spec.serviceAccountName" => spec
            .and_then(|spec| spec.service_account_name.clone())
            .unwrap_or_default(),
        "status.podIP" | "status.podIPs" => site.place.ip.to_string(),
        "status.hostIP" | "status.hostIPs" => site.node_ip.to_string(),
        _ => return Err(StartError::Config(format!("unsupported fieldPath: {path}"))),
    })
}

/// A whole map, as the downward API writes it to a file: `key="value"`, one a line.
fn lines(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let lines = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value:?}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The value of a `resourceFieldRef` in units of its divisor, rounded up. Without a limit it is all the machine has.
pub fn resource(
    site: &Site<'_>,
    container: &Container,
    selector: &ResourceFieldSelector,
) -> Result<String, StartError> {
    let resources = container.resources.as_ref();
    let (kind, name) = selector.resource.split_once('.').unwrap_or_default();
    let amounts = match kind {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => {
            return Err(StartError::Config(format!(
                "unsupported container resource : {}",
                selector.resource
            )));
        }
    };
    let milli = |text: &str| {
        text.parse::<api::quantity::Amount>()
            .ok()
            .map(|amount| i128::from(amount.milli()))
    };
    let whole = |number: u64| i128::from(number) * 1000;
    let value = match (amounts.and_then(|amounts| amounts.get(name)), kind, name) {
        (Some(amount), ..) => milli(&amount.0).unwrap_or_default(),
        (None, "limits", "cpu") => whole(site.machine.0),
        (None, "limits", "memory") => whole(site.machine.1),
        _ => 0,
    };
    let divisor = selector
        .divisor
        .as_ref()
        .and_then(|divisor| milli(&divisor.0))
        .filter(|&milli| milli > 0);
    let divisor = divisor.unwrap_or(1000);
    Ok(((value + divisor - 1) / divisor).to_string())
}

/// The container that a `resourceFieldRef` is about: the one it names, else this one.
pub fn container_of<'a>(site: &Site<'a>, name: Option<&str>) -> Option<&'a Container> {
    let spec = site.pod.spec.as_ref()?;
    let mut containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    containers.find(|container| Some(container.name.as_str()) == name)
}
