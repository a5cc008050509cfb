//! Kubernetes' HTTP API on hyper.
//!
//! Flows in: requests, over TLS or from clients in this process. Flows out: objects, lists, watches, tables, Status
//! errors, as the stock kubectl, client-go and kube expect them. Knows the kinds only through the table in `api`, the
//! data only through the trait in `store`. Never knows what a controller does, and never starts a process.
//!
//! A request's way: [`ApiServer::service`] or [`ApiServer::serve`] → `router` → the verb's module (`get`, `list`, `watch`,
//! `create`, `update`, `patch`, `delete`) → `write` for all that changes something → the store.

mod admission;
mod allocate;
mod apply;
mod auth;
mod binding;
mod body;
mod bootstrap;
mod call;
mod client_certificates;
mod compress;
mod create;
mod decode;
mod delete;
mod discovery;
mod eviction;
mod expiry;
mod finalize;
mod get;
mod kubeconfig;
mod list;
mod metadata;
mod metrics;
mod negotiate;
mod nodes;
mod object;
mod openapi;
mod patch;
mod path;
pub mod pki;
mod priority;
mod protobuf;
mod proxy;
mod query;
mod references;
mod resource;
mod review;
mod router;
mod scale;
mod selector;
mod serve;
mod server;
mod services;
mod status;
mod strategic;
mod table;
mod token;
mod tracking;
mod typed;
mod update;
mod watch;
mod write;
mod yaml;

pub use allocate::Network;
pub use auth::Identity;
pub use body::{Body, BoxError, full};
pub use kubeconfig::kubeconfig;
pub use nodes::{NodeDirectory, NodeService};
pub use server::{ApiServer, Config, StartError, Version};
pub use token::TokenKey;
