//! A cluster without processes: the real API server in this process, all control loops, and an agent that pretends.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use apiserver::{ApiServer, Config, Identity, Network, NodeDirectory, NodeService, Version};
use coracle_controllers::Caches;
use informer::{Informer, Key, Next, Queue, Resource};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take; nothing here waits for a clock.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Cluster {
    pub client: Client,
    pub caches: Caches,
    changed: Arc<Notify>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _folder: TempDir,
}

struct NoNodes;

impl NodeDirectory for NoNodes {
    fn node(&self, _name: &str) -> Option<NodeService> {
        None
    }
}

impl Cluster {
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let store = store::Sqlite::open(&folder.path().join("store.db")).unwrap();
        let config = Config {
            service_network: Network {
                address: Ipv4Addr::new(127, 96, 0, 0),
                prefix: 16,
            },
            node_ports: 30000..=32767,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7443)),
            authority: "the authority".to_owned(),
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
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let caches = caches(&client, &tasks, &stop);
        let changed = Arc::new(Notify::new());
        tell(&caches.pods, &changed);
        tell(&caches.deployments, &changed);
        tell(&caches.replica_sets, &changed);
        tell(&caches.endpoint_slices, &changed);
        tell(&caches.endpoints, &changed);
        tell(&caches.namespaces, &changed);
        tell(&caches.nodes, &changed);
        tasks.spawn(coracle_controllers::run(
            client.clone(),
            caches.clone(),
            coracle_controllers::Settings {
                load_balancers: coracle_controllers::Block(Ipv4Addr::new(127, 182, 0, 0)),
                authority: "the authority".to_owned(),
                node_monitor_grace_period: Duration::from_secs(50),
            },
            stop.clone(),
        ));
        tasks.spawn(pretend(client.clone(), caches.pods.clone(), stop.clone()));
        let cluster = Self {
            client,
            caches,
            changed,
            tasks,
            stop,
            _folder: folder,
        };
        cluster.add_node("node-1").await;
        cluster
    }

    async fn add_node(&self, name: &str) {
        let node: Node = serde_json::from_value(json!({
            "metadata": { "name": name },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        }))
        .unwrap();
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let patch = Patch::Merge(json!({ "status": node.status }));
        nodes
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// The objects of a kind in a namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates an object in the namespace `default` unless it says another.
    pub async fn create<K>(&self, object: serde_json::Value) -> K
    where
        K: Resource + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope> + serde::Serialize,
    {
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or("default")
            .to_owned();
        let object: K = serde_json::from_value(object).unwrap();
        self.api(&namespace)
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    /// Waits until the caches show what is wanted.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&Caches) -> bool) {
        self.until_async(what, |caches| std::future::ready(is_so(&caches)))
            .await;
    }

    /// Waits until it is so; asks again after every change in the caches.
    pub async fn until_async<F: Future<Output = bool>>(
        &self,
        what: &str,
        mut is_so: impl FnMut(Caches) -> F,
    ) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if is_so(self.caches.clone()).await {
                    return;
                }
                // What no cache shows changes without a word.
                let _ = tokio::time::timeout(Duration::from_millis(100), changed).await;
            }
        };
        let result = tokio::time::timeout(PATIENCE, wait).await;
        assert!(result.is_ok(), "not seen in time: {what}");
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait())
            .await
            .expect("all loops end");
    }
}

fn caches(client: &Client, tasks: &TaskTracker, stop: &CancellationToken) -> Caches {
    fn start<K: Resource>(
        client: &Client,
        index: fn(&K) -> Vec<String>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Informer<K> {
        Informer::start(Api::all(client.clone()), index, tasks, stop.clone())
    }
    fn owner<K: Resource>(object: &K) -> Vec<String> {
        let owner = api::pods::controller_of(object.meta());
        owner
            .map(|owner| format!("owner/{}", owner.uid))
            .into_iter()
            .collect()
    }
    Caches {
        deployments: start(client, |_| Vec::new(), tasks, stop),
        replica_sets: start(client, owner, tasks, stop),
        pods: start(
            client,
            |pod| {
                let node = api::pods::node_name(pod).map(|node| format!("node/{node}"));
                owner(pod).into_iter().chain(node).collect()
            },
            tasks,
            stop,
        ),
        services: start(client, |_| Vec::new(), tasks, stop),
        endpoint_slices: start(
            client,
            |slice| {
                let labels = slice.metadata.labels.as_ref();
                let service = labels.and_then(|labels| labels.get(api::names::SERVICE_NAME));
                let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
                service
                    .map(|service| format!("service/{namespace}/{service}"))
                    .into_iter()
                    .collect()
            },
            tasks,
            stop,
        ),
        endpoints: start(client, |_| Vec::new(), tasks, stop),
        nodes: start(client, |_| Vec::new(), tasks, stop),
        leases: start(client, |_| Vec::new(), tasks, stop),
        namespaces: start(client, |_| Vec::new(), tasks, stop),
    }
}

fn tell<K: Resource>(cache: &Informer<K>, changed: &Arc<Notify>) {
    let changed = changed.clone();
    cache.on_change(Box::new(move |_, _| changed.notify_waiters()));
}

/// Binds every pod, says that it runs (unless its image is `broken`), and removes it when it is asked to end.
async fn pretend(client: Client, pods: Informer<Pod>, stop: CancellationToken) {
    let queue = Queue::new("pretend");
    let changed = queue.clone();
    pods.on_change(Box::new(move |_, new| {
        new.into_iter().for_each(|pod| changed.add(Key::of(&**pod)));
    }));
    let ports = Arc::new(AtomicU32::new(20_000));
    let reconcile = move |key: Key| {
        let (client, pods, ports) = (client.clone(), pods.clone(), ports.clone());
        async move {
            let Some(pod) = pods.get(&key) else {
                return Ok(Next::Wait);
            };
            pretend_one(&Api::namespaced(client, &key.namespace), &pod, &ports).await
        }
    };
    queue.run(8, stop, reconcile).await;
}

async fn pretend_one(api: &Api<Pod>, pod: &Pod, ports: &AtomicU32) -> Result<Next, kube::Error> {
    let name = pod.metadata.name.as_deref().unwrap();
    let image = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers[0].image.as_deref());
    if api::pods::is_terminating(pod) {
        let result = api.delete(name, &DeleteParams::default().grace_period(0)).await;
        return match result {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Next::Wait),
            result => result.map(|_| Next::Wait),
        };
    }
    if api::pods::node_name(pod).is_none() {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name },
            "target": { "kind": "Node", "name": "node-1" },
        });
        api.create_subresource::<_, serde_json::Value>("binding", name, &PostParams::default(), &binding)
            .await
            .map(drop)?;
    } else if !api::pods::is_ready(pod) && image != Some("broken") {
        let port = ports.fetch_add(1, Ordering::Relaxed);
        let status = json!({
            "phase": "Running", "podIP": format!("127.10.1.{}", port % 250 + 2),
            "conditions": [{
                "type": "Ready", "status": "True", "lastTransitionTime": jiff::Timestamp::now().to_string(),
            }],
        });
        let annotations = json!({ api::names::POD_PORTS: json!({ "80/TCP": port }).to_string() });
        let patch = Patch::Strategic(json!({ "metadata": { "annotations": annotations }, "status": status }));
        api.patch_status(name, &PatchParams::default(), &patch).await?;
    }
    Ok(Next::Wait)
}
