//! The folder that holds everything of one cluster: where each thing lies, and who may use it.
//!
//! Flows in: a path from the command line or the default. Flows out: paths, and the lock that makes one server own the
//! folder. Never removes what coracle did not make.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::process::ProcessId;

/// One cluster's folder.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// What a cluster must remember from one start to the next (`cluster.json`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Which block of loopback addresses is this cluster's; see [`crate::network`].
    pub network: u8,
    /// Where the API listens on 127.0.0.1.
    pub api_port: u16,
    /// Number of nodes.
    pub nodes: u16,
    /// Whether pods listen on their declared ports (`--pod-ports=declared`).
    pub declared_ports: bool,
    /// Where the balancer's metrics are, if the user has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_address: Option<SocketAddr>,
    /// How long a node's agent may be silent, in seconds, if the user has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_monitor_grace_seconds: Option<u64>,
    /// Whether pods are only pretended to run (`--fake-pods`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fake_pods: bool,
    /// The kubeconfig that was given a context for this cluster.
    pub kubeconfig: PathBuf,
    /// The name of that context.
    pub context: String,
    /// The context that was in use there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_before: Option<String>,
}

impl Settings {
    /// How long a node's agent may be silent before the node is not ready.
    pub fn node_monitor_grace_period(&self) -> Duration {
        Duration::from_secs(self.node_monitor_grace_seconds.unwrap_or(50))
    }
}

/// Held by the server as long as it lives: nobody else may run a cluster from the same folder.
pub struct Lock(
    #[expect(dead_code, reason = "held, never read: dropping it gives the folder up")] Flock<File>,
);

/// What the folder is made of: the only names that [`DataDir::remove`] touches.
const CONTENTS: [&str; 8] = [
    "cluster.json",
    "server.lock",
    "server.log",
    "store",
    "pki",
    "kubeconfig",
    "balancer",
    "nodes",
];

/// Those of them that exist only if `cluster.json` does.
const ONLY_OURS: [&str; 5] = ["store", "pki", "kubeconfig", "balancer", "nodes"];

impl DataDir {
    /// `$XDG_STATE_HOME/coracle/default`, or `~/.local/state/coracle/default`.
    pub fn default_path() -> anyhow::Result<PathBuf> {
        let state = match std::env::var_os("XDG_STATE_HOME").filter(|dir| Path::new(dir).is_absolute()) {
            Some(dir) => PathBuf::from(dir),
            None => std::env::home_dir()
                .context("there is no home folder: give --data-dir")?
                .join(".local/state"),
        };
        Ok(state.join("coracle/default"))
    }

    /// The folder as the user named it (or the default), which need not exist yet.
    pub fn new(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = path.map_or_else(Self::default_path, Ok)?;
        Ok(Self {
            root: std::path::absolute(&path).with_context(|| format!("{}", path.display()))?,
        })
    }

    /// How a command must be told of this folder: nothing for the default one.
    pub fn option(&self) -> String {
        match Self::default_path() {
            Ok(default) if default == self.root => String::new(),
            _ => format!(" --data-dir {}", self.root.display()),
        }
    }

