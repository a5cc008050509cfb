//! A client of the cluster in a data folder, with the administrator's rights.

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::data_dir::DataDir;

/// How long the API may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The client; the server need not run yet.
pub async fn of(data_dir: &DataDir) -> anyhow::Result<Client> {
    let file = Kubeconfig::read_from(data_dir.kubeconfig("admin"))?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(LIMIT);
    config.read_timeout = Some(LIMIT);
    Ok(Client::try_from(config)?)
}
