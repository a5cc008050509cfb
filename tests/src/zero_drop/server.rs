//! The servers that pods run, and the manifests that describe them.

use std::fmt::Write as _;
use std::path::Path;

use crate::{Cluster, programs};

/// Where every server answers HTTP.
pub const HTTP_PORT: u16 = 8080;
/// Where the Node server echoes plain TCP.
pub const ECHO_PORT: u16 = 7000;

/// What the pods of a scenario run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// nginx as the catalogue has it: `keepalive_requests 1000000`.
    Nginx,
    /// `coracle webserver`.
    StandIn,
    /// Node's http server with graceful shutdown.
    Node,
    /// Python's http.server with graceful shutdown.
    Python,
    /// Node, which ends only when every client has closed its connection.
    Waiting,
    /// Node, which ignores SIGTERM.
    Stubborn,
    /// Node, whose stop signal is SIGKILL.
    Killed,
    /// Node, which closes a connection that has been idle for a second: the clients' think time.
    Impatient,
}

impl Server {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::StandIn => "stand-in",
            Self::Node => "node",
            Self::Python => "python",
            Self::Waiting => "never closes",
            Self::Stubborn => "ignores TERM",
            Self::Killed => "gets SIGKILL",
            Self::Impatient => "closes idle",
        }
    }

    /// The old image and the new one.
    pub fn images(self) -> [&'static str; 2] {
        match self {
            Self::Nginx => ["nginx:1.7.9", "nginx:1.8"],
            Self::StandIn => ["webserver:1", "webserver:2"],
            Self::Python => ["python:1", "python:2"],
            Self::Killed => ["killed:1", "killed:2"],
            Self::Node | Self::Waiting | Self::Stubborn | Self::Impatient => ["node:1", "node:2"],
        }
    }

    fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Waiting => &[("ON_SIGTERM", "wait")],
            Self::Stubborn => &[("ON_SIGTERM", "ignore")],
            Self::Impatient => &[("IDLE", "1000")],
            Self::Nginx | Self::StandIn | Self::Node | Self::Python | Self::Killed => &[],
        }
    }

    /// Whether it notes the ids of the POSTs that it executes.
    pub fn records(self) -> bool {
        !matches!(self, Self::Nginx | Self::StandIn)
    }

    /// Whether it echoes plain TCP and WebSockets, too.
    fn echoes(self) -> bool {
        self.records() && self != Self::Python
    }
}

/// Adds the images of the Node and Python servers to a cluster's catalogue.
pub fn add_images(cluster: &Cluster) {
    let servers = programs::repository().join("tests/servers");
    let data_dir = cluster.data_dir();
    for (name, signal, program, script) in [
        ("node", "SIGTERM", "node", "server.js"),
        ("killed", "SIGKILL", "node", "server.js"),
        ("python", "SIGTERM", "python3", "server.py"),
    ] {
        let added = cluster.run(&[
            "image",
            "add",
            name,
            "--data-dir",
            &data_dir.to_string_lossy(),
            "--stop-signal",
            signal,
            "--",
            &programs::find(program).to_string_lossy(),
            &servers.join(script).to_string_lossy(),
        ]);
        assert_eq!(added.code, Some(0), "{added:?}");
    }
}

/// Takes the catalogue away: it is the user's, so it would outlive the cluster.
pub fn remove_images(cluster: &Cluster) {
    let file = cluster.data_dir().join("images.yaml");
    std::fs::remove_file(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// How the pods of a scenario are kept.
#[derive(Clone, Copy, Debug)]
pub struct Pods {
    /// How many.
    pub replicas: u32,
    /// How many more during a roll.
    pub surge: u32,
    /// How many fewer during a roll.
    pub unavailable: u32,
    /// Grace period in seconds.
    pub grace: u32,
    /// How long a pod must be ready to count as available, in seconds.
    pub min_ready: u32,
    /// When a roll that does not get on counts as halted, in seconds.
    pub progress_deadline: u32,
    /// On their nodes' own addresses: then the next pod gets its predecessor's at once.
    pub host_network: bool,
}

impl Pods {
    /// Four pods, one more and one fewer during a roll, as in the tutorial.
    pub const FOUR: Self = Self {
        replicas: 4,
        surge: 1,
        unavailable: 1,
        grace: 30,
        min_ready: 0,
        progress_deadline: 600,
        host_network: false,
    };

    /// The Deployment and the Service `name`, with the old image.
    pub fn manifest(&self, name: &str, server: Server, record: &Path) -> String {
        let mut ports = format!("{{name: http, containerPort: {HTTP_PORT}}}");
        let mut services = format!("{{name: http, port: {HTTP_PORT}}}");
        if server.echoes() {
            let _ = write!(ports, ", {{name: echo, containerPort: {ECHO_PORT}}}");
            let _ = write!(services, ", {{name: echo, port: {ECHO_PORT}, appProtocol: tcp}}");
        }
        let mut environment = String::new();
        for (variable, value) in server.environment() {
            let _ = write!(environment, "{{name: {variable}, value: '{value}'}}, ");
        }
        if server.records() {
            let _ = write!(environment, "{{name: RECORD, value: '{}'}}", record.display());
        }
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  minReadySeconds: {min_ready}
  progressDeadlineSeconds: {progress_deadline}
  strategy: {{rollingUpdate: {{maxSurge: {surge}, maxUnavailable: {unavailable}}}}}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: {grace}
      hostNetwork: {host_network}
      containers:
      - name: server
        image: {image}
        env: [{environment}]
        ports: [{ports}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{services}]
",
            replicas = self.replicas,
            min_ready = self.min_ready,
            progress_deadline = self.progress_deadline,
            surge = self.surge,
            unavailable = self.unavailable,
            grace = self.grace,
            host_network = self.host_network,
            image = server.images()[0],
        )
    }
}
