//! The Service that the load goes to, and the address that reaches it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

const MANIFEST: &str = include_str!("../../../../examples/nginx-service.yaml");

/// Makes the Service: with a ClusterIP, or with any free NodePort where this user may not listen on port 80.
///
/// # Errors
/// When the server refuses it.
pub async fn create(client: &Client) -> anyhow::Result<Service> {
    let mut service: Service = serde_yaml::from_str(MANIFEST)?;
    if let Some(spec) = &mut service.spec {
        spec.type_ = Some(
            if may_listen_on_80() {
                "ClusterIP"
            } else {
                "NodePort"
            }
            .to_owned(),
        );
        for port in spec.ports.iter_mut().flatten() {
            // The manifest's own may be in use by a cluster that runs beside the demo.
            port.node_port = None;
        }
    }
    let services: Api<Service> = Api::default_namespaced(client.clone());
    Ok(services.create(&PostParams::default(), &service).await?)
}

/// Where `service` can be reached: its NodePort on the first node if it has one, else its ClusterIP.
///
/// # Errors
/// When there is no node, or the Service has no address.
pub async fn address(client: &Client, service: &Service) -> anyhow::Result<SocketAddr> {
    let spec = service.spec.clone().unwrap_or_default();
    let port = spec
        .ports
        .iter()
        .flatten()
        .next()
        .context("the Service has no port")?;
    let (ip, port) = match port.node_port {
        Some(node_port) => {
            let nodes = Api::<Node>::all(client.clone()).list(&Default::default()).await?;
            let addresses = nodes
                .items
                .into_iter()
                .filter_map(|node| node.status?.addresses)
                .flatten();
            let internal = addresses
                .into_iter()
                .find(|address| address.type_ == "InternalIP");
            (internal.context("no node has an address")?.address, node_port)
        }
        None => (
            spec.cluster_ip.context("the Service has no ClusterIP")?,
            port.port,
        ),
    };
    Ok(SocketAddr::new(ip.parse()?, port.try_into()?))
}

/// Waits until `address` answers a request with 200, and returns what the server calls itself.
pub async fn answers(address: SocketAddr) -> String {
    loop {
        if let Ok(head) = ask(address).await
            && head.starts_with("HTTP/1.1 200")
        {
            let server = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("server")
                    .then(|| value.trim().to_owned())
            });
            return server.unwrap_or_else(|| "a server without a name".to_owned());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.split("\r\n\r\n").next().unwrap_or_default().to_owned())
}

/// Tries it on an address of the loopback block that no cluster uses.
fn may_listen_on_80() -> bool {
    TcpListener::bind((Ipv4Addr::new(127, 255, 255, 253), 80)).is_ok()
}
