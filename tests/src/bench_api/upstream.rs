//! Upstream's programs: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and kwok for fake nodes.
//!
//! Client limits are raised as far as its best times need them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use serde_json::json;

use super::Error;
use super::target::{Size, free_port};
use crate::Background;

/// The administrator's token.
const TOKEN: &str = "bench";
/// What lifts a component's limit on its own requests.
const NO_LIMITS: [&str; 2] = ["--kube-api-qps=5000", "--kube-api-burst=5000"];

/// Where the programs are.
pub struct Programs {
    etcd: PathBuf,
    api_server: PathBuf,
    controller_manager: PathBuf,
    scheduler: PathBuf,
    kwok: PathBuf,
}

impl Programs {
    /// As `ETCD`, `KUBE_APISERVER`, `KUBE_CONTROLLER_MANAGER`, `KUBE_SCHEDULER` and `KWOK` say; `None` if none is set.
    ///
    /// # Errors
    /// If only some are set.
    pub fn from_environment() -> Result<Option<Self>, Error> {
        let names = [
            "ETCD",
            "KUBE_APISERVER",
            "KUBE_CONTROLLER_MANAGER",
            "KUBE_SCHEDULER",
            "KWOK",
        ];
        let paths = names.map(|name| std::env::var_os(name).map(PathBuf::from));
        if paths.iter().all(Option::is_none) {
            return Ok(None);
        }
        match paths {
            [
                Some(etcd),
                Some(api_server),
                Some(controller_manager),
                Some(scheduler),
                Some(kwok),
            ] => Ok(Some(Self {
                etcd,
                api_server,
                controller_manager,
                scheduler,
                kwok,
            })),
            _ => Err(format!("to measure upstream, set all of {}", names.join(", ")).into()),
        }
    }

    /// Starts etcd and the API server.
    pub(super) fn api_server(&self, folder: &Path, port: u16) -> Result<Vec<Background>, Error> {
        let (client, peer) = (free_port()?, free_port()?);
        let etcd = Background::start(
            Command::new(&self.etcd)
                .arg("--data-dir")
                .arg(folder.join("etcd"))
                .arg(format!("--listen-client-urls=http://127.0.0.1:{client}"))
                .arg(format!("--advertise-client-urls=http://127.0.0.1:{client}"))
                .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"))
                .args(["--log-level=error", "--quota-backend-bytes=4294967296"]),
        );
        let key = folder.join("accounts.key");
        if !key.exists() {
            make_key(&key)?;
            fs::write(
                folder.join("tokens.csv"),
                format!("{TOKEN},admin,admin,\"system:masters\"\n"),
            )?;
        }
        let api_server = Background::start(
            Command::new(&self.api_server)
                .arg(format!("--etcd-servers=http://127.0.0.1:{client}"))
                .args([
                    "--bind-address=127.0.0.1",
                    "--service-cluster-ip-range=10.96.0.0/16",
                ])
                .arg(format!("--secure-port={port}"))
                .arg(format!("--cert-dir={}", folder.display()))
                .arg(format!(
                    "--token-auth-file={}",
                    folder.join("tokens.csv").display()
                ))
                .arg(format!("--service-account-key-file={}", key.display()))
                .arg(format!("--service-account-signing-key-file={}", key.display()))
                .args([
                    "--service-account-issuer=https://bench",
                    "--authorization-mode=RBAC",
                ])
                .args(["--max-requests-inflight=0", "--max-mutating-requests-inflight=0"])
                .args([
                    "--enable-priority-and-fairness=false",
                    "--disable-admission-plugins=ServiceAccount",
                ]),
        );
        Ok(vec![etcd, api_server])
    }

    /// How its API server is reached.
    pub(super) fn config(&self, port: u16) -> Result<Config, Error> {
        let mut config = Config::new(format!("https://127.0.0.1:{port}").parse()?);
        config.accept_invalid_certs = true;
        config.auth_info.token = Some(TOKEN.to_owned().into());
        Ok(config)
    }

    /// Starts the control loops, and kwok on as many nodes as the size says.
    pub(super) async fn controllers(
        &self,
        folder: &Path,
        (port, size): (u16, Size),
        client: &Client,
    ) -> Result<Vec<Background>, Error> {
        let kubeconfig = folder.join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_for(port))?;
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let start = |program: &Path, options: &[&str]| {
            Background::start(Command::new(program).arg(&kubeconfig).args(options))
        };
        let ports = [free_port()?, free_port()?].map(|port| format!("--secure-port={port}"));
        let loops = [
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            NO_LIMITS[0],
            NO_LIMITS[1],
        ];
        let manager = start(
            &self.controller_manager,
            &[&loops[..], &[ports[0].as_str()]].concat(),
        );
        let scheduler = start(&self.scheduler, &[&loops[..], &[ports[1].as_str()]].concat());
        let kwok = start(&self.kwok, &["--manage-all-nodes=true"]);
        for number in 1..=size.nodes() {
            make_node(client, number).await?;
        }
        Ok(vec![manager, scheduler, kwok])
    }
}

/// The key that ServiceAccounts' tokens are signed with.
fn make_key(path: &Path) -> Result<(), Error> {
    let status = Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(path)
        .arg("2048")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("openssl: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("openssl genrsa: {status}").into())
    }
}

fn kubeconfig_for(port: u16) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "bench",
            "cluster": {"server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true},
        }],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "admin"}}],
        "current-context": "bench",
    })
    .to_string()
}

/// A node for kwok to look after; one that is there is left as it is.
async fn make_node(client: &Client, number: u16) -> Result<(), Error> {
    let amounts = json!({"cpu": "1000", "memory": "1000Gi", "pods": "110"});
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": format!("node-{number}"), "labels": {"kubernetes.io/hostname": format!("node-{number}")}},
        "status": {"capacity": amounts, "allocatable": amounts},
    }))?;
    match Api::<Node>::all(client.clone())
        .create(&PostParams::default(), &node)
        .await
    {
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(()),
        result => result.map(drop).map_err(Error::from),
    }
}
