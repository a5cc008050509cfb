//! An API server alone: no controllers, no scheduler, no nodes. For driving it with kubectl, or any other client.
//!
//! `cargo run -p coracle-apiserver --example alone -- FOLDER [PORT]`, then `kubectl --kubeconfig FOLDER/admin.yaml ...`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use coracle_apiserver::{
    ApiServer, Config, Identity, Network, NodeDirectory, NodeService, Version, kubeconfig, pki,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

struct NoNodes;

impl NodeDirectory for NoNodes {
    fn node(&self, _name: &str) -> Option<NodeService> {
        None
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("where to keep the data?")?);
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let address = listener.local_addr()?;

    let authority = pki::Authority::open_or_create(&folder.join("pki"))?;
    let network = Network {
        address: Ipv4Addr::new(127, 96, 0, 0),
        prefix: 16,
    };
    let tls = authority.server(&[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(network.first_host())])?;
    let admin = authority.client(&Identity::new("admin", &["system:masters"]))?;
    let server = format!("https://{address}");
    pki::write_private(
        &folder.join("admin.yaml"),
        &kubeconfig("alone", &server, authority.certificate(), &admin),
    )?;

    let config = Config {
        service_network: network,
        node_ports: 30000..=32767,
        address,
        authority: authority.certificate().to_owned(),
        token_key: coracle_apiserver::TokenKey::open_or_create(&folder.join("pki"))?,
        version: Version::default(),
    };
    let store = Arc::new(store::Sqlite::open(&folder.join("alone.db"))?);
    let api = ApiServer::start(store, config, Arc::new(NoNodes)).await?;
    println!("kubectl --kubeconfig {}", folder.join("admin.yaml").display());
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { api.serve(listener, tls, stop).await }
    });
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    serving.await?;
    Ok(())
}
