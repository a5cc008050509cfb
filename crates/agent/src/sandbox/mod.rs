//! A pod's place on the machine: its folder, its address and ports, its keeper.
//!
//! Flows in: a pod. Flows out: `<data-dir>/nodes/<node>/pods/<uid>/`, which holds all that is needed to find the pod
//! again after a restart. Never decides what runs in it.

pub mod exec;
pub mod launch;
pub mod link;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::keeper::record;

/// File in the pod's folder that says whose it is.
const PLACE: &str = "pod.json";

/// What a pod was given; on disk as `pod.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid, also the name of its folder.
    pub uid: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Whether the address is its node's own.
    pub host_network: bool,
    /// Real ports by declared port, `80/TCP`; empty where pods listen on their declared ports.
    pub ports: BTreeMap<String, u16>,
}

/// Folder of a node's pods.
pub fn pods_dir(data_dir: &Path, node: &str) -> PathBuf {
    data_dir.join("nodes").join(node).join("pods")
}

/// Makes a pod's folder and writes down what it was given.
pub fn create(dir: &Path, place: &Place) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    record::write(&dir.join(PLACE), place)
}

/// What the pod of a folder was given; `None` if it is gone.
pub fn place(dir: &Path) -> Option<Place> {
    record::read(&dir.join(PLACE))
}

/// The pods that have a folder below `pods_dir`, with it. Folders without a readable `pod.json` (a crash in the middle
/// of [`create`]) are removed.
pub fn existing(pods_dir: &Path) -> Vec<(PathBuf, Place)> {
    let Ok(entries) = fs::read_dir(pods_dir) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let dir = entry.path();
        match place(&dir) {
            Some(place) => found.push((dir, place)),
            None => {
                if let Err(error) = fs::remove_dir_all(&dir) {
                    tracing::warn!(dir = %dir.display(), %error, "cannot remove an unfinished pod folder");
                }
            }
        }
    }
    found
}
