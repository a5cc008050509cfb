//! The API server: what all requests share, and how it begins.
//!
//! Flows in: a store, a configuration, the agents. Flows out: two doors, [`ApiServer::service`] without a socket and
//! [`ApiServer::serve`] over TLS, with one handler behind both. Never knows what a controller does.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use store::Store;
use tokio_util::sync::CancellationToken;
use tower::{Service, service_fn};

use crate::allocate::{Allocator, Network};
use crate::auth::Identity;
use crate::body::{Body, BoxError};
use crate::discovery::Discovery;
use crate::nodes::NodeDirectory;
use crate::openapi::OpenApi;
use crate::resource::Registry;
use crate::status::Failure;
use crate::token::TokenKey;
use crate::{bootstrap, expiry, router, services};

/// What the server must be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Services get their addresses from.
    pub service_network: Network,
    /// The ports that node ports are taken from.
    pub node_ports: RangeInclusive<u16>,
    /// Where the API is served: what the `kubernetes` Service leads to.
    pub address: SocketAddr,
    /// The authority's certificate (PEM), which every namespace gets as a ConfigMap; empty: none.
    pub authority: String,
    /// What service accounts' tokens are signed with.
    pub token_key: TokenKey,
    /// What `/version` says.
    pub version: Version,
}

/// What `/version` says of this build.
#[derive(Clone, Debug)]
pub struct Version {
    /// `v1.36.2`: the version of the Kubernetes API that is served, with a suffix that says by whom.
    pub git_version: String,
    /// The commit.
    pub git_commit: String,
    /// RFC 3339
    pub build_date: String,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            git_version: format!("v1.36.2+coracle-{}", env!("CARGO_PKG_VERSION")),
            git_commit: "unknown".to_owned(),
            build_date: "1970-01-01T00:00:00Z".to_owned(),
        }
    }
}

impl Version {
    /// The body of `/version`.
    pub(crate) fn to_json(&self) -> Bytes {
        let mut numbers = self.git_version.trim_start_matches('v').split('.');
        let version = json!({
            "major": numbers.next().unwrap_or_default(),
            "minor": numbers.next().unwrap_or_default(),
            "gitVersion": self.git_version,
            "gitCommit": self.git_commit,
            "gitTreeState": "clean",
            "buildDate": self.build_date,
            "goVersion": "none",
            "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        });
        version.to_string().into()
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The objects that every cluster has could not be made.
    #[error("cannot make the cluster's first objects: {0}")]
    Bootstrap(String),
}

/// What all requests share.
pub(crate) struct Core {
    /// Where the objects are.
    pub store: Arc<dyn Store>,
    /// What the server was told.
    pub config: Config,
    /// The agents.
    pub nodes: Arc<dyn NodeDirectory>,
    /// The kinds.
    pub registry: Registry,
    /// Service addresses and node ports.
    pub allocator: Arc<Allocator>,
    /// Discovery documents.
    pub discovery: Discovery,
    /// OpenAPI documents.
    pub openapi: OpenApi,
    /// Cancelled when the server stops: ends watches and background tasks.
    pub stop: CancellationToken,
}

/// The API server. Clones share everything.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) core: Arc<Core>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("config", &self.core.config)
            .finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Makes the objects that every cluster has, and begins the background work.
    ///
    /// # Errors
    /// If the store refuses to write them.
    pub async fn start(
        store: Arc<dyn Store>,
        config: Config,
        nodes: Arc<dyn NodeDirectory>,
    ) -> Result<Self, StartError> {
        let registry = Registry::new(api::kinds::kinds());
        let core = Arc::new(Core {
            discovery: Discovery::new(&registry, &config.address.to_string()),
            openapi: OpenApi::default(),
            allocator: Arc::new(Allocator::new(config.service_network, config.node_ports.clone())),
            stop: CancellationToken::new(),
            registry,
            store,
            config,
            nodes,
        });
        let failed = |failure: Failure| StartError::Bootstrap(failure.to_string());
        services::restore(&core).await.map_err(failed)?;
        bootstrap::run(&core).await.map_err(failed)?;
        tokio::spawn(expiry::run(core.clone()));
        Ok(Self { core })
    }

    /// The door without a socket: what a `kube::Client` of this process is made of. Its requests come from `identity`.
    pub fn service<B>(
        &self,
        identity: Identity,
    ) -> impl Service<
        http::Request<B>,
        Response = http::Response<Body>,
        Error = BoxError,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let core = self.core.clone();
        let identity = identity.authenticated();
        service_fn(move |request: http::Request<B>| {
            let core = core.clone();
            let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            request.extensions_mut().insert(identity.clone());
            async move { Ok(router::handle(core, request).await) }
        })
    }

    /// Ends all watches and the background work. The doors refuse nothing afterwards: dropping them is the caller's.
    pub fn shutdown(&self) {
        self.core.stop.cancel();
    }
}
