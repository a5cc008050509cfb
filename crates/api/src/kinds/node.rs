//! Node: where pods run.

use k8s_openapi::api::core::v1::{Node, NodeStatus};
use serde_json::Value;

use crate::kind::{Subresource, Write};
use crate::served::{Row, Served};
use crate::table::{NONE, age, column, name, or_none, wide};
use crate::validation::{Errors, Path, names, values};

/// Prefix of the labels that name a node's roles.
const ROLE: &str = "node-role.kubernetes.io/";
/// The older label, whose value is the role.
const OLD_ROLE: &str = "kubernetes.io/role";

impl Served for Node {
    const ROW: Row = Row {
        singular: "node",
        short_names: &["no"],
        columns: &[
            column("Name"),
            column("Status"),
            column("Roles"),
            column("Age"),
            column("Version"),
            wide("Internal-IP"),
            wide("External-IP"),
            wide("OS-Image"),
            wide("Kernel-Version"),
            wide("Container-Runtime"),
        ],
        subresources: &[Subresource::Status, Subresource::Proxy],
        // A node registers itself with its status.
        status_on_create: true,
        fields: &["spec.unschedulable"],
        ..Row::CLUSTER
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        // The older field wins, for those who know only that.
        let first = spec.pod_cidrs.as_ref().and_then(|all| all.first());
        match spec.pod_cidr.as_ref().filter(|one| !one.is_empty()) {
            Some(one) if first != Some(one) => spec.pod_cidrs = Some(vec![one.clone()]),
            Some(_) => {}
            None => spec.pod_cidr = first.cloned(),
        }
        let status = self.status.get_or_insert_default();
        if status.allocatable.is_none() {
            status.allocatable.clone_from(&status.capacity);
        }
    }

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let spec = self.spec.clone().unwrap_or_default();
        let path = Path::ROOT.field("spec");
        // Upstream takes them for a part of the metadata.
        let taints = Path::ROOT.field("metadata.taints");
        let mut seen = Vec::new();
        for (index, taint) in spec.taints.iter().flatten().enumerate() {
            let path = taints.index(index);
            errors.problems(&path.field("key"), &taint.key, &names::qualified_name(&taint.key));
            let value = taint.value.as_deref().unwrap_or_default();
            errors.problems(&path.field("value"), value, &names::label_value(value));
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            errors.one_of(&path.field("effect"), Some(&taint.effect), &effects);
            let identity = (&taint.key, &taint.effect);
            if seen.contains(&identity) {
                errors.duplicate_because(&path, taint, "taints must be unique by key and effect pair");
            }
            seen.push(identity);
        }
        let Some(old) = old.and_then(|old| old.spec.as_ref()) else {
            let cidrs = spec.pod_cidrs.as_deref().unwrap_or_default();
            return pod_cidrs(cidrs, &path.field("podCIDRs"), errors);
        };
        if old.pod_cidrs.is_some() && old.pod_cidrs != spec.pod_cidrs {
            errors.forbidden(
                &path.field("podCIDRs"),
                "node updates may not change podCIDR except from \"\" to valid",
            );
        }
        if old.provider_id.as_deref().is_some_and(|id| !id.is_empty()) && old.provider_id != spec.provider_id
        {
            let detail = "node updates may not change providerID except from \"\" to valid";
            errors.forbidden(&path.field("providerID"), detail);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let status = self.status.clone().unwrap_or_default();
        let info = status.node_info.clone().unwrap_or_default();
        vec![
            name(&self.metadata),
            readiness(self, &status).into(),
            roles(self).into(),
            age(&self.metadata, now),
            info.kubelet_version.into(),
            address(&status, "InternalIP").into(),
            address(&status, "ExternalIP").into(),
            unknown(&info.os_image).into(),
            kernel(&info.kernel_version, &info.architecture).into(),
            unknown(&info.container_runtime_version).into(),
        ]
    }

    fn field(object: &Value, _name: &str) -> Option<String> {
        let unschedulable = object.pointer("/spec/unschedulable").and_then(Value::as_bool);
        Some(unschedulable.unwrap_or(false).to_string())
    }
}

/// STATUS: `Ready`, `NotReady`, `Unknown`, with `,SchedulingDisabled` where cordoned.
fn readiness(node: &Node, status: &NodeStatus) -> String {
    let ready = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    let mut text = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node
        .spec
        .as_ref()
        .is_some_and(|spec| spec.unschedulable == Some(true))
    {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let mut roles: Vec<_> = labels
        .filter_map(|(key, value)| match key.strip_prefix(ROLE) {
            Some(role) => Some(role),
            None => (key == OLD_ROLE).then_some(value.as_str()),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    or_none(Some(&roles.join(",")))
}

fn address(status: &NodeStatus, kind: &str) -> String {
    let mut addresses = status.addresses.iter().flatten();
    addresses
        .find(|address| address.type_ == kind)
        .map_or_else(|| NONE.to_owned(), |address| address.address.clone())
}

fn kernel(version: &str, architecture: &str) -> String {
    match (version, architecture) {
        ("", _) => unknown(version),
        (version, "") => version.to_owned(),
        (version, architecture) => format!("{version} ({architecture})"),
    }
}

fn unknown(text: &str) -> String {
    if text.is_empty() {
        "<unknown>".to_owned()
    } else {
        text.to_owned()
    }
}

/// At most one of each family.
fn pod_cidrs(cidrs: &[String], path: &Path<'_>, errors: &mut Errors) {
    for (index, cidr) in cidrs.iter().enumerate() {
        errors.problems(&path.index(index), cidr, &values::cidr(cidr));
    }
    let is_v4 = |cidr: &String| values::network(cidr).map(|(is_v4, ..)| is_v4);
    let families: Vec<_> = cidrs.iter().filter_map(is_v4).collect();
    if cidrs.len() > 1 && families[..] != [true, false] && families[..] != [false, true] {
        errors.invalid(
            path,
            cidrs,
            "may specify no more than one CIDR for each IP family",
        );
    }
    for (index, cidr) in cidrs.iter().enumerate() {
        if cidrs[..index].contains(cidr) {
            errors.duplicate(&path.index(index), cidr);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/a": ""}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "127.10.1.1"}],
                "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian", "kernelVersion": "6.1", "architecture": "amd64",
                    "containerRuntimeVersion": "x://1", "bootID": "", "kubeProxyVersion": "", "machineID": "",
                    "operatingSystem": "linux", "systemUUID": ""}},
        }))
        .unwrap_or_default();
        let wanted = json!([
            "n",
            "Ready,SchedulingDisabled",
            "a,worker",
            "<unknown>",
            "v1",
            "127.10.1.1",
            "<none>",
            "Debian",
            "6.1 (amd64)",
            "x://1"
        ]);
        assert_eq!(json!(node.cells(0)), wanted);
    }
}
