//! Rules for volumes and where containers mount them.

use k8s_openapi::api::core::v1::{Container, KeyToPath, Volume};

use super::{Errors, Path, names};

/// Checks the volumes of a pod.
pub fn volumes(volumes: &[Volume], path: &Path<'_>, errors: &mut Errors) {
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        if volume.name.is_empty() {
            errors.required(&path.field("name"), "");
        } else {
            errors.problems(&path.field("name"), &volume.name, &names::label(&volume.name));
        }
        if volumes[..index].iter().any(|other| other.name == volume.name) {
            errors.duplicate(&path.field("name"), &volume.name);
        }
        source(volume, &path, errors);
    }
}

fn source(volume: &Volume, path: &Path<'_>, errors: &mut Errors) {
    let fields = serde_json::to_value(volume).unwrap_or_default();
    let sources = fields
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .filter(|key| *key != "name");
    for extra in sources.skip(1) {
        errors.forbidden(&path.field(extra), "may not specify more than 1 volume type");
    }
    if let Some(source) = &volume.config_map {
        let path = path.field("configMap");
        if source.name.is_empty() {
            errors.required(&path.field("name"), "");
        }
        mode(source.default_mode, &path.field("defaultMode"), errors);
        items(source.items.as_deref(), &path.field("items"), errors);
    }
    if let Some(source) = &volume.secret {
        let path = path.field("secret");
        if source.secret_name.as_deref().is_none_or(str::is_empty) {
            errors.required(&path.field("secretName"), "");
        }
        mode(source.default_mode, &path.field("defaultMode"), errors);
        items(source.items.as_deref(), &path.field("items"), errors);
    }
    if let Some(source) = &volume.host_path {
        let path = path.field("hostPath");
        match source.path.as_str() {
            "" => errors.required(&path.field("path"), ""),
            text if text.split('/').any(|part| part == "..") => {
                errors.invalid(&path.field("path"), text, "must not contain '..'");
            }
            _ => {}
        }
    }
    if let Some(source) = &volume.persistent_volume_claim
        && source.claim_name.is_empty()
    {
        errors.required(&path.field("persistentVolumeClaim.claimName"), "");
    }
}

fn mode(mode: Option<i32>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(
            path,
            &mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}

fn items(items: Option<&[KeyToPath]>, path: &Path<'_>, errors: &mut Errors) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let item_path = path.index(index);
        if item.key.is_empty() {
            errors.required(&item_path.field("key"), "");
        }
        relative_path(&item.path, &item_path.field("path"), errors);
        mode(item.mode, &item_path.field("mode"), errors);
    }
}

/// A path that stays inside its volume.
fn relative_path(text: &str, path: &Path<'_>, errors: &mut Errors) {
    if text.is_empty() {
        errors.required(path, "");
    } else if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    } else if text.split('/').any(|part| part == "..") {
        errors.invalid(path, text, "must not contain '..'");
    }
}

/// Checks that a container mounts volumes that exist, each place once.
pub fn mounts(container: &Container, volumes: &[Volume], path: &Path<'_>, errors: &mut Errors) {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    for (index, mount) in mounts.iter().enumerate() {
        let path = path.index(index);
        if mount.name.is_empty() {
            errors.required(&path.field("name"), "");
        } else if !volumes.iter().any(|volume| volume.name == mount.name) {
            errors.not_found(&path.field("name"), &mount.name);
        }
        if mount.mount_path.is_empty() {
            errors.required(&path.field("mountPath"), "");
        }
        if mounts[..index]
            .iter()
            .any(|other| other.mount_path == mount.mount_path)
        {
            errors.invalid(&path.field("mountPath"), &mount.mount_path, "must be unique");
        }
        if let Some(sub_path) = mount.sub_path.as_deref().filter(|text| !text.is_empty()) {
            relative_path(sub_path, &path.field("subPath"), errors);
        }
    }
}
