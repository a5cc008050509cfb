//! PersistentVolumeClaim: storage that a pod asks for.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};
use serde_json::{Value, json};

use super::volume_claims::{access_modes, or_unset, short_modes, storage, volume_mode};
use crate::defaults::text;
use crate::kind::{Subresource, Write};
use crate::prepare::set;
use crate::quantity::Amount;
use crate::served::{Row, Served};
use crate::table::{age, column, name, or_terminating, wide};
use crate::validation::{self, Errors, Path, names};

const FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

impl Served for PersistentVolumeClaim {
    const ROW: Row = Row {
        singular: "persistentvolumeclaim",
        short_names: &["pvc"],
        columns: &[
            column("Name"),
            column("Status"),
            column("Volume"),
            column("Capacity"),
            column("Access Modes"),
            column("StorageClass"),
            column("VolumeAttributesClass"),
            column("Age"),
            wide("VolumeMode"),
        ],
        subresources: &[Subresource::Status],
        inert: true,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        text(&mut spec.volume_mode, "Filesystem");
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
        let Some(old) = old else { return };
        let is_bound = old.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        let old = old.spec.clone().unwrap_or_default();
        let mut allowed = old.clone();
        // A binder fills in the volume once.
        if allowed.volume_name.as_deref().is_none_or(str::is_empty) {
            allowed.volume_name.clone_from(&spec.volume_name);
        }
        if is_bound {
            allowed.resources.clone_from(&spec.resources);
            allowed
                .volume_attributes_class_name
                .clone_from(&spec.volume_attributes_class_name);
        }
        if allowed != spec {
            errors.forbidden(&path, FIXED);
        } else if requested(&spec) < requested(&old) {
            let detail = "field can not be less than status.capacity";
            errors.forbidden(&path.field("resources.requests.storage"), detail);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let (spec, status) = (
            self.spec.clone().unwrap_or_default(),
            self.status.clone().unwrap_or_default(),
        );
        let volume = spec.volume_name.unwrap_or_default();
        let (mut capacity, mut modes) = (String::new(), "".into());
        if !volume.is_empty() {
            capacity = storage(status.capacity.as_ref());
            modes = short_modes(&status.access_modes.unwrap_or_default());
        }
        vec![
            name(&self.metadata),
            or_terminating(&self.metadata, status.phase.as_deref()),
            volume.into(),
            capacity.into(),
            modes,
            spec.storage_class_name.unwrap_or_default().into(),
            or_unset(spec.volume_attributes_class_name.as_deref()),
            age(&self.metadata, now),
            or_unset(spec.volume_mode.as_deref()),
        ]
    }
}

fn requested(spec: &PersistentVolumeClaimSpec) -> Option<Amount> {
    let requests = spec.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage")?.0.parse().ok()
}

/// Checks the spec of a claim, and of a template of claims.
pub(crate) fn validate_spec(spec: &PersistentVolumeClaimSpec, path: &Path<'_>, errors: &mut Errors) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    let missing = "at least 1 access mode is required";
    access_modes(modes, missing, &path.field("accessModes"), errors);
    if let Some(selector) = &spec.selector {
        validation::selector::validate(selector, &path.field("selector"), errors);
    }
    let requests = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    let resources = path.field("resources");
    match requests.and_then(|requests| requests.get("storage")) {
        None => errors.required(&resources.key("storage"), ""),
        Some(amount) if !amount.0.parse::<Amount>().is_ok_and(Amount::is_positive) => {
            errors.invalid(&resources.key("storage"), &amount.0, "must be greater than zero");
        }
        Some(_) => {}
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
