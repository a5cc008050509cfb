//! An API server and a balancer in this process, and servers that play pods.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiserver::{ApiServer, Identity, Network, NodeDirectory, NodeService, Version};
use coracle_balancer::status::Status;
use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Response};
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Nothing in these tests takes longer, unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 8080;

/// An endpoint's conditions: ready, serving, terminating.
pub type Conditions = [bool; 3];
/// It takes connections.
pub const READY: Conditions = [true, true, false];
/// It is not ready yet.
pub const COMING: Conditions = [false, false, false];
/// It still answers, and is about to stop.
pub const LEAVING: Conditions = [false, true, true];

/// An API server, with a folder of its own.
pub struct Cluster {
    client: Client,
    /// The balancer's way to it.
    pub door: Arc<Door>,
    theirs: Client,
    folder: tempfile::TempDir,
}

/// A way to the API server that can be shut: requests fail and watches end, as if the server were gone.
#[derive(Default)]
pub struct Door(Mutex<CancellationToken>);

impl Door {
    pub fn shut(&self) {
        self.shutting().cancel();
    }

    pub fn open(&self) {
        *self.0.lock().unwrap() = CancellationToken::new();
    }

    /// Cancelled when it is shut.
    fn shutting(&self) -> CancellationToken {
        self.0.lock().unwrap().clone()
    }

    fn client(self: &Arc<Self>, server: &ApiServer, identity: Identity) -> Client {
        let (door, service) = (self.clone(), server.service(identity));
        let pass = move |request: Request<kube::client::Body>| {
            let (shut, service) = (door.shutting(), service.clone());
            async move {
                if shut.is_cancelled() {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
                }
                let (parts, body) = service.oneshot(request).await?.into_parts();
                let bytes = body.into_data_stream().take_until(shut.cancelled_owned());
                let body = StreamBody::new(bytes.map_ok(Frame::data));
                Ok::<_, tower::BoxError>(Response::from_parts(parts, body))
            }
        };
        Client::new(tower::service_fn(pass), "default")
    }
}

struct NoNodes;

impl NodeDirectory for NoNodes {
    fn node(&self, _: &str) -> Option<NodeService> {
        None
    }
}

impl Cluster {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(store::Sqlite::open(&folder.path().join("store.db")).unwrap());
        // Each test process has Service addresses of its own, so that tests do not meet.
        let [.., high, low] = std::process::id().to_be_bytes();
        let config = apiserver::Config {
            service_network: Network {
                address: Ipv4Addr::new(127, 128 | high, low, 0),
                prefix: 24,
            },
            node_ports: 30000..=32767,
            address: SocketAddr::from(([127, 0, 0, 1], 7443)),
            authority: String::new(),
            token_key: apiserver::TokenKey::random(),
            version: Version::default(),
        };
        let server = ApiServer::start(store, config, Arc::new(NoNodes)).await.unwrap();
        let identity = Identity::new("admin", &["system:masters"]);
        let door = Arc::new(Door::default());
        Self {
            theirs: door.client(&server, identity.clone()),
            client: Client::new(server.service(identity), "default"),
            door,
            folder,
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let object = serde_json::from_value(object).unwrap();
        self.api().create(&PostParams::default(), &object).await.unwrap()
    }

    pub async fn balancer(&self) -> Balancer {
        let socket = self.folder.path().join("balancer.sock");
        let stop = CancellationToken::new();
        let mut config =
            coracle_balancer::Config::new(socket.clone(), self.folder.path().join("handover.sock"));
        config.metrics = Some(([127, 0, 0, 1], 0).into());
        let (client, stopped) = (self.theirs.clone(), stop.clone());
        let task = tokio::spawn(async move { coracle_balancer::run(config, client, stopped).await.unwrap() });
        Balancer { socket, stop, task }
    }

    /// A Service; the address it listens on.
    pub async fn service(&self, name: &str) -> SocketAddr {
        self.service_like(name, json!({"ports": [{"port": PORT}]})).await
    }

    /// A Service with this spec, one port of which is [`PORT`].
    pub async fn service_like(&self, name: &str, spec: Value) -> SocketAddr {
        let service: Service = self
            .create(json!({"metadata": {"name": name}, "spec": spec}))
            .await;
        let ip = service.spec.unwrap().cluster_ip.unwrap();
        SocketAddr::new(ip.parse().unwrap(), PORT)
    }

