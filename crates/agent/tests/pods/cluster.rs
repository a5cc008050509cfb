//! A cluster of one node: a real agent on a real API server, in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, Identity, NodeDirectory, NodeService, Version};
use coracle_agent::{Agent, Config, Images, PodPorts, PortAllocator, keeper};
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use informer::Informer;
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

struct NoNodes;

impl NodeDirectory for NoNodes {
    fn node(&self, _name: &str) -> Option<NodeService> {
        None
    }
}

/// A cluster of one node.
pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub client: Client,
    pub pods: Informer<Pod>,
    pub services: Informer<Service>,
    pub agent: Option<(JoinHandle<()>, CancellationToken)>,
    pub service: coracle_agent::NodeService,
}

impl Cluster {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = store::Sqlite::open(&dir.path().join("store.db")).unwrap();
        let config = apiserver::Config {
            service_network: apiserver::Network {
                address: Ipv4Addr::new(127, 96, 0, 0),
                prefix: 16,
            },
            node_ports: 30_000..=32_767,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7443)),
            authority: String::new(),
            token_key: apiserver::TokenKey::random(),
            version: Version::default(),
        };
        let api = ApiServer::start(Arc::new(store), config, Arc::new(NoNodes))
            .await
            .unwrap();
        let client = Client::new(
            api.service(Identity::new("admin", &["system:masters"])),
            "default",
        );
        let index = |pod: &Pod| {
            pod.spec
                .iter()
                .filter_map(|s| Some(format!("node/{}", s.node_name.as_ref()?)))
                .collect()
        };
        let tasks = TaskTracker::new();
        let pods = Informer::start(Api::all(client.clone()), index, &tasks, CancellationToken::new());
        let services = Informer::start(
            Api::all(client.clone()),
            |_| Vec::new(),
            &tasks,
            CancellationToken::new(),
        );
        let service =
            coracle_agent::NodeService::new(tower::service_fn(|_| async { Err("not started".into()) }));
        let mut cluster = Self {
            dir,
            client,
            pods,
            services,
            agent: None,
            service,
        };
        cluster.start_agent();
        cluster
    }

    pub fn start_agent(&mut self) {
        // Tests run side by side, each with addresses of its own.
        let block = u8::try_from(std::process::id() % 100).unwrap();
        let config = Config {
            node_name: "node-1".into(),
            node_index: 0,
            data_dir: self.dir.path().to_owned(),
            program: std::env::current_exe().unwrap(),
            network: Ipv4Addr::new(127, 110 + block, 0, 0),
            pod_ports: PodPorts::Distinct,
            images: Images::with_nginx(self.dir.path(), None),
            ports: PortAllocator::default(),
            fake_pods: false,
        };
        let (pods, services) = (self.pods.clone(), self.services.clone());
        let agent = Agent::new(config, self.client.clone(), pods, services);
        self.service = agent.service();
        let stop = CancellationToken::new();
        self.agent = Some((tokio::spawn(agent.run(stop.clone())), stop));
    }

    pub async fn stop_agent(&mut self) {
        let (running, stop) = self.agent.take().unwrap();
        stop.cancel();
        running.await.unwrap();
    }

    pub fn api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates a pod with one container, bound to the node.
    pub async fn create(&self, name: &str, mut spec: Value, container: Value) {
        spec["nodeName"] = json!("node-1");
        spec["containers"] = json!([container]);
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        self.api()
            .create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
            .await
            .unwrap();
    }

    /// Creates a pod that serves on port 80.
    pub async fn create_server(&self, name: &str) -> Pod {
        let command = [
            std::env::current_exe().unwrap().to_str().unwrap().to_owned(),
            "serve".into(),
        ];
        let container =
            json!({"name": "c", "image": "host", "command": command, "ports": [{"containerPort": 80}]});
        self.create(name, json!({"terminationGracePeriodSeconds": 25}), container)
            .await;
        self.wait(name, api::pods::is_ready).await
    }

    pub async fn wait(&self, name: &str, is_so: impl Fn(&Pod) -> bool) -> Pod {
        await_condition(self.api(), name, |pod: Option<&Pod>| pod.is_some_and(&is_so))
            .await
            .unwrap()
            .unwrap()
    }

    pub async fn wait_gone(&self, name: &str) {
        await_condition(self.api(), name, |pod: Option<&Pod>| pod.is_none())
            .await
            .unwrap();
    }

    /// Waits for an event about a pod.
    pub async fn event(&self, pod: &str, reason: &str) -> Event {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let about = format!("reason={reason},involvedObject.name={pod}");
        let config = watcher::Config::default().fields(&about);
        let mut seen = pin!(watcher(events, config).applied_objects());
        seen.next().await.unwrap().unwrap()
    }

    pub async fn set_in_service(&self, name: &str, status: &str) {
        let condition = json!({"type": "coracle.dev/InService", "status": status});
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        self.api()
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    pub async fn delete(&self, name: &str) {
        self.api().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits for an event of this reason, and returns the messages of the node's events in their order.
    pub async fn told_of_node(&self, reason: &str) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let about_node = "involvedObject.kind=Node,involvedObject.name=node-1";
        let config = watcher::Config::default().fields(about_node);
        let mut seen = std::pin::pin!(watcher(events, config).touched_objects());
        let mut messages = Vec::new();
        while let Some(event) = seen.next().await {
            let event = event.unwrap();
            messages.push((event.metadata.resource_version.unwrap(), event.message.unwrap()));
            if event.reason.as_deref() == Some(reason) {
                break;
            }
        }
        messages.sort_by_key(|(version, _)| version.parse::<u64>().unwrap());
        messages.into_iter().map(|(_, message)| message).collect()
    }

    pub fn keeper(&self, pod: &Pod) -> keeper::protocol::Identity {
        keeper::record::read(&self.folder(pod).join(keeper::IDENTITY)).unwrap()
    }

    pub fn kill_keeper(&self, pod: &Pod) {
        let pid = nix::unistd::Pid::from_raw(self.keeper(pod).pid);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
    }

    /// Adds an ephemeral container to a pod.
    pub async fn debug(&self, name: &str, container: Value) {
        let patch = Patch::Strategic(json!({"spec": {"ephemeralContainers": [container]}}));
        self.api()
            .patch_ephemeral_containers(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// The log of a pod's container `c`.
    pub async fn log(&self, name: &str, query: &str) -> String {
        self.log_of(name, "c", query).await
    }

    pub async fn log_of(&self, name: &str, container: &str, query: &str) -> String {
        let uri = format!("/containerLogs/default/{name}/{container}?{query}");
        let body = Full::new("".into())
            .map_err(|never| match never {})
            .boxed_unsync();
        let request = http::Request::get(uri).body(body).unwrap();
        let response = self.service.clone().oneshot(request).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    pub fn folder(&self, pod: &Pod) -> std::path::PathBuf {
        self.dir
            .path()
            .join("nodes/node-1/pods")
            .join(pod.metadata.uid.as_ref().unwrap())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some((agent, stop)) = self.agent.take() {
            // An agent that still works could start a keeper behind our back.
            stop.cancel();
            // If it has panicked, its test has failed already.
            let _ = tokio::task::block_in_place(|| Handle::current().block_on(agent));
        }
        coracle_agent::stop_all(self.dir.path(), Duration::ZERO).unwrap();
    }
}
