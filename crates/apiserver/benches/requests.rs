//! The API server's hot paths through its door, without a socket: `cargo bench -p coracle-apiserver`.
//!
//! Writes are dry runs, so that no disk is measured and every run finds the same objects; the fan-out of a watch needs a
//! real write, so compare it with its first row, which is the write and one watcher.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::sync::Arc;

use coracle_apiserver::{
    ApiServer, Body, Config, Identity, Network, NodeDirectory, NodeService, TokenKey, Version, full,
};
use divan::Bencher;
use futures::future::join_all;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";

fn main() {
    divan::main();
}

/// No agents: nothing here goes to a node.
struct NoNodes;

impl NodeDirectory for NoNodes {
    fn node(&self, _name: &str) -> Option<NodeService> {
        None
    }
}

/// A server in this process.
struct Door {
    runtime: Runtime,
    api: ApiServer,
    _folder: TempDir,
}

impl Door {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let store = store::Sqlite::open(&folder.path().join("db")).expect("a store");
        let config = Config {
            service_network: Network {
                address: Ipv4Addr::new(127, 96, 0, 0),
                prefix: 16,
            },
            node_ports: 30000..=32767,
            address: (Ipv4Addr::LOCALHOST, 7443).into(),
            authority: String::new(),
            token_key: TokenKey::random(),
            version: Version::default(),
        };
        let started = ApiServer::start(Arc::new(store), config, Arc::new(NoNodes));
        let api = runtime.block_on(started).expect("it starts");
        Self {
            runtime,
            api,
            _folder: folder,
        }
    }

    async fn ask(&self, request: Request<Body>) -> Response<Body> {
        let service = self
            .api
            .service::<Body>(Identity::new("admin", &["system:masters"]));
        let answer = service.oneshot(request).await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer
    }

    /// Sends a request and reads the whole answer; returns its length.
    fn send(&self, request: Request<Body>) -> usize {
        self.runtime.block_on(async {
            let body = self.ask(request).await.into_body().collect().await;
            body.expect("a body").to_bytes().len()
        })
    }

    fn make(&self, collection: &str, object: &Value) {
        self.send(request(Method::POST, collection, "application/json", object));
    }
}

fn request(method: Method, path: &str, media: &str, body: &Value) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, media)
        .body(full(body.to_string()))
        .expect("a request")
}

fn get(path: &str, accept: &str) -> Request<Body> {
    Request::builder()
        .uri(path)
        .header(header::ACCEPT, accept)
        .body(full(""))
        .expect("a request")
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec()})
}

fn spec() -> Value {
    json!({"containers": [{
        "name": "web",
        "image": "nginx:1.7.9",
        "ports": [{"containerPort": 80}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    }]})
}

fn deployment() -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec()},
        },
    })
}

/// Decode, default, validate, encode.
#[divan::bench]
fn create(bencher: Bencher<'_, '_>) {
    let door = Door::open();
    let path = format!("{PODS}?dryRun=All");
    bencher
        .with_inputs(|| request(Method::POST, &path, "application/json", &pod("web")))
        .bench_values(|request| door.send(request));
}

#[divan::bench(args = ["application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"])]
fn patch(bencher: Bencher<'_, '_>, media: &str) {
    let door = Door::open();
    door.make(DEPLOYMENTS, &deployment());
    let path = format!("{DEPLOYMENTS}/web?dryRun=All&fieldManager=bench&force=true");
    let path = if media.contains("apply") {
        path
    } else {
        path.replace("&force=true", "")
    };
    let mut change = deployment();
    change["apiVersion"] = "apps/v1".into();
    change["kind"] = "Deployment".into();
    change["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:1.8".into();
    bencher
        .with_inputs(|| request(Method::PATCH, &path, media, &change))
        .bench_values(|request| door.send(request));
}

/// The stored bytes as they are, and as kubectl's table.
#[divan::bench(args = ["application/json", TABLE])]
fn list_of_1000_pods(bencher: Bencher<'_, '_>, accept: &str) {
    let door = Door::open();
    (0..1000).for_each(|number| door.make(PODS, &pod(&format!("web-{number}"))));
    bencher
        .with_inputs(|| get(PODS, accept))
        .bench_values(|request| door.send(request));
}

/// One write until every watcher has its event. `all`: everybody watches everything; `one`: by labels, of which one
/// matches.
#[divan::bench(args = [("all", 1), ("all", 100), ("all", 1000), ("one", 1000)])]
fn watch(bencher: Bencher<'_, '_>, (who, watchers): (&str, usize)) {
    let door = Door::open();
    door.make(
        CONFIG_MAPS,
        &json!({"metadata": {"name": "watched", "labels": {"watched": "0"}}}),
    );
    let open = (0..watchers).map(|number| {
        let selector = if who == "all" { "watched".to_owned() } else { format!("watched%3D{number}") };
        let path = format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&labelSelector={selector}");
        let door = &door;
        async move { door.ask(get(&path, "application/json")).await.into_body() }
    });
    let bodies = RefCell::new(door.runtime.block_on(join_all(open)));
    let path = format!("{CONFIG_MAPS}/watched");
    let mut count = 0;
    bencher
        .with_inputs(|| {
            count += 1;
            let change = json!({"data": {"count": count.to_string()}});
            request(Method::PATCH, &path, "application/merge-patch+json", &change)
        })
        .bench_local_values(|request| {
            let mut bodies = bodies.borrow_mut();
            let told = if who == "all" { watchers } else { 1 };
            door.runtime.block_on(async {
                door.ask(request).await;
                join_all(bodies.iter_mut().take(told).map(|body| body.frame())).await
            })
        });
}
