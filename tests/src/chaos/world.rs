//! What the cluster is asked to be: three Deployments with a Service each, and every change of them, acknowledged.
//!
//! Flows in: wishes, one after the other. Flows out: their writes through the API, each repeated until it is acknowledged,
//! whatever becomes of the server meanwhile; and what is wanted in the end.

use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::runtime::Runtime;

use super::plan::Pick;
use crate::{Cluster, Kubectl};

/// How many Deployments, each with its Service.
pub const SERVICES: usize = 3;

/// Between two attempts of a write.
const AGAIN: Duration = Duration::from_millis(30);

/// What the pods of each run.
const PROGRAMS: [&str; SERVICES] = ["webserver", "nginx", "webserver"];

/// What a Deployment is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name, its Service's, and its pods' label `app`.
    pub name: String,
    /// Its image.
    pub image: String,
    /// How many pods.
    pub replicas: i32,
}

/// Something that is to be so.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// A new image.
    Roll(usize),
    /// Another number of replicas.
    Scale(usize, i32),
    /// One pod less, for a moment.
    Delete(Pick),
    /// A node's agent runs, or does not.
    Agent(u16, bool),
}

/// The wishes' own thread.
pub struct World {
    wishes: Sender<Wish>,
    thread: JoinHandle<Vec<Wanted>>,
}

/// The name of a Service.
pub fn name(service: usize) -> String {
    format!("web-{service}")
}

impl World {
    /// Makes the Deployments and Services, and waits until all pods serve.
    pub fn begin(cluster: &Cluster) -> Self {
        let kubectl = cluster.kubectl();
        let wanted: Vec<Wanted> = (0..SERVICES).map(first).collect();
        for wanted in &wanted {
            kubectl.apply(&manifest(wanted));
        }
        settle(&kubectl).unwrap_or_else(|why| panic!("a cluster that nothing has happened to: {why}"));
        let (wishes, received) = channel();
        let (runtime, client) = client(cluster);
        let agent = |verb| {
            let data_dir = cluster.data_dir();
            let mut command = cluster.coracle(&["node", verb, "--data-dir"]);
            command.arg(data_dir);
            command
        };
        let wisher = Wisher {
            agent: [agent("stop"), agent("start")],
            runtime,
            client,
            wanted,
            rolls: 1,
        };
        let thread = std::thread::spawn(move || wisher.work(&received));
        Self { wishes, thread }
    }

    /// One more wish; does not wait.
    pub fn wish(&self, wish: Wish) {
        // It ends only with `finish`, or with a panic that `finish` will pass on.
        let _ = self.wishes.send(wish);
    }

    /// Waits until all wishes are acknowledged: what is wanted now.
    ///
    /// # Panics
    /// If a wish was refused.
    pub fn finish(self) -> Vec<Wanted> {
        drop(self.wishes);
        self.thread
            .join()
            .unwrap_or_else(|why| std::panic::resume_unwind(why))
    }
}

/// Waits until every Deployment is as it is to be, all its pods serve, and no pod is ending.
///
/// # Errors
/// What does not come to be, and the pods and events as they are.
pub fn settle(kubectl: &Kubectl) -> Result<(), String> {
    let done = |args: &[&str]| {
        let output = kubectl.run(args);
        if output.code == Some(0) {
            return Ok(output.stdout);
        }
        let state = kubectl.run(&["get", "pods,nodes,deployments,events", "-o", "wide"]);
        Err(format!(
            "{args:?}: {}{}{}",
            output.stdout, output.stderr, state.stdout
        ))
    };
    for service in 0..SERVICES {
        let deployment = format!("deployment/{}", name(service));
        done(&["rollout", "status", &deployment, "--timeout=90s"])?;
    }
    let ending = "-o=jsonpath={.items[?(@.metadata.deletionTimestamp)].metadata.name}";
    let ending = done(&["get", "pods", ending])?;
    if !ending.is_empty() {
        let mut wait = vec!["wait", "--for=delete", "pod", "--timeout=90s"];
        wait.extend(ending.split(' '));
        done(&wait)?;
    }
    let serves = "--for=condition=coracle.dev/InService";
    done(&["wait", serves, "pod", "--all", "--timeout=60s"]).map(drop)
}

/// A client of the cluster's API with the administrator's rights, and the runtime that it lives on.
pub fn client(cluster: &Cluster) -> (Runtime, Client) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let file = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).expect("`up` has written it");
    let client = runtime.block_on(async move {
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await;
        let mut config = config.expect("a context");
        // What is refused is to be seen.
        config.default_retry = false;
        Client::try_from(config).expect("a client")
    });
    (runtime, client)
}

