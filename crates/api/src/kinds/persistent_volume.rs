//! PersistentVolume: storage that is there to be claimed.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec};
use serde_json::{Value, json};

use super::volume_claims::{access_modes, or_unset, short_modes, storage, volume_mode};
use crate::defaults::text;
use crate::kind::{Subresource, Write};
use crate::prepare::set;
use crate::quantity::Amount;
use crate::served::{Row, Served};
use crate::table::{age, column, name, or_terminating, wide};
use crate::validation::{Errors, Path, names, volume};

impl Served for PersistentVolume {
    const ROW: Row = Row {
        singular: "persistentvolume",
        short_names: &["pv"],
        columns: &[
            column("Name"),
            column("Capacity"),
            column("Access Modes"),
            column("Reclaim Policy"),
            column("Status"),
            column("Claim"),
            column("StorageClass"),
            column("VolumeAttributesClass"),
            column("Reason"),
            column("Age"),
            wide("VolumeMode"),
        ],
        subresources: &[Subresource::Status],
        inert: true,
        ..Row::CLUSTER
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        text(&mut spec.persistent_volume_reclaim_policy, "Retain");
        text(&mut spec.volume_mode, "Filesystem");
        if let Some(host_path) = &mut spec.host_path {
            host_path.type_.get_or_insert_default();
        }
        text(&mut self.status.get_or_insert_default().phase, "Pending");
    }

    fn prepare(object: &mut Value, old: Option<&Value>, _write: Write) {
        if old.is_none() {
            set(object, "status", "phase", json!("Pending"));
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write, errors: &mut Errors) {
        if write == Write::Status {
            return;
        }
        let path = Path::ROOT.field("spec");
        let spec = self.spec.clone().unwrap_or_default();
        validate_spec(&spec, &path, errors);
        let Some(old) = old.and_then(|old| old.spec.as_ref()) else {
            return;
        };
        if sources(&spec) != sources(old) {
            let detail = "spec.persistentvolumesource is immutable after creation";
            errors.forbidden(&path.field("persistentvolumesource"), detail);
        }
        errors.immutable(&path.field("volumeMode"), &spec.volume_mode, &old.volume_mode);
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let (spec, status) = (
            self.spec.clone().unwrap_or_default(),
            self.status.clone().unwrap_or_default(),
        );
        let claim = spec.claim_ref.map(|claim| {
            let (namespace, name) = (
                claim.namespace.unwrap_or_default(),
                claim.name.unwrap_or_default(),
            );
            format!("{namespace}/{name}")
        });
        vec![
            name(&self.metadata),
            storage(spec.capacity.as_ref()).into(),
            short_modes(&spec.access_modes.unwrap_or_default()),
            spec.persistent_volume_reclaim_policy.into(),
            or_terminating(&self.metadata, status.phase.as_deref()),
            claim.unwrap_or_default().into(),
            spec.storage_class_name.unwrap_or_default().into(),
            or_unset(spec.volume_attributes_class_name.as_deref()),
            status.reason.unwrap_or_default().into(),
            age(&self.metadata, now),
            or_unset(spec.volume_mode.as_deref()),
        ]
    }
}

/// The kinds of volume that are named: fields of the spec that no other volume has.
fn sources(spec: &PersistentVolumeSpec) -> Vec<(String, Value)> {
    let common = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ];
    match json!(spec) {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(field, _)| !common.contains(&field.as_str()))
            .collect(),
        _ => Vec::new(),
    }
}

fn validate_spec(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut Errors) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    access_modes(modes, "", &path.field("accessModes"), errors);
    let capacity = spec.capacity.clone().unwrap_or_default();
    let capacity_path = path.field("capacity");
    if capacity.is_empty() {
        errors.required(&capacity_path, "");
    }
    if capacity.len() != 1 || !capacity.contains_key("storage") {
        errors.not_supported(&capacity_path, &spec.capacity, &["storage"]);
    }
    for (resource, quantity) in &capacity {
        let path = capacity_path.key(resource);
        let amount = quantity.0.parse::<Amount>().ok();
        if let Some(negative) = amount.filter(|amount| amount.is_negative()) {
            errors.invalid(&path, &negative.value(), "must be a valid resource quantity");
        }
        if !amount.is_some_and(Amount::is_positive) {
            errors.invalid(&path, &quantity.0, "must be greater than zero");
        }
    }
    let policies = ["Delete", "Recycle", "Retain"];
    let policy = spec.persistent_volume_reclaim_policy.as_deref();
    let policy_path = path.field("persistentVolumeReclaimPolicy");
    errors.one_of(&policy_path, policy, &policies);
    if policy == Some("Recycle") {
        let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        errors.warn(&policy_path, why);
    }
    let sources = sources(spec);
    if sources.is_empty() {
        errors.required(path, "must specify a volume type");
    }
    for (source, _) in sources.iter().skip(1) {
        errors.forbidden(&path.field(source), "may not specify more than 1 volume type");
    }
    // What is wrong with either of several can wait until it is clear which one is meant.
    if sources.len() == 1 {
        source(spec, path, errors);
    }
    if let Some(class) = spec
        .storage_class_name
        .as_deref()
        .filter(|class| !class.is_empty())
    {
        errors.problems(&path.field("storageClassName"), class, &names::subdomain(class));
    }
    volume_mode(spec.volume_mode.as_deref(), &path.field("volumeMode"), errors);
}

fn source(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(host_path) = &spec.host_path {
        volume::host_path(host_path, &path.field("hostPath"), errors);
    }
    if let Some(nfs) = &spec.nfs {
        volume::nfs(nfs, &path.field("nfs"), errors);
    }
    if let Some(csi) = &spec.csi {
        let path = path.field("csi");
        volume::driver(&csi.driver, &path.field("driver"), errors);
        if csi.volume_handle.is_empty() {
            errors.required(&path.field("volumeHandle"), "");
        }
    }
    if let Some(local) = &spec.local {
        if local.path.is_empty() {
            errors.required(&path.field("local").field("path"), "");
        } else {
            volume::no_backsteps(&local.path, &path.field("local.path"), errors);
        }
        if spec.node_affinity.is_none() {
            errors.required(&path.field("nodeAffinity"), "Local volume requires node affinity");
        }
    }
}