    /// A pod on a node, with this status of the condition already; its uid.
    pub async fn pod(&self, name: &str, in_service: Option<&str>) -> (String, String) {
        let spec = json!({"nodeName": "node-1", "containers": [{"name": "c", "image": "host"}]});
        let pod: Pod = self
            .create(json!({"metadata": {"name": name}, "spec": spec}))
            .await;
        if let Some(status) = in_service {
            let condition = json!({"type": api::names::IN_SERVICE, "status": status, "reason": "Made"});
            let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
            self.api::<Pod>()
                .patch_status(name, &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
        (name.to_owned(), pod.metadata.uid.unwrap())
    }

    /// Makes the Service's slices: pods, their servers, and their conditions.
    pub async fn slice(&self, service: &str, pods: &[(&(String, String), &Server, Conditions)]) {
        // One slice a pod, because a slice has one port number for all.
        for ((pod, uid), server, [ready, serving, terminating]) in pods {
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": pod, "labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4",
                "ports": [{"name": "", "port": server.addr.port(), "protocol": "TCP"}],
                "endpoints": [{
                    "addresses": [server.addr.ip().to_string()],
                    "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
                    "targetRef": {"kind": "Pod", "namespace": "default", "name": pod, "uid": uid},
                }],
            });
            let slices: Api<EndpointSlice> = self.api();
            if slices.get_opt(pod).await.unwrap().is_some() {
                slices
                    .patch(pod, &PatchParams::default(), &Patch::Merge(slice))
                    .await
                    .unwrap();
            } else {
                self.create::<EndpointSlice>(slice).await;
            }
        }
    }

    pub async fn delete(&self, pod: &str) {
        self.delete_within(pod, None).await;
    }

    /// Deletes the pod with this grace period, in seconds.
    pub async fn delete_within(&self, pod: &str, grace: Option<u32>) {
        let parameters = DeleteParams {
            grace_period_seconds: grace,
            ..DeleteParams::default()
        };
        self.api::<Pod>().delete(pod, &parameters).await.unwrap();
    }

    /// Removes a pod whose processes have ended, and its slice, at once.
    pub async fn remove(&self, pod: &str) {
        let slices: Api<EndpointSlice> = self.api();
        slices.delete(pod, &DeleteParams::default()).await.unwrap();
        self.delete_within(pod, Some(0)).await;
    }

    pub async fn get(&self, pod: &str) -> Pod {
        self.api().get(pod).await.unwrap()
    }

    /// Waits until this holds of a pod.
    pub async fn until(&self, pod: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
        let condition = |pod: Option<&Pod>| pod.is_some_and(&holds);
        let waiting = timeout(PATIENCE, await_condition(self.api(), pod, condition)).await;
        waiting.expect("the pod in time").unwrap().unwrap()
    }

    /// Waits for an event with this reason; its message.
    pub async fn event(&self, reason: &str) -> String {
        let selector = WatchParams::default().fields(&format!("reason={reason}"));
        let mut events = pin!(self.api::<Event>().watch(&selector, "0").await.unwrap());
        let found = timeout(PATIENCE, async {
            loop {
                if let WatchEvent::Added(event) = events.try_next().await.unwrap().expect("an event") {
                    return event.message.unwrap();
                }
            }
        });
        found.await.expect("an event in time")
    }
}

/// Status and reason of the condition.
pub fn in_service(pod: &Pod) -> Option<(&str, &str)> {
    let condition = condition(pod)?;
    Some((condition.status.as_str(), condition.reason.as_deref()?))
}

/// Message of the condition.
pub fn message(pod: &Pod) -> &str {
    condition(pod)
        .and_then(|condition| condition.message.as_deref())
        .unwrap_or_default()
}

fn condition(pod: &Pod) -> Option<&k8s_openapi::api::core::v1::PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == api::names::IN_SERVICE)
}

/// A running balancer.
pub struct Balancer {
    socket: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Balancer {
    pub async fn status(&self) -> Status {
        coracle_balancer::status::read(&self.socket).await.unwrap()
    }

    /// Waits until this holds of its status, which can only be asked for.
    pub async fn until(&self, holds: impl Fn(&Status) -> bool) {
        let mut turns = tokio::time::interval(Duration::from_millis(10));
        let asking = async {
            // One that has just been started does not answer yet.
            let read = || coracle_balancer::status::read(&self.socket);
            while !read().await.is_ok_and(|status| holds(&status)) {
                turns.tick().await;
            }
        };
        timeout(PATIENCE, asking).await.expect("the status in time");
    }

    pub async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task)
            .await
            .expect("the end in time")
            .unwrap();
    }
}

/// A server that answers every request with its name.
pub struct Server {
    pub addr: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Server {
    pub fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let streams = Arc::new(Mutex::new(Vec::new()));
        let all = streams.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                all.lock().unwrap().push(stream.try_clone().unwrap());
                std::thread::spawn(move || {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).is_ok_and(|count| count > 0) {
                        if stream.write_all(Self::answer(name).as_bytes()).is_err() {
                            return;
                        }
                    }
                    // Another handle of it is kept for `stop`.
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { addr, streams }
    }

    /// Ends all its connections.
    pub fn stop(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            // One whose client has gone has ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn answer(name: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())
    }
}
