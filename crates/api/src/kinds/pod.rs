//! Pod: processes that live and die together.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::{Value, json};

use crate::defaults::pod_spec;
use crate::kind::{Subresource, Write};
use crate::pods;
use crate::prepare::set;
use crate::served::{Row, Served};
use crate::table::{self, column, wide};
use crate::validation::{self, Errors, Path, warnings};

/// Taints of nodes that have gone silent. Pods put up with them for a while, so that a short silence moves nothing.
const TOLERATED: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// For how many seconds.
const TOLERATION: i64 = 300;

impl Served for Pod {
    const ROW: Row = Row {
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        columns: &[
            column("Name"),
            column("Ready"),
            column("Status"),
            column("Restarts"),
            column("Age"),
            wide("IP"),
            wide("Node"),
            wide("Nominated Node"),
            wide("Readiness Gates"),
        ],
        subresources: &[
            Subresource::Status,
            Subresource::Binding,
            Subresource::Eviction,
            Subresource::Log,
            Subresource::Exec,
            Subresource::Attach,
            Subresource::PortForward,
            Subresource::EphemeralContainers,
            Subresource::Proxy,
        ],
        generation: true,
        graceful: true,
        fields: &[
            "spec.nodeName",
            "spec.host",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        pod_spec::pod_spec(spec);
        pod_spec::pod_only(spec);
        self.status.get_or_insert_default();
    }

    /// On creation also what upstream's admission plugins fill in.
    fn prepare(object: &mut Value, old: Option<&Value>, _write: Write) {
        if old.is_some() {
            return;
        }
        let spec = object.get("spec").cloned().unwrap_or_default();
        let mut spec: PodSpec = serde_json::from_value(spec).unwrap_or_default();
        let class = pods::qos_class(&spec);
        admit(&mut spec);
        if let (Some(fields), Ok(spec)) = (object.as_object_mut(), serde_json::to_value(&spec)) {
            fields.insert("spec".to_owned(), spec);
        }
        set(object, "status", "phase", json!("Pending"));
        set(object, "status", "qosClass", json!(class));
    }

    fn validate(&self, old: Option<&Self>, write: Write, errors: &mut Errors) {
        if write == Write::Status {
            return;
        }
        let empty = PodSpec::default();
        let path = Path::ROOT.field("spec");
        let spec = self.spec.as_ref().unwrap_or(&empty);
        validation::pod_spec::pod_spec(spec, &path, errors);
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        validation::volume::images(volumes, &path.field("volumes"), errors);
        // Hardly any pod is changed by a person.
        if old.is_none() {
            warnings::name(&self.metadata, warnings::HOSTNAME, errors);
            warnings::pod_spec(spec, &path, errors);
        }
        if old.is_none() && spec.ephemeral_containers.iter().flatten().next().is_some() {
            errors.forbidden(&path.field("ephemeralContainers"), "cannot be set on create");
        }
        if let Some(old) = old {
            let old = old.spec.as_ref().unwrap_or(&empty);
            match write {
                Write::EphemeralContainers => validation::ephemeral::update(spec, old, &path, errors),
                _ => validation::pod_update::update(spec, old, &path, errors),
            }
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        table::pod::cells(self, now)
    }

    fn field(object: &Value, name: &str) -> Option<String> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match name {
            "spec.host" => Some(text("/spec/nodeName")),
            "spec.hostNetwork" => {
                let host_network = object.pointer("/spec/hostNetwork").and_then(Value::as_bool);
                Some(host_network.unwrap_or(false).to_string())
            }
            "status.podIPs" => {
                let ips = object.pointer("/status/podIPs").and_then(Value::as_array);
                let ips = ips.into_iter().flatten().filter_map(|ip| ip.get("ip")?.as_str());
                Some(ips.collect::<Vec<_>>().join(","))
            }
            _ => None,
        }
    }
}

/// Service account and tolerations, where the user said nothing.
fn admit(spec: &mut PodSpec) {
    crate::defaults::text(&mut spec.service_account_name, "default");
    spec.service_account.clone_from(&spec.service_account_name);
    for key in TOLERATED {
        let tolerations = spec.tolerations.get_or_insert_default();
        let is_tolerated = tolerations.iter().any(|toleration| {
            toleration
                .key
                .as_deref()
                .is_none_or(|other| other.is_empty() || other == key)
                && matches!(toleration.effect.as_deref().unwrap_or_default(), "" | "NoExecute")
        });
        if !is_tolerated {
            tolerations.push(k8s_openapi::api::core::v1::Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(TOLERATION),
                ..Default::default()
            });
        }
    }
}
