//! Rules for where containers mount volumes, and where they have block devices.

use k8s_openapi::api::core::v1::{Container, Volume, VolumeMount};

use super::{Errors, Path, volume};

const PROPAGATIONS: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
const READ_ONLY: [&str; 3] = ["Disabled", "Enabled", "IfPossible"];

/// Checks that a container mounts volumes that exist, each place once. For what has no index in its place
/// upstream gives that of the list.
pub fn mounts(container: &Container, volumes: &[Volume], list: &Path<'_>, errors: &mut Errors) {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    for (index, mount) in mounts.iter().enumerate() {
        let path = list.index(index);
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        if mount.name.is_empty() {
            errors.required(&path.field("name"), "");
        }
        if volume.is_none() {
            errors.not_found(&path.field("name"), &mount.name);
        }
        if mount.mount_path.is_empty() {
            errors.required(&path.field("mountPath"), "");
        }
        let mut others = mounts[..index].iter();
        if others.any(|other| other.mount_path == mount.mount_path) {
            errors.invalid(&path.field("mountPath"), &mount.mount_path, "must be unique");
        }
        let devices = || container.volume_devices.iter().flatten();
        if devices().any(|device| device.name == mount.name) {
            let detail = "must not already exist in volumeDevices";
            errors.invalid(&path.field("name"), &mount.name, detail);
        }
        if devices().any(|device| device.device_path == mount.mount_path) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(&path.field("mountPath"), &mount.mount_path, detail);
        }
        let is_image = volume.is_some_and(|volume| volume.image.is_some());
        sub_paths(mount, is_image, list, &path, errors);
        propagation(mount, container, &list.field("mountPropagation"), errors);
        read_only(mount, &list.field("recursiveReadOnly"), errors);
    }
}

fn sub_paths(mount: &VolumeMount, is_image: bool, list: &Path<'_>, path: &Path<'_>, errors: &mut Errors) {
    let text = mount.sub_path.as_deref().unwrap_or_default();
    let other = mount.sub_path_expr.as_deref().unwrap_or_default();
    for (field, text) in [("subPath", text), ("subPathExpr", other)] {
        if is_image && !text.is_empty() {
            errors.invalid(&path.field(field), text, "not allowed in image volume sources");
        }
    }
    volume::relative_path(text, &list.field("subPath"), errors);
    if !text.is_empty() && !other.is_empty() {
        let detail = "subPathExpr and subPath are mutually exclusive";
        errors.invalid(&path.field("subPathExpr"), other, detail);
    }
    volume::relative_path(other, &list.field("subPathExpr"), errors);
}

fn propagation(mount: &VolumeMount, container: &Container, path: &Path<'_>, errors: &mut Errors) {
    let Some(propagation) = mount.mount_propagation.as_deref() else {
        return;
    };
    if !PROPAGATIONS.contains(&propagation) {
        errors.not_supported(path, propagation, &PROPAGATIONS);
    }
    let context = container.security_context.as_ref();
    let is_privileged = context.is_some_and(|context| context.privileged == Some(true));
    if propagation == "Bidirectional" && !is_privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(path, detail);
    }
}

fn read_only(mount: &VolumeMount, path: &Path<'_>, errors: &mut Errors) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if !matches!(mount.mount_propagation.as_deref(), None | Some("None")) {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.forbidden(path, detail);
            }
        }
        Some(other) => errors.not_supported(path, other, &READ_ONLY),
    }
}

/// Checks that a container has devices of claims that exist, each once.
pub fn devices(container: &Container, volumes: &[Volume], path: &Path<'_>, errors: &mut Errors) {
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    for (index, device) in devices.iter().enumerate() {
        let path = path.index(index);
        let (name, file) = (path.field("name"), path.field("devicePath"));
        let others = &devices[..index];
        if device.name.is_empty() {
            errors.required(&name, "");
        } else if others.iter().any(|other| other.name == device.name) {
            errors.invalid(&name, &device.name, "must be unique");
        }
        match volumes.iter().find(|volume| volume.name == device.name) {
            None => errors.not_found(&name, &device.name),
            Some(volume) if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() => {}
            Some(_) => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&name, &device.name, detail);
            }
        }
        if device.device_path.is_empty() {
            errors.required(&file, "");
        }
        if others.iter().any(|other| other.device_path == device.device_path) {
            errors.invalid(&file, &device.device_path, "must be unique");
        }
        if volume::has_backsteps(&device.device_path) {
            errors.invalid(&file, &device.device_path, "can not contain backsteps ('..')");
        }
        let mounts = || container.volume_mounts.iter().flatten();
        if mounts().any(|mount| mount.name == device.name) {
            let detail = "must not already exist in volumeMounts";
            errors.invalid(&name, &device.name, detail);
        }
        if mounts().any(|mount| mount.mount_path == device.device_path) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.invalid(&file, &device.device_path, detail);
        }
    }
}