struct Wisher {
    runtime: Runtime,
    client: Client,
    wanted: Vec<Wanted>,
    rolls: u32,
    /// The commands that stop and start an agent, but for the node's name.
    agent: [Command; 2],
}

impl Wisher {
    fn work(mut self, wishes: &Receiver<Wish>) -> Vec<Wanted> {
        for wish in wishes {
            match wish {
                Wish::Roll(service) => {
                    self.rolls += 1;
                    self.wanted[service].image = image(service, self.rolls);
                    self.write(service);
                }
                Wish::Scale(service, replicas) => {
                    self.wanted[service].replicas = replicas;
                    self.write(service);
                }
                Wish::Delete(pick) => self.delete(pick),
                Wish::Agent(node, runs) => self.set_agent(node, runs),
            }
        }
        self.wanted
    }

    /// Writes what is wanted. The version in the patch makes sure that an attempt whose answer was lost changes nothing once
    /// a later one has been acknowledged.
    fn write(&self, service: usize) {
        let api: Api<Deployment> = Api::default_namespaced(self.client.clone());
        let Wanted {
            name,
            image,
            replicas,
        } = &self.wanted[service];
        let params = PatchParams::default();
        self.runtime.block_on(until_acknowledged(async || {
            let now = api.get_metadata(name).await?;
            let patch = json!({
                "metadata": { "resourceVersion": now.resource_version() },
                "spec": {
                    "replicas": replicas,
                    "template": { "spec": { "containers": [{ "name": "server", "image": image }] } },
                },
            });
            api.patch(name, &params, &Patch::Strategic(patch)).await.map(drop)
        }));
    }

    fn delete(&self, pick: Pick) {
        let api: Api<Pod> = Api::default_namespaced(self.client.clone());
        let params = ListParams::default().labels(&format!("app={}", name(pick.service)));
        self.runtime.block_on(until_acknowledged(async || {
            let mut pods = api.list_metadata(&params).await?.items;
            pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
            if pods.is_empty() {
                return Ok(());
            }
            let pod = &pods[pick.number % pods.len()];
            let exactly = Preconditions {
                uid: pod.uid(),
                resource_version: None,
            };
            let params = DeleteParams::default().preconditions(exactly);
            api.delete(&pod.name_any(), &params).await.map(drop)
        }));
    }

    fn set_agent(&mut self, node: u16, runs: bool) {
        let template = &self.agent[usize::from(runs)];
        self.runtime.block_on(async {
            let mut tick = tokio::time::interval(AGAIN);
            loop {
                tick.tick().await;
                let mut command = Command::new(template.get_program());
                command.args(template.get_args()).arg(format!("node-{node}"));
                let output = command.output().expect("coracle runs");
                let told = String::from_utf8_lossy(&output.stderr);
                // An attempt whose answer was lost has done it.
                if output.status.success() || told.contains(" already: ") {
                    return;
                }
            }
        });
    }
}

/// Repeats a write until the API says that it is done. What it refuses is refused for good, but for a conflict, a full
/// disk, and an object that somebody else has removed.
async fn until_acknowledged(write: impl AsyncFn() -> kube::Result<()>) {
    let mut tick = tokio::time::interval(AGAIN);
    loop {
        tick.tick().await;
        match write().await {
            Ok(()) => return,
            Err(kube::Error::Api(status)) if status.code == 404 => return,
            Err(kube::Error::Api(status)) if status.code < 500 && ![409, 429].contains(&status.code) => {
                panic!("a wish was refused: {status:?}");
            }
            Err(_) => {}
        }
    }
}

/// A tag that nginx has, too.
fn image(service: usize, version: u32) -> String {
    format!("{}:1.{version}", PROGRAMS[service])
}

fn first(service: usize) -> Wanted {
    Wanted {
        name: name(service),
        image: image(service, 1),
        replicas: 3,
    }
}

fn manifest(wanted: &Wanted) -> String {
    let Wanted {
        name,
        image,
        replicas,
    } = wanted;
    // One of them with a probe, two with what is looked at where there is none.
    let probe = if *name == self::name(2) {
        "readinessProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1}, "
    } else {
        ""
    };
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - {{name: server, image: '{image}', {probe}ports: [{{containerPort: 80}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 8080, targetPort: 80}}]
"
    )
}
