//! The status document: what `coracle status` shows of the balancer.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::datapath::BackendState;

/// The state of a balancer at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// Milliseconds on the machine's clock: the difference of two documents' is the time between them.
    pub milliseconds: u64,
    /// Client connections, those without a backend included.
    pub connections: u32,
    /// Client connections that its limit of open files allows; more wait until others have ended.
    pub most: u32,
    /// Where the counters can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// All addresses of all Services.
    pub listeners: Vec<Listener>,
    /// All ports of all Services.
    pub services: Vec<Service>,
    /// All backends that get connections or still have some.
    pub backends: Vec<Backend>,
}

/// An address of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The address.
    pub addr: SocketAddr,
    /// `namespace/service:port`
    pub route: String,
    /// Why it is not listened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The address of the metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// The address.
    pub addr: SocketAddr,
    /// Why it is not listened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// `namespace/service:port`
    pub route: String,
    /// Client connections now.
    pub open: u64,
    /// HTTP/1 requests since the balancer started.
    pub requests: u64,
}

/// A place that connections go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Its address.
    pub addr: SocketAddr,
    /// `namespace/name` of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Whether it gets new connections.
    pub state: BackendState,
    /// Connections now.
    pub open: u32,
    /// HTTP/1 requests since the balancer started.
    pub requests: u64,
}

/// Why a status document cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No balancer answers at the socket.
    #[error("no balancer answers at {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It broke off.
    #[error("cannot read the balancer's status")]
    Read(#[source] std::io::Error),
    /// It is not one.
    #[error("cannot understand the balancer's status")]
    Decode(#[source] serde_json::Error),
}

/// Reads the document of the balancer that listens at this socket.
///
/// # Errors
/// See [`ReadError`].
pub async fn read(path: &Path) -> Result<Status, ReadError> {
    let connect = |source| ReadError::Connect {
        path: path.to_owned(),
        source,
    };
    let near = Near::to(path).map_err(connect)?;
    let mut stream = UnixStream::connect(near.path()).await.map_err(connect)?;
    let mut document = Vec::new();
    stream.read_to_end(&mut document).await.map_err(ReadError::Read)?;
    serde_json::from_slice(&document).map_err(ReadError::Decode)
}

/// A path of a socket, shortened: the system takes no more than 107 bytes, which a data folder may exceed.
pub(crate) struct Near {
    folder: std::fs::File,
    name: PathBuf,
}

impl Near {
    pub(crate) fn to(path: &Path) -> std::io::Result<Self> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Ok(Self {
            folder: std::fs::File::open(folder)?,
            name: path.file_name().map(PathBuf::from).unwrap_or_default(),
        })
    }

    /// The short path, good as long as this lives.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd")
            .join(self.folder.as_raw_fd().to_string())
            .join(&self.name)
    }
}
