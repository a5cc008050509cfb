//! A running cluster: API server, control loops, node agents and the supervised balancer, from start to stop.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use apiserver::{ApiServer, Identity, pki};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::{PodPorts, UpArgs};
use crate::data_dir::{DataDir, Lock, Settings, write_private};
use crate::kubeconfig;
use crate::network::Network;
use crate::process::ProcessId;

use super::balancer::Balancer;
use super::{components, nodes, settings};

/// How long pods may take to stop when the whole cluster stops, before they are killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What a start is asked for; `None` means as at the last start, or the default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The cluster's folder.
    pub data_dir: Option<PathBuf>,
    /// Number of nodes.
    pub nodes: Option<u16>,
    /// Port of the API on 127.0.0.1; 0 takes a free one.
    pub api_port: Option<u16>,
    /// Where the kubeconfig is merged to or written.
    pub kubeconfig: Option<PathBuf>,
    /// Which ports pods listen on.
    pub pod_ports: Option<PodPorts>,
    /// Where the balancer's metrics are.
    pub metrics_address: Option<SocketAddr>,
    /// How long a node's agent may be silent.
    pub node_monitor_grace_period: Option<Duration>,
    /// Whether pods are only pretended to run.
    pub fake_pods: bool,
}

impl From<UpArgs> for Options {
    fn from(args: UpArgs) -> Self {
        Self {
            data_dir: args.cluster.data_dir,
            nodes: args.nodes,
            api_port: args.api_port,
            kubeconfig: args.kubeconfig,
            pod_ports: args.pod_ports,
            metrics_address: args.metrics_address,
            node_monitor_grace_period: args.node_monitor_grace_period,
            fake_pods: args.fake_pods,
        }
    }
}

/// A cluster that is up.
pub struct Cluster {
    data_dir: DataDir,
    settings: Settings,
    api: ApiServer,
    balancer: Balancer,
    loops: Stage,
    serving: Stage,
    failures: tokio::sync::Mutex<mpsc::Receiver<anyhow::Error>>,
    _lock: Lock,
}

/// Tasks that stop together.
#[derive(Clone, Default)]
pub struct Stage {
    /// Where the tasks are counted.
    pub tasks: TaskTracker,
    /// Tells them to stop.
    pub stop: CancellationToken,
}

impl Stage {
    /// Tells every task to stop and waits until they have, but no longer than ten seconds.
    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(10), self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.tasks.len(),
                "tasks do not stop: going on without them"
            );
        }
    }
}

