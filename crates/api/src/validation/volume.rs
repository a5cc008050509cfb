//! Rules for volumes.

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, DownwardAPIVolumeFile, EphemeralVolumeSource, HostPathVolumeSource, KeyToPath,
    NFSVolumeSource, ProjectedVolumeSource, Volume, VolumeProjection,
};

use super::{Errors, Path, container, downward, metadata, names};
use crate::kinds::persistent_volume_claim;
use crate::quantity::Amount;

/// All kinds of volume, in the order in which upstream looks for them.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
/// Longest name of a driver.
const MAX_DRIVER: usize = 63;
const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

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

/// Checks what a volume of a pod needs, and one of a template not yet: an image.
pub fn images(volumes: &[Volume], path: &Path<'_>, errors: &mut Errors) {
    for (index, volume) in volumes.iter().enumerate() {
        let image = volume.image.as_ref();
        if image.is_some_and(|image| image.reference.as_deref().is_none_or(str::is_empty)) {
            let path = path.index(index);
            errors.required(&path.field("image.reference"), "");
        }
    }
}

/// Of several sources only the first is looked at.
fn source(volume: &Volume, path: &Path<'_>, errors: &mut Errors) {
    let mut fields = serde_json::to_value(volume).unwrap_or_default();
    let present = SOURCES.into_iter().filter(|source| fields.get(source).is_some());
    let present: Vec<_> = present.collect();
    let Some((first, extra)) = present.split_first() else {
        return errors.required(path, "must specify a volume type");
    };
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|field, _| field == "name" || field == first);
    }
    only_source(&serde_json::from_value(fields).unwrap_or_default(), path, errors);
    for extra in extra {
        errors.forbidden(&path.field(extra), "may not specify more than 1 volume type");
    }
}

fn only_source(volume: &Volume, path: &Path<'_>, errors: &mut Errors) {
    if let Some(limit) = volume
        .empty_dir
        .as_ref()
        .and_then(|source| source.size_limit.as_ref())
        && limit.0.parse().is_ok_and(Amount::is_negative)
    {
        let detail = "SizeLimit field must be a valid resource quantity";
        errors.forbidden(&path.field("emptyDir.sizeLimit"), detail);
    }
    if let Some(source) = &volume.nfs {
        nfs(source, &path.field("nfs"), errors);
    }
    if let Some(source) = &volume.csi {
        csi(source, &path.field("csi"), errors);
    }
    if let Some(source) = &volume.ephemeral {
        ephemeral(source, &path.field("ephemeral"), errors);
    }
    if let Some(policy) = volume
        .image
        .as_ref()
        .and_then(|source| source.pull_policy.as_deref())
    {
        let path = path.field("image.pullPolicy");
        errors.one_of(&path, Some(policy), &container::PULL_POLICIES);
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
        host_path(source, &path.field("hostPath"), errors);
    }
    if let Some(source) = &volume.downward_api {
        let path = path.field("downwardAPI");
        mode(source.default_mode, &path.field("defaultMode"), errors);
        for file in source.items.iter().flatten() {
            downward_file(file, &path, errors);
        }
    }
    if let Some(source) = &volume.projected {
        projected(source, &path.field("projected"), errors);
    }
    if let Some(source) = &volume.persistent_volume_claim
        && source.claim_name.is_empty()
    {
        errors.required(&path.field("persistentVolumeClaim.claimName"), "");
    }
}

/// Checks a share of a server.
pub fn nfs(source: &NFSVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    if source.server.is_empty() {
        errors.required(&path.field("server"), "");
    }
    if source.path.is_empty() {
        errors.required(&path.field("path"), "");
    }
    if !source.path.starts_with('/') {
        errors.invalid(&path.field("path"), &source.path, "must be an absolute path");
    }
}

fn csi(source: &CSIVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    driver(&source.driver, &path.field("driver"), errors);
    if let Some(secret) = &source.node_publish_secret_ref {
        if secret.name.is_empty() {
            errors.required(&path.field("nodePublishSecretRef.name"), "");
        } else {
            errors.problems(&path.field("name"), &secret.name, &names::subdomain(&secret.name));
        }
    }
}

/// Checks the name of a driver of volumes.
pub fn driver(name: &str, path: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(path, "");
    }
    if name.len() > MAX_DRIVER {
        errors.too_long(path, MAX_DRIVER);
    }
    errors.problems(path, name, &names::subdomain(&name.to_lowercase()));
}

fn ephemeral(source: &EphemeralVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    let path = path.field("volumeClaimTemplate");
    let Some(template) = &source.volume_claim_template else {
        return errors.required(&path, "");
    };
    if let Some(metadata) = &template.metadata {
        metadata::annotations(
            metadata.annotations.as_ref(),
            &path.field("metadata.annotations"),
            errors,
        );
        metadata::labels(metadata.labels.as_ref(), &path.field("metadata.labels"), errors);
    }
    persistent_volume_claim::validate_spec(&template.spec, &path.field("spec"), errors);
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
        new_file(&item.path, &item_path.field("path"), errors);
        mode(item.mode, &item_path.field("mode"), errors);
    }
}

