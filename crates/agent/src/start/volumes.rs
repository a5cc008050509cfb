//! Volumes as folders.
//!
//! Without root nothing can be mounted, so a volume is a folder of its own in the pod's folder (a hostPath: the path
//! itself). A program finds it by the variable `CORACLE_VOLUME_<NAME>`, or by its mount path relative to the folder the
//! container starts in.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, Volume, VolumeMount, VolumeProjection,
};

use super::{Objects, Site, StartError, fields, host_path};
use crate::inside;

/// The files of a volume by relative path.
type Files = BTreeMap<String, Vec<u8>>;

/// Makes the pod's volumes and fills them; returns where each is.
pub fn prepare(site: &Site<'_>, objects: &Objects) -> Result<BTreeMap<String, PathBuf>, StartError> {
    let volumes = site
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .map(|volume| {
            let path = one(site, volume, objects).map_err(|error| mounting(volume, error))?;
            Ok((volume.name.clone(), path))
        })
        .collect()
}

/// What a volume lacks holds up the pod, not one of its containers.
fn mounting(volume: &Volume, error: StartError) -> StartError {
    match error {
        StartError::Config(text) => StartError::Mount {
            volume: volume.name.clone(),
            text,
        },
        other => other,
    }
}

fn one(site: &Site<'_>, volume: &Volume, objects: &Objects) -> Result<PathBuf, StartError> {
    if let Some(source) = &volume.host_path {
        return host_path::prepare(source).map_err(StartError::Config);
    }
    let dir = site.dir.join(".volumes").join(&volume.name);
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        config_map(
            &mut files,
            objects,
            &source.name,
            source.items.as_deref(),
            optional,
        )?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        secret(
            &mut files,
            objects,
            name,
            source.items.as_deref(),
            source.optional == Some(true),
        )?;
    } else if let Some(source) = &volume.downward_api {
        downward(&mut files, site, source.items.as_deref().unwrap_or_default())?;
    } else if let Some(source) = &volume.projected {
        for source in source.sources.iter().flatten() {
            projection(&mut files, site, source, objects)?;
        }
    } else if volume.empty_dir.is_none() {
        let text =
            "its kind is not supported: use emptyDir, hostPath, configMap, secret, downwardAPI or projected";
        return Err(StartError::Config(text.to_owned()));
    }
    write(&dir, &files).map_err(|source| StartError::Folder {
        path: dir.clone(),
        source,
    })?;
    if volume.empty_dir.is_some() {
        // Whoever the containers run as; the pod's folder keeps everybody else out.
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).map_err(|source| StartError::Folder {
            path: dir.clone(),
            source,
        })?;
    }
    Ok(dir)
}

fn projection(
    files: &mut Files,
    site: &Site<'_>,
    source: &VolumeProjection,
    objects: &Objects,
) -> Result<(), StartError> {
    if let Some(source) = &source.config_map {
        config_map(
            files,
            objects,
            &source.name,
            source.items.as_deref(),
            source.optional == Some(true),
        )?;
    }
    if let Some(source) = &source.secret {
        secret(
            files,
            objects,
            &source.name,
            source.items.as_deref(),
            source.optional == Some(true),
        )?;
    }
    if let Some(source) = &source.downward_api {
        downward(files, site, source.items.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

fn config_map(
    files: &mut Files,
    objects: &Objects,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
) -> Result<(), StartError> {
    let Some(map) = objects.config_maps.get(name) else {
        return absent("configmap", name, optional);
    };
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map
        .binary_data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.0.clone()));
    let missing = "configmap references non-existent config key";
    select(files, text.chain(binary).collect(), items, missing, optional)
}

fn secret(
    files: &mut Files,
    objects: &Objects,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
) -> Result<(), StartError> {
    let Some(secret) = objects.secrets.get(name) else {
        return absent("secret", name, optional);
    };
    let data = secret
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.0.clone()));
    let missing = "references non-existent secret key";
    select(files, data.collect(), items, missing, optional)
}