    /// Makes the folder, for this user only.
    ///
    /// # Errors
    /// If it holds something of somebody else's that has the name of something of ours, which [`Self::remove`] would take
    /// away one day.
    pub fn create(&self) -> anyhow::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .with_context(|| {
                format!(
                    "cannot make the data folder {}: choose another with --data-dir",
                    self.root.display()
                )
            })?;
        let foreign = ONLY_OURS.into_iter().find(|name| self.root.join(name).exists());
        match foreign.filter(|_| !self.root.join("cluster.json").exists()) {
            Some(name) => bail!(
                "{} is not a cluster's folder, and has a {name} of its own: choose another with --data-dir",
                self.root.display()
            ),
            None => Ok(()),
        }
    }

    /// Takes the folder for this process.
    ///
    /// # Errors
    /// If a server runs on it already; the sentence names its pid.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.root.join("server.lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| {
                format!(
                    "cannot write to the data folder {}: choose another with --data-dir",
                    self.root.display()
                )
            })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // The file was opened before a `down` removed it: nobody else will ever see this lock.
            Ok(lock) if !is_at(&lock, &path) => {
                bail!("{} has just been removed: try again", self.root.display())
            }
            Ok(mut lock) => {
                if let Err(error) = note_holder(&mut lock) {
                    // What was made only now, on a full disk say, is nobody's yet.
                    if matches!(self.settings(), Ok(None)) {
                        self.remove_traces()?;
                    }
                    return Err(error).with_context(|| {
                        format!(
                            "cannot write to the data folder {}: make room there, or choose another with --data-dir",
                            self.root.display()
                        )
                    });
                }
                Ok(Lock(lock))
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                let holder = self
                    .server()
                    .map_or_else(String::new, |server| format!(" (pid {})", server.pid));
                bail!(
                    "a coracle server{holder} already runs on {}: use another --data-dir, or stop it with `coracle down{}`",
                    self.root.display(),
                    self.option()
                )
            }
            Err((_, errno)) => bail!("cannot lock {}: {errno}", path.display()),
        }
    }

    /// The server that holds the lock, if one does.
    pub fn server(&self) -> Option<ProcessId> {
        let mut text = String::new();
        File::open(self.root.join("server.lock"))
            .ok()?
            .read_to_string(&mut text)
            .ok()?;
        serde_json::from_str::<ProcessId>(&text)
            .ok()
            .filter(ProcessId::is_alive)
    }

    /// What was remembered, if this folder has held a cluster before.
    pub fn settings(&self) -> anyhow::Result<Option<Settings>> {
        let path = self.root.join("cluster.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let settings: Settings = serde_json::from_slice(&bytes).with_context(|| {
                    format!(
                        "{} is damaged: put a copy in its place, or remove the folder to start anew",
                        path.display()
                    )
                })?;
                if settings.network > crate::network::LAST {
                    bail!(
                        "{} is damaged: there is no network {}",
                        path.display(),
                        settings.network
                    );
                }
                Ok(Some(settings))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Remembers the settings, whole or not at all.
    pub fn save_settings(&self, settings: &Settings) -> anyhow::Result<()> {
        write_private(
            &self.root.join("cluster.json"),
            &serde_json::to_vec_pretty(settings)?,
        )
    }

    /// Removes the cluster's files, and the folder if nothing else is in it. The image catalogue is the user's.
    pub fn remove(&self) -> anyhow::Result<()> {
        self.remove_files(&CONTENTS)
    }

    /// Removes what a start has made before it knew that the folder can be used.
    pub fn remove_traces(&self) -> anyhow::Result<()> {
        self.remove_files(&["server.lock", "server.log"])
    }

    fn remove_files(&self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            let path = self.root.join(name);
            let result = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            match result {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        match fs::remove_dir(&self.root) {
            Err(error)
                if !matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(error).with_context(|| format!("cannot remove {}", self.root.display()))
            }
            _ => Ok(()),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store's database.
    pub fn store(&self) -> PathBuf {
        self.root.join("store/coracle.db")
    }

    /// Certificates and keys.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// A component's or the administrator's own kubeconfig.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.root.join(format!("kubeconfig/{user}.yaml"))
    }

    /// What a detached server prints.
    pub fn server_log(&self) -> PathBuf {
        self.root.join("server.log")
    }

    /// The balancer's folder: its pid, log and status socket.
    pub fn balancer(&self) -> PathBuf {
        self.root.join("balancer")
    }
}

/// Writes down whose the lock is.
fn note_holder(lock: &mut File) -> anyhow::Result<()> {
    let own = serde_json::to_vec(&ProcessId::own()?)?;
    lock.set_len(0)?;
    lock.rewind()?;
    Ok(lock.write_all(&own)?)
}

/// Whether this file is what the path leads to.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(path)) => identity(file) == identity(path),
        _ => false,
    }
}

/// Writes a file that only this user may read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Its name would be told, which nobody knows.
        let unnamed = |error: std::io::Error| std::io::Error::from(error.kind());
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unnamed)?;
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_made_is_neither_used_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("store")).unwrap();
        fs::write(folder.path().join("store/book"), "mine").unwrap();
        let data_dir = DataDir::new(Some(folder.path().to_owned())).unwrap();
        let refusal = data_dir.create().unwrap_err().to_string();
        assert!(refusal.contains("has a store of its own"), "{refusal}");
        fs::remove_dir_all(folder.path().join("store")).unwrap();
        for name in ["tmp", "notes"] {
            fs::write(folder.path().join(name), "mine").unwrap();
        }
        data_dir.create().unwrap();
        data_dir.remove().unwrap();
        for name in ["tmp", "notes"] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_lock_on_a_removed_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path));
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path));
        let _another = File::create(&path).unwrap();
        assert!(!is_at(&file, &path));
    }

    #[test]
    fn a_network_that_does_not_exist_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(Some(folder.path().to_owned())).unwrap();
        let settings = |network| Settings {
            network,
            api_port: 7443,
            nodes: 3,
            declared_ports: false,
            fake_pods: false,
            metrics_address: None,
            node_monitor_grace_seconds: None,
            kubeconfig: PathBuf::new(),
            context: String::new(),
            context_before: None,
        };
        data_dir.save_settings(&settings(3)).unwrap();
        assert!(data_dir.settings().unwrap().is_some());
        data_dir.save_settings(&settings(200)).unwrap();
        assert!(data_dir.settings().is_err());
    }
}