/// Checks a path of this machine.
pub fn host_path(source: &HostPathVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    if source.path.is_empty() {
        errors.required(&path.field("path"), "");
    } else {
        no_backsteps(&source.path, &path.field("path"), errors);
    }
    if let Some(kind) = source.type_.as_deref()
        && !HOST_PATH_TYPES.contains(&kind)
    {
        errors.not_supported(&path.field("type"), kind, &HOST_PATH_TYPES);
    }
}

/// Upstream gives the place of the volume, not that of the file in it.
fn downward_file(file: &DownwardAPIVolumeFile, path: &Path<'_>, errors: &mut Errors) {
    new_file(&file.path, &path.field("path"), errors);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), other) => {
            downward::field(field, &downward::OF_FILES, &path.field("fieldRef"), errors);
            if other.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(path, "resource", detail);
            }
        }
        (None, Some(resource)) => {
            downward::resource(resource, true, &path.field("resourceFieldRef"), errors);
        }
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(file.mode, &path.field("mode"), errors);
}

fn projected(source: &ProjectedVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    mode(source.default_mode, &path.field("defaultMode"), errors);
    let sources = path.field("sources");
    let mut seen = Vec::new();
    for (index, source) in source.sources.iter().flatten().enumerate() {
        projection(source, path, &sources.index(index), errors);
        for (file, blamed) in files_of(source) {
            if seen.contains(&file) {
                errors.invalid(path, blamed, "conflicting duplicate paths");
            }
            seen.push(file);
        }
    }
}

/// `volume` is the path of the whole volume, which upstream gives for what is wrong with a token.
fn projection(source: &VolumeProjection, volume: &Path<'_>, path: &Path<'_>, errors: &mut Errors) {
    let named = [
        ("secret", source.secret.as_ref().map(|s| (&s.name, &s.items))),
        (
            "configMap",
            source.config_map.as_ref().map(|s| (&s.name, &s.items)),
        ),
    ];
    for (field, found) in named {
        let Some((name, list)) = found else { continue };
        let path = path.field(field);
        if name.is_empty() {
            errors.required(&path.field("name"), "");
        }
        items(list.as_deref(), &path.field("items"), errors);
    }
    if let Some(source) = &source.downward_api {
        for file in source.items.iter().flatten() {
            downward_file(file, &path.field("downwardAPI"), errors);
        }
    }
    if let Some(token) = &source.service_account_token {
        new_file(&token.path, &volume.field("path"), errors);
    }
    if let Some(bundle) = &source.cluster_trust_bundle {
        new_file(
            &bundle.path,
            &path.field("clusterTrustBundlePEM").field("path"),
            errors,
        );
    }
    let count = [
        source.secret.is_some(),
        source.config_map.is_some(),
        source.downward_api.is_some(),
        source.service_account_token.is_some(),
        source.cluster_trust_bundle.is_some(),
    ];
    if count.into_iter().filter(|is_there| *is_there).count() > 1 {
        errors.forbidden(path, "may not specify more than 1 volume type per source");
    }
}

/// The files that a source says it makes, each with what is blamed if another makes it too.
fn files_of(source: &VolumeProjection) -> Vec<(&str, &str)> {
    let secret = source.secret.iter().map(|s| (&s.name, &s.items));
    let config_map = source.config_map.iter().map(|s| (&s.name, &s.items));
    let named = secret.chain(config_map).flat_map(|(name, items)| {
        let items = items.iter().flatten();
        items.map(|item| (item.path.as_str(), name.as_str()))
    });
    let downward = source.downward_api.iter().flat_map(|source| {
        let files = source.items.iter().flatten();
        files.map(|file| (file.path.as_str(), file.path.as_str()))
    });
    named
        .chain(downward)
        .filter(|(file, _)| !file.is_empty())
        .collect()
}

/// The path of a file that is made in a volume: one that stays inside, and has no name that is the kubelet's own.
fn new_file(text: &str, path: &Path<'_>, errors: &mut Errors) {
    if text.is_empty() {
        errors.required(path, "");
    }
    relative_path(text, path, errors);
    if text.starts_with("..") && !text.starts_with("../") {
        errors.invalid(path, text, "must not start with '..'");
    }
}

/// A path that stays inside its volume.
pub fn relative_path(text: &str, path: &Path<'_>, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    }
    no_backsteps(text, path, errors);
}

/// Checks that no part of a path leads upward.
pub fn no_backsteps(text: &str, path: &Path<'_>, errors: &mut Errors) {
    if has_backsteps(text) {
        errors.invalid(path, text, "must not contain '..'");
    }
}

/// Whether a part of a path leads upward.
#[must_use]
pub fn has_backsteps(text: &str) -> bool {
    text.split('/').any(|part| part == "..")
}
