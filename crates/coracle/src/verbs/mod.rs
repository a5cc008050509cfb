//! The few kubectl-like verbs, for machines without kubectl.
//!
//! Flows in: arguments and manifests. Flows out: requests to the API server, and on the terminal the lines that kubectl
//! would print. The verbs know no kinds: names, columns and merge keys come from the server, so that they work with any
//! Kubernetes API server and may be mixed with kubectl on the same objects.
//! Never reads the data folder and never talks to anything but the API.

mod apply;
pub mod catalogue;
mod delete;
mod failure;
mod get;
mod image;
mod logs;
mod manifest;
mod merge;
pub mod rest;
pub mod rollout;
mod scale;
mod schema;
mod selection;
pub mod table;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use kube::Client;

use crate::output;

/// A kubectl-like verb with its arguments.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create objects, or change them to what manifests say
    Apply(apply::ApplyArgs),
    /// Show objects
    Get(get::GetArgs),
    /// Delete objects and wait until they are gone
    Delete(delete::DeleteArgs),
    /// Show the output of a pod's container
    Logs(logs::LogsArgs),
    /// Change the number of replicas
    Scale(scale::ScaleArgs),
    /// Change a part of an object
    #[command(subcommand)]
    Set(Set),
    /// Follow, list, undo, pause, resume or restart rollouts
    #[command(subcommand)]
    Rollout(rollout::Rollout),
}

/// What `set` can change.
#[derive(Debug, Subcommand)]
pub enum Set {
    /// Change images of containers; starts a rolling update
    Image(image::ImageArgs),
}

/// The namespace that a verb acts in.
#[derive(Clone, Debug, Args)]
pub struct Namespace {
    /// Namespace [default: the context's, else `default`]
    #[arg(short, long)]
    namespace: Option<String>,
}

impl Namespace {
    fn or_default<'a>(&'a self, client: &'a Client) -> &'a str {
        self.namespace
            .as_deref()
            .unwrap_or_else(|| client.default_namespace())
    }
}

/// Runs `verb` and says on stderr, in kubectl's words, what went wrong. Exit code 1 if anything did.
///
/// # Errors
/// Only if our reader has left: every other failure has been printed when this returns.
pub async fn run(verb: Verb, client: Client) -> anyhow::Result<ExitCode> {
    let done = match verb {
        Verb::Apply(args) => apply::run(args, client).await,
        Verb::Get(args) => get::run(args, client).await,
        Verb::Delete(args) => delete::run(args, client).await,
        Verb::Logs(args) => logs::run(args, client).await,
        Verb::Scale(args) => scale::run(args, client).await,
        Verb::Set(Set::Image(args)) => image::run(args, client).await,
        Verb::Rollout(rollout) => rollout::run(rollout, client).await,
    };
    Ok(match done {
        Ok(code) => code,
        Err(error) if output::reader_left(&error) => return Err(error),
        Err(error) => {
            failure::print(&error);
            ExitCode::FAILURE
        }
    })
}
