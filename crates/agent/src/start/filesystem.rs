//! The annotation `coracle.dev/sandbox: "true"`: the files that a container of such a pod gets at.
//!
//! It may write in the folder that it starts in by default (which is its `TMPDIR` too) and in volumes of the kinds
//! emptyDir and hostPath. It may read those, the pod's other volumes, its program, its `workingDir` and the system. It
//! gets neither at `/tmp` and `/home`, which it would share, nor at the rest of the data folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{Site, StartError};
use crate::keeper::landlock;
use crate::keeper::protocol::Sandbox;
use crate::nginx;

const ANNOTATION: &str = "coracle.dev/sandbox";

fn annotation(pod: &Pod) -> Option<&str> {
    let annotations = pod.metadata.annotations.as_ref()?;
    annotations.get(ANNOTATION).map(String::as_str)
}

/// Whether the pod asks for a sandbox.
pub fn is_asked_for(pod: &Pod) -> Result<bool, StartError> {
    match annotation(pod) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(StartError::Config(format!(
            "annotation {ANNOTATION}: {other:?} is neither \"true\" nor \"false\""
        ))),
    }
}

/// Why a pod that asks for a sandbox does not get one; `None` if it does, or does not ask.
pub fn not_enforced(pod: &Pod) -> Option<String> {
    (annotation(pod) == Some("true") && !landlock::is_available()).then(|| {
        format!("{ANNOTATION} is not enforced: this kernel has no Landlock, the pod runs without a sandbox")
    })
}

/// What a container gets at; `own` is the folder that is its alone, `read` what else it needs.
pub fn sandbox(
    site: &Site<'_>,
    container: &Container,
    read: [&str; 2],
    own: &Path,
    volumes: &BTreeMap<String, PathBuf>,
) -> Sandbox {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    // A name without a slash is looked for in the system's folders, not in the keeper's own.
    let mut read: Vec<String> = read
        .into_iter()
        .filter(|path| path.starts_with('/'))
        .map(str::to_owned)
        .collect();
    // The stand-in web server, and what takes a terminal.
    read.push(text(site.program));
    let mut write = vec![text(own), text(&nginx::folder(site.dir, &container.name))];
    for volume in site
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
    {
        let Some(path) = volumes.get(&volume.name) else {
            continue;
        };
        if volume.empty_dir.is_some() || volume.host_path.is_some() {
            write.push(text(path));
        } else {
            read.push(text(path));
        }
    }
    Sandbox { read, write }
}
