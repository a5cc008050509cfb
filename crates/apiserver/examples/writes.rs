//! How many writes a second the API server does without a socket: pods created, and their status patched.
//!
//! `cargo run --release -p coracle-apiserver --example writes [PODS]`

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use coracle_apiserver::{
    ApiServer, Body, Config, Identity, Network, NodeDirectory, NodeService, Version, full,
};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Service, ServiceExt};

/// Writers at the same time.
const WRITERS: usize = 16;

struct NoNodes;

impl NodeDirectory for NoNodes {
    fn node(&self, _name: &str) -> Option<NodeService> {
        None
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pods = std::env::args().nth(1).map_or(Ok(8000), |pods| pods.parse())?;
    let folder = tempfile::tempdir()?;
    let store = Arc::new(store::Sqlite::open(&folder.path().join("writes.db"))?);
    let config = Config {
        service_network: Network {
            address: Ipv4Addr::new(127, 96, 0, 0),
            prefix: 16,
        },
        node_ports: 30000..=32767,
        address: ([127, 0, 0, 1], 7443).into(),
        authority: String::new(),
        token_key: coracle_apiserver::TokenKey::random(),
        version: Version::default(),
    };
    let api = ApiServer::start(store, config, Arc::new(NoNodes)).await?;
    for (what, method, part, media) in [
        ("created", Method::POST, "", "application/json"),
        (
            "patched",
            Method::PATCH,
            "/status",
            "application/merge-patch+json",
        ),
    ] {
        let begin = Instant::now();
        let writers = (0..WRITERS).map(|writer| {
            let (api, method) = (&api, &method);
            async move {
                for at in (writer..pods).step_by(WRITERS) {
                    let collection = "/api/v1/namespaces/default/pods".to_owned();
                    let (path, body) = if part.is_empty() {
                        (collection, pod(at))
                    } else {
                        (format!("{collection}/web-{at}{part}"), status(at))
                    };
                    write(api, method, &path, media, &body).await;
                }
            }
        });
        futures::future::join_all(writers).await;
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "{what}: {pods} in {seconds:.2} s, {:.0}/s",
            f64::from(u32::try_from(pods)?) / seconds
        );
    }
    let begin = Instant::now();
    let list = send(&api, &Method::GET, "/api/v1/pods", "", Body::default())
        .await
        .1;
    println!(
        "listed: {} KiB in {:.1} ms",
        list.len() / 1024,
        begin.elapsed().as_secs_f64() * 1000.0
    );
    Ok(())
}

async fn write(api: &ApiServer, method: &Method, path: &str, media: &str, body: &Value) {
    let (code, answer) = send(api, method, path, media, full(body.to_string())).await;
    assert!(code.is_success(), "{}", String::from_utf8_lossy(&answer));
}

async fn send(
    api: &ApiServer,
    method: &Method,
    path: &str,
    media: &str,
    body: Body,
) -> (StatusCode, bytes::Bytes) {
    let mut service = api.service(Identity::new("system:node:node-1", &["system:nodes"]));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media);
    let request = request.body(body).expect("a path of ours");
    let response = service
        .ready()
        .await
        .expect("never full")
        .call(request)
        .await
        .expect("always answers");
    let code = response.status();
    let answer = response.into_body().collect().await.expect("a whole answer");
    (code, answer.to_bytes())
}

fn pod(at: usize) -> Value {
    json!({
        "metadata": {"name": format!("web-{at}"), "labels": {"app": "web", "pod-template-hash": "5d8c7b9f6"}},
        "spec": {"containers": [{
            "name": "web",
            "image": "nginx:1.29",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "A", "value": "1"}],
            "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
        }]},
    })
}

fn status(at: usize) -> Value {
    let now = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    json!({"status": {
        "phase": "Running",
        "podIP": format!("127.64.{}.{}", at / 250, at % 250 + 1),
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": [{
            "name": "web", "image": "nginx:1.29", "imageID": "nginx", "ready": true, "restartCount": 0,
            "started": true, "state": {"running": {"startedAt": now}},
        }],
    }})
}