impl Cluster {
    /// Starts everything. The API answers when this returns; nodes and the balancer follow within moments.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let data_dir = DataDir::new(options.data_dir.clone())?;
        data_dir.create()?;
        let lock = data_dir.lock()?;
        let is_new = data_dir.settings()?.is_none();
        let balancer = super::balancer::running(&data_dir);
        // What a first start leaves when it fails is nobody's cluster.
        let start = match settings::settle(&data_dir, &options, balancer.is_some()).await {
            Err(error) if is_new => return Err(keeping(error, data_dir.remove_traces())),
            start => start?,
        };
        match Self::start_in(data_dir.clone(), lock, balancer, start).await {
            Err(error) if is_new => Err(keeping(error, data_dir.remove())),
            started => started,
        }
    }

    async fn start_in(
        data_dir: DataDir,
        lock: Lock,
        running_balancer: Option<ProcessId>,
        start: settings::Start,
    ) -> anyhow::Result<Self> {
        let (loops, serving) = (Stage::default(), Stage::default());
        let network = Network(start.settings.network);
        let directory = Arc::new(nodes::Directory::default());

        let store = store::Sqlite::open(&data_dir.store())?;
        let address = start.listener.local_addr()?;
        let authority = pki::Authority::open_or_create(&data_dir.pki())?;
        let config = apiserver::Config {
            service_network: apiserver::Network {
                address: network.services(),
                prefix: 16,
            },
            node_ports: 30000..=32767,
            address,
            authority: authority.certificate().to_owned(),
            token_key: apiserver::TokenKey::open_or_create(&data_dir.pki())?,
            version: apiserver::Version::default(),
        };
        let tls = authority.server(&[address.ip(), network.kubernetes_service().into()])?;
        let api = ApiServer::start(Arc::new(store), config, directory.clone())
            .await
            .with_context(|| format!("the cluster in {} cannot start", data_dir.root().display()))?;
        let server = api.clone();
        let stop = serving.stop.clone();
        serving
            .tasks
            .spawn(async move { server.serve(start.listener, tls, stop).await });
        write_kubeconfigs(&data_dir, &start.settings, &authority)?;

        let (failed, failures) = mpsc::channel(1);
        let machines = nodes::Nodes {
            count: start.settings.nodes,
            network,
            pod_ports: if start.settings.declared_ports {
                agent::PodPorts::Declared
            } else {
                agent::PodPorts::Distinct
            },
            data_dir: data_dir.root().to_owned(),
            fake_pods: start.settings.fake_pods,
        };
        let silence = start.settings.node_monitor_grace_period();
        let authority = authority.certificate();
        components::start(&api, authority, machines, silence, &directory, &loops, failed)?;
        let balancer = Balancer::supervise(&data_dir, running_balancer, (network, start.claim), &loops)?;
        let (settings, failures) = (start.settings, tokio::sync::Mutex::new(failures));
        Ok(Self {
            data_dir,
            settings,
            api,
            balancer,
            loops,
            serving,
            failures,
            _lock: lock,
        })
    }

    /// A client with the administrator's rights, without a socket.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.api.service(admin()), "default")
    }

    /// What to tell the user once the cluster is up.
    pub fn welcome(&self) -> Welcome<'_> {
        Welcome(&self.settings)
    }

    /// Resolves when a component has ended that should not have.
    pub async fn failed(&self) -> anyhow::Error {
        match self.failures.lock().await.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops pods, balancer and server, in this order; the cluster's objects stay on disk.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.loops.end().await;
        let root = self.data_dir.root().to_owned();
        let pods = tokio::task::spawn_blocking(move || agent::stop_all(&root, STOP_GRACE)).await;
        // Whatever became of the pods, the rest stops too.
        self.balancer.stop().await;
        self.api.shutdown();
        self.serving.end().await;
        pods.context("stopping pods")?.context("stopping pods")
    }
}

/// The lines that greet the user.
pub struct Welcome<'a>(&'a Settings);

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            api_port,
            nodes,
            kubeconfig,
            context,
            ..
        } = self.0;
        let file = kubeconfig.display();
        writeln!(f, "coracle is up: https://127.0.0.1:{api_port}, {nodes} nodes")?;
        if kubeconfig::default_path().is_ok_and(|path| path == *kubeconfig) {
            writeln!(f, "kubectl uses it now: context {context} in {file}")?;
            write!(f, "Try: kubectl get nodes")
        } else {
            writeln!(f, "Let kubectl use it: export KUBECONFIG={file}")?;
            write!(f, "Then try: kubectl get nodes")
        }
    }
}

/// The error that counts; one met while cleaning up after it is only logged.
fn keeping(error: anyhow::Error, cleaned: anyhow::Result<()>) -> anyhow::Error {
    if let Err(also) = cleaned {
        tracing::warn!("cannot clean up: {also:#}");
    }
    error
}

fn admin() -> Identity {
    Identity::new("admin", &["system:masters"])
}

fn write_kubeconfigs(
    data_dir: &DataDir,
    settings: &Settings,
    authority: &pki::Authority,
) -> anyhow::Result<()> {
    let url = format!("https://127.0.0.1:{}", settings.api_port);
    let text = |identity: &Identity| -> anyhow::Result<String> {
        let credential = authority.client(identity)?;
        Ok(apiserver::kubeconfig(
            &settings.context,
            &url,
            authority.certificate(),
            &credential,
        ))
    };
    let admin = text(&admin())?;
    let balancer = text(&Identity::new("system:coracle-balancer", &[]))?;
    write_private(&data_dir.kubeconfig("admin"), admin.as_bytes())?;
    write_private(&data_dir.kubeconfig("balancer"), balancer.as_bytes())?;
    kubeconfig::merge(&settings.kubeconfig, &settings.context, &admin)
}
