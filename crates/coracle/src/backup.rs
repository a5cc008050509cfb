//! `coracle backup` and `coracle restore`: a cluster's objects, keys, settings and image catalogue in one file.
//!
//! The file holds the cluster's authority and every Secret: it is for its owner only, as the data folder is. Pods are not
//! in it; they are started anew where the cluster is restored.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::images::Images;
use anyhow::{Context as _, bail};
use store::Attachment;

use crate::cli::ClusterArgs;
use crate::data_dir::{DataDir, write_private};
use crate::output;

/// Options of `coracle backup` and `coracle restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct BackupArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The backup
    file: PathBuf,
}

/// The settings' name in a backup. They make a folder a cluster's, so they are restored last.
const SETTINGS: &str = "cluster.json";

/// What goes into a backup beside the store, and where it lies. No other name is ever restored.
fn files(data_dir: &DataDir) -> [(&'static str, PathBuf); 5] {
    [
        ("ca.crt", data_dir.pki().join("ca.crt")),
        ("ca.key", data_dir.pki().join("ca.key")),
        ("sa.key", data_dir.pki().join("sa.key")),
        ("images.yaml", Images::file(data_dir.root())),
        (SETTINGS, data_dir.root().join(SETTINGS)),
    ]
}

/// Writes a backup, of a cluster that runs or not.
pub fn backup(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    let data_dir = DataDir::new(args.cluster.data_dir.clone())?;
    if data_dir.settings()?.is_none() {
        bail!(
            "there is no cluster in {}: name its folder with --data-dir",
            data_dir.root().display()
        );
    }
    let mut attachments = Vec::new();
    for (name, path) in files(&data_dir) {
        match std::fs::read(&path) {
            Ok(content) => attachments.push(Attachment {
                name: name.to_owned(),
                content,
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    store::backup(&data_dir.store(), &attachments, &args.file)?;
    output::line(format_args!(
        "The cluster is saved in {}. Keep it as safe as a key: it holds the cluster's authority and its Secrets.",
        args.file.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a cluster from a backup, in a folder that has none. The next `coracle up` starts it.
pub fn restore(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    let data_dir = DataDir::new(args.cluster.data_dir.clone())?;
    data_dir.create()?;
    let lock = data_dir.lock()?;
    if data_dir.settings()?.is_some() {
        bail!(
            "there is a cluster in {} already: remove it with `coracle down{}`, or choose another folder with --data-dir",
            data_dir.root().display(),
            data_dir.option()
        );
    }
    if let Err(error) = fill(&data_dir, &args.file) {
        data_dir.remove()?;
        return Err(error);
    }
    drop(lock);
    output::line(format_args!(
        "The cluster is restored. Start it: coracle up{}",
        data_dir.option()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn fill(data_dir: &DataDir, from: &Path) -> anyhow::Result<()> {
    let attachments = store::restore(from, &data_dir.store())?;
    for (name, path) in files(data_dir) {
        match attachments.iter().find(|attachment| attachment.name == name) {
            // A catalogue that is there is the user's.
            Some(_) if name == "images.yaml" && path.exists() => {}
            Some(attachment) => write_private(&path, &attachment.content)?,
            None if name == "images.yaml" => {}
            None => bail!("{} is no backup of a cluster ({name} is missing)", from.display()),
        }
    }
    Ok(())
}