fn absent(kind: &str, name: &str, optional: bool) -> Result<(), StartError> {
    if optional {
        Ok(())
    } else {
        Err(StartError::Config(format!("{kind} {name:?} not found")))
    }
}

fn select(
    files: &mut Files,
    mut data: Files,
    items: Option<&[KeyToPath]>,
    missing: &str,
    optional: bool,
) -> Result<(), StartError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        files.append(&mut data);
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(value) => drop(files.insert(item.path.clone(), value.clone())),
            None if optional => {}
            None => {
                return Err(StartError::Config(format!("{missing}: {}", item.key)));
            }
        }
    }
    Ok(())
}

fn downward(files: &mut Files, site: &Site<'_>, items: &[DownwardAPIVolumeFile]) -> Result<(), StartError> {
    for item in items {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(reference), _) => fields::field(site, &reference.field_path)?,
            (None, Some(reference)) => {
                match fields::container_of(site, reference.container_name.as_deref()) {
                    Some(container) => fields::resource(site, container, reference)?,
                    None => return Err(StartError::Config("containerName is missing".to_owned())),
                }
            }
            (None, None) => continue,
        };
        files.insert(item.path.clone(), value.into_bytes());
    }
    Ok(())
}

fn write(dir: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, content) in files {
        inside::write(dir, Path::new(name), content)?;
    }
    Ok(())
}

/// Makes the folder that a container starts in, with a link to each of its volumes at the mount path.
pub fn link_mounts(
    site: &Site<'_>,
    container: &Container,
    volumes: &BTreeMap<String, PathBuf>,
) -> Result<PathBuf, StartError> {
    let root = site.dir.join(".root").join(&container.name);
    let failed = |path: &Path, source| StartError::Folder {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(&root).map_err(|source| failed(&root, source))?;
    // One that lies in another comes after it, and into that one's volume.
    let mut linked: BTreeMap<PathBuf, PathBuf> = BTreeMap::from([(PathBuf::new(), root.clone())]);
    let mut mounts: Vec<&VolumeMount> = container.volume_mounts.iter().flatten().collect();
    mounts.sort_by_key(|mount| inside::relative(Path::new(&mount.mount_path)));
    for mount in mounts {
        let Some(volume) = volumes.get(&mount.name) else {
            continue;
        };
        let path = inside::relative(Path::new(&mount.mount_path));
        if linked.contains_key(&path) {
            continue;
        }
        let target = sub_path(site, mount, volume)?;
        let outer = path
            .ancestors()
            .find_map(|outer| Some((outer, linked.get(outer)?)));
        if let Some((outer, folder)) = outer
            && let Ok(rest) = path.strip_prefix(outer)
        {
            inside::link(folder, rest, &target).map_err(|source| failed(&folder.join(rest), source))?;
        }
        linked.insert(path, target);
    }
    Ok(root)
}

/// What is mounted of a volume. A folder that is missing in a volume that can be written is made.
fn sub_path(site: &Site<'_>, mount: &VolumeMount, volume: &Path) -> Result<PathBuf, StartError> {
    let relative = inside::relative(Path::new(mount.sub_path.as_deref().unwrap_or_default()));
    let path = volume.join(&relative);
    if relative.as_os_str().is_empty() {
        return Ok(path);
    }
    let volumes = site
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let mut can_be_written =
        volumes.filter(|volume| volume.empty_dir.is_some() || volume.host_path.is_some());
    if volume.is_dir() && !path.exists() && can_be_written.any(|volume| volume.name == mount.name) {
        inside::folder(volume, &relative).map_err(|source| StartError::Folder {
            path: path.clone(),
            source,
        })?;
    }
    match (path.canonicalize(), volume.canonicalize()) {
        (Ok(real), Ok(volume)) if !real.starts_with(&volume) => Err(StartError::Create(format!(
            "subPath {:?} of volume {:?} leads out of the volume, to {}",
            relative.display(),
            mount.name,
            real.display()
        ))),
        _ => Ok(path),
    }
}
