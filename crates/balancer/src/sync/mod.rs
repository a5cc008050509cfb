//! Kubernetes' objects to routing tables, and back: which pods are in service.
//!
//! Flows in: Services, EndpointSlices, Pods and Nodes from informers; from the datapath the news that something has
//! drained. Flows out: routing tables, the pods' condition `coracle.dev/InService`, Warning events, the status document.
//! Every round looks at the whole state; nothing depends on having seen an event. While the API cannot be reached the last
//! table stays in force and what could not be written is tried again.

mod bind_errors;
mod coming;
mod handover;
mod in_service;
mod plan;
mod pod_events;
mod port;
mod report;
mod rounds;
mod slices;
mod status_socket;
mod write;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use informer::{Informer, Recorder};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::datapath::{Settings, StartError};
use crate::handover::{HandoverError, Heir};
use crate::metrics::{self, Snapshot};
use crate::status::Status;
pub use in_service::PodEstate;
use rounds::Rounds;

/// What can be chosen about a balancer.
#[derive(Clone)]
pub struct Config {
    /// Where the status document can be read: a Unix socket, made anew at start.
    pub status_socket: PathBuf,
    /// Where this balancer takes over from another, and waits for the next: a Unix socket in a folder of this user alone.
    pub handover_socket: PathBuf,
    /// Where somebody keeps copies of a crashed balancer's listening sockets, if somebody does: see
    /// [`Spare`](crate::handover::Spare).
    pub spare_socket: Option<PathBuf>,
    /// Another balancer runs: if it does not hand over, this one must not begin.
    pub must_inherit: bool,
    /// Called when this process is about to be the balancer, or is it again because the next one has failed.
    pub announce: Arc<dyn Fn() + Send + Sync>,
    /// Open files that whoever is the balancer holds.
    pub keepsakes: Vec<Arc<OwnedFd>>,
    /// Where Prometheus finds the counters; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Threads of the datapath; 0: one a core.
    pub threads: usize,
    /// How long a client waits for a ready pod before it is refused.
    pub hold: Duration,
}

impl Config {
    /// The usual choices, with these Unix sockets, and no metrics.
    pub fn new(status_socket: PathBuf, handover_socket: PathBuf) -> Self {
        let Settings { threads, hold, .. } = Settings::default();
        Self {
            status_socket,
            handover_socket,
            spare_socket: None,
            must_inherit: false,
            announce: Arc::new(|| {}),
            keepsakes: Vec::new(),
            metrics: None,
            threads,
            hold,
        }
    }
}

/// Why a balancer cannot run.
#[derive(Debug, thiserror::Error)]
pub enum BalancerError {
    /// The datapath's threads.
    #[error("cannot start the datapath")]
    Datapath(#[from] StartError),
    /// A Unix socket: the status document's, or the handover's.
    #[error("cannot listen at {path}")]
    UnixSocket {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The balancer that runs does not hand over; it serves on.
    #[error("cannot take over from the balancer that runs")]
    Handover(#[from] HandoverError),
}

/// What others want of the loop, and where the answer goes.
pub(crate) enum Question {
    /// The status document.
    Status(oneshot::Sender<Status>),
    /// The counters.
    Snapshot(oneshot::Sender<Snapshot>),
    /// To be the next balancer, or copies of the listening sockets.
    Handover(Heir),
}

/// The caches that a balancer works from.
#[derive(Clone)]
struct Caches {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
}

/// Balances until `stop`, and then closes all listeners and connections; or until another balancer has taken over.
///
/// # Errors
/// See [`BalancerError`]. An API server that cannot be reached is none.
pub async fn run(config: Config, client: Client, stop: CancellationToken) -> Result<(), BalancerError> {
    let tasks = TaskTracker::new();
    let stop = stop.child_token();
    let done = balance(config, client, &tasks, &stop).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    done
}

async fn balance(
    config: Config,
    client: Client,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), BalancerError> {
    let caches = Caches::start(&client, tasks, stop);
    let recorder = Recorder::new(client.clone(), "coracle-balancer", "");
    let mut rounds = Rounds::new(&config, caches.clone(), client, recorder, tasks.clone())?;
    // A table made from half the objects would send connections away from pods that are ready.
    if stop.run_until_cancelled(caches.synced()).await.is_none() {
        return Ok(());
    }
    rounds = rounds.inherit().await?;
    let (ask, questions) = mpsc::channel(8);
    status_socket::serve(&config.status_socket, ask.clone(), tasks, stop.clone())?;
    handover::serve(&config.handover_socket, ask.clone(), tasks, stop.clone())?;
    rounds.metrics = config
        .metrics
        .map(|addr| metrics::serve(addr, ask, tasks, stop.clone()));
    rounds.run(questions, stop.clone()).await;
    Ok(())
}

impl Caches {
    fn start(client: &Client, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        Self {
            services: Informer::start(Api::all(client.clone()), |_| Vec::new(), tasks, stop.clone()),
            slices: Informer::start(Api::all(client.clone()), slices::index, tasks, stop.clone()),
            pods: Informer::start(Api::all(client.clone()), coming::index, tasks, stop.clone()),
            nodes: Informer::start(Api::all(client.clone()), |_| Vec::new(), tasks, stop.clone()),
        }
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
        self.pods.synced().await;
        self.nodes.synced().await;
    }

    /// Calls this whenever something has changed.
    fn on_change(&self, changed: impl Fn() + Clone + Send + Sync + 'static) {
        let (a, b, c, d) = (changed.clone(), changed.clone(), changed.clone(), changed);
        self.services.on_change(Box::new(move |_, _| a()));
        self.slices.on_change(Box::new(move |_, _| b()));
        self.pods.on_change(Box::new(move |_, _| c()));
        self.nodes.on_change(Box::new(move |_, _| d()));
    }
}
