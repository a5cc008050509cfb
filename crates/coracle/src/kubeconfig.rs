//! Gives the user's kubeconfig a context for the cluster, and takes it away again.
//!
//! Flows in: the kubeconfig of the cluster's administrator. Flows out: the user's file with one cluster, user and context
//! more, everything else in it as it was. Never writes a file that others may read.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_yaml::{Mapping, Value};

use crate::data_dir::write_private;

/// Where kubectl looks: the first file of `$KUBECONFIG`, else `~/.kube/config`.
pub fn default_path() -> anyhow::Result<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    {
        return std::path::absolute(&first).with_context(|| format!("{}", first.display()));
    }
    Ok(std::env::home_dir()
        .context("there is no home folder: give --kubeconfig")?
        .join(".kube/config"))
}

/// The context that is in use in the file at `path`, if another than `name`.
pub fn current(path: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let file = read(path)?;
    let current = file.get("current-context").and_then(Value::as_str);
    Ok(current
        .filter(|current| !current.is_empty() && *current != name)
        .map(str::to_owned))
}

/// Merges `ours` (a kubeconfig with one cluster, user and context, all called `name`) into the file at `path`, and makes
/// it the current context.
pub fn merge(path: &Path, name: &str, ours: &str) -> anyhow::Result<()> {
    let ours: Mapping = serde_yaml::from_str(ours).context("our own kubeconfig")?;
    let mut file = read(path)?;
    for list in ["clusters", "users", "contexts"] {
        let mut entries = without(&file, list, name);
        if let Some(Value::Sequence(own)) = ours.get(list) {
            entries.extend(own.iter().cloned());
        }
        file.insert(list.into(), Value::Sequence(entries));
    }
    file.insert("apiVersion".into(), "v1".into());
    file.insert("kind".into(), "Config".into());
    file.insert("current-context".into(), name.into());
    write(path, &file)
}

/// Takes the context `name` out of the file at `path`; a file that held nothing else is removed. If that context leads to
/// another cluster than `ours` does (one that was started later and took the name over), everything stays. If it is in use,
/// the context `before` is so from now on, where it is there still.
pub fn remove(path: &Path, name: &str, ours: &str, before: Option<&str>) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let mut file = read(path)?;
    let ours: Mapping = serde_yaml::from_str(ours).context("our own kubeconfig")?;
    if authority(&file, name) != authority(&ours, name) {
        return Ok(());
    }
    for list in ["clusters", "users", "contexts"] {
        let entries = without(&file, list, name);
        file.insert(list.into(), Value::Sequence(entries));
    }
    if file.get("current-context").and_then(Value::as_str) == Some(name) {
        let before = before.filter(|before| has(&file, "contexts", before));
        file.insert("current-context".into(), before.unwrap_or_default().into());
    }
    let is_empty = |list: &str| matches!(file.get(list), Some(Value::Sequence(left)) if left.is_empty());
    if ["clusters", "users", "contexts"].into_iter().all(is_empty) {
        return std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()));
    }
    write(path, &file)
}

fn read(path: &Path) -> anyhow::Result<Mapping> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Mapping::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let parsed: Option<Mapping> = serde_yaml::from_str(&text).with_context(|| {
        format!(
            "{} is not a kubeconfig: mend it, or write elsewhere with --kubeconfig FILE",
            path.display()
        )
    })?;
    Ok(parsed.unwrap_or_default())
}

fn write(path: &Path, file: &Mapping) -> anyhow::Result<()> {
    // A symlink stays one: the file behind it is what is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    write_private(&path, serde_yaml::to_string(file)?.as_bytes())
        .context("the kubeconfig cannot be written: choose another file with --kubeconfig FILE")
}

/// The certificate by which the cluster `name` is known: no two clusters have the same.
fn authority<'a>(file: &'a Mapping, name: &str) -> Option<&'a Value> {
    let clusters = file.get("clusters")?.as_sequence()?;
    let is_it = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some(name);
    let cluster = clusters.iter().find(is_it)?.get("cluster")?;
    cluster.get("certificate-authority-data")
}

fn has(file: &Mapping, list: &str, name: &str) -> bool {
    let entries = file.get(list).and_then(Value::as_sequence);
    entries
        .into_iter()
        .flatten()
        .any(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
}

fn without(file: &Mapping, list: &str, name: &str) -> Vec<Value> {
    let Some(Value::Sequence(entries)) = file.get(list) else {
        return Vec::new();
    };
    entries
        .iter()
        .filter(|entry| entry.get("name").and_then(Value::as_str) != Some(name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, authority: &str) -> String {
        format!(
            "clusters: [{{name: {name}, cluster: {{certificate-authority-data: {authority}}}}}]\n\
             users: [{{name: {name}, user: {{}}}}]\n\
             contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\ncurrent-context: {name}\n"
        )
    }

    fn names(path: &Path, list: &str) -> Vec<String> {
        let file = read(path).unwrap();
        let entries = file[list].as_sequence().unwrap();
        let names = entries.iter().filter_map(|entry| entry["name"].as_str());
        names.map(str::to_owned).collect()
    }

    #[test]
    fn a_context_comes_and_goes_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, config("work", "theirs")).unwrap();
        let ours = config("coracle", "ours");
        assert_eq!(current(&path, "coracle").unwrap().as_deref(), Some("work"));
        merge(&path, "coracle", &ours).unwrap();
        merge(&path, "coracle", &ours).unwrap();
        assert_eq!(current(&path, "coracle").unwrap(), None);
        assert_eq!(names(&path, "contexts"), ["work", "coracle"]);
        assert_eq!(read(&path).unwrap()["current-context"], "coracle");
        remove(&path, "coracle", &ours, Some("work")).unwrap();
        assert_eq!(read(&path).unwrap()["current-context"], "work");
        for list in ["clusters", "users", "contexts"] {
            assert_eq!(names(&path, list), ["work"], "{list}");
        }
    }

    #[test]
    fn a_file_of_ours_alone_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/config");
        let ours = config("coracle", "ours");
        merge(&path, "coracle", &ours).unwrap();
        remove(&path, "coracle", &ours, None).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_with_users_and_clusters_but_no_context_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, "users: [{name: me, user: {token: secret}}]\n").unwrap();
        let ours = config("coracle", "ours");
        merge(&path, "coracle", &ours).unwrap();
        remove(&path, "coracle", &ours, None).unwrap();
        assert_eq!(names(&path, "users"), ["me"]);
    }

    #[test]
    fn a_context_that_another_cluster_took_over_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        merge(&path, "coracle", &config("coracle", "first")).unwrap();
        merge(&path, "coracle", &config("coracle", "second")).unwrap();
        remove(&path, "coracle", &config("coracle", "first"), None).unwrap();
        assert_eq!(names(&path, "contexts"), ["coracle"]);
    }
}
