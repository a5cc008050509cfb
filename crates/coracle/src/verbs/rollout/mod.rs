//! `rollout`: follows, lists, undoes, pauses, resumes and restarts rollouts of Deployments, in the client as kubectl does.
//!
//! A revision is a ReplicaSet of the Deployment; going back is writing an old template into the Deployment again.

mod history;
mod status;
mod switch;
mod undo;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::core::Selector;
use kube::core::params::ListParams;
use kube::{Api, Client, ResourceExt as _};

pub use status::{Progress, progress};
pub use undo::run as undo;

use super::Namespace;
use super::catalogue::Catalogue;
use super::selection::Selection;
use crate::output;

const REVISION: &str = "deployment.kubernetes.io/revision";
const MANAGER: &str = "kubectl-rollout";

/// What can be done with a rollout.
#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Follow the rollout until it is complete
    Status {
        #[command(flatten)]
        target: Target,
        /// Go on until the rollout is complete
        #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", action = clap::ArgAction::Set)]
        watch: bool,
        /// Give up after this time, as in `30s`
        #[arg(long)]
        timeout: Option<SignedDuration>,
    },
    /// List revisions, or show one
    History {
        #[command(flatten)]
        target: Target,
        /// Show the pod template of this revision
        #[arg(long)]
        revision: Option<i64>,
    },
    /// Go back to an earlier revision
    Undo {
        #[command(flatten)]
        target: Target,
        /// The revision to go back to [default: the one before]
        #[arg(long)]
        to_revision: Option<i64>,
    },
    /// Hold the rollout where it is
    Pause {
        #[command(flatten)]
        target: Target,
    },
    /// Go on with a paused rollout
    Resume {
        #[command(flatten)]
        target: Target,
    },
    /// Replace all pods by fresh ones, step by step
    Restart {
        #[command(flatten)]
        target: Target,
    },
}

/// The Deployments that are meant.
#[derive(Debug, Args)]
pub struct Target {
    /// deployment/NAME..., or deployment NAME...
    #[arg(required = true)]
    what: Vec<String>,
    #[command(flatten)]
    namespace: Namespace,
}

/// Does it for every Deployment that was named.
///
/// # Errors
/// When there is no such Deployment or revision, a rollout has failed, or the server refuses.
pub async fn run(rollout: Rollout, client: Client) -> anyhow::Result<ExitCode> {
    let (Rollout::Status { target, .. }
    | Rollout::History { target, .. }
    | Rollout::Undo { target, .. }
    | Rollout::Pause { target }
    | Rollout::Resume { target }
    | Rollout::Restart { target }) = &rollout;
    let namespace = target.namespace.or_default(&client);
    let deployments = Api::namespaced(client.clone(), namespace);
    for name in names(target, &client).await? {
        let said = match &rollout {
            Rollout::Status { watch, timeout, .. } => {
                status::run(&deployments, &name, *watch, *timeout).await
            }
            Rollout::History { revision, .. } => history::run(&client, &deployments, &name, *revision).await,
            Rollout::Undo { to_revision, .. } => undo::run(&client, &deployments, &name, *to_revision).await,
            Rollout::Pause { .. } => switch::pause(&deployments, &name).await,
            Rollout::Resume { .. } => switch::resume(&deployments, &name).await,
            Rollout::Restart { .. } => switch::restart(&deployments, &name).await,
        };
        output::line(said?)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn names(target: &Target, client: &Client) -> anyhow::Result<Vec<String>> {
    let objects = Selection::objects(&target.what, &Catalogue::load(client).await?)?;
    objects
        .into_iter()
        .map(|(resource, name)| {
            if resource.kind != "Deployment" {
                bail!(
                    "{} have no rollouts here: only deployments do",
                    resource.plural_label()
                );
            }
            Ok(name)
        })
        .collect()
}

/// The ReplicaSets of a Deployment, the lowest revision first.
///
/// # Errors
/// When the server does not answer or the Deployment's selector is not valid.
async fn revisions(client: &Client, deployment: &Deployment) -> anyhow::Result<Vec<(i64, ReplicaSet)>> {
    let label_selector = deployment
        .spec
        .as_ref()
        .map(|spec| spec.selector.clone())
        .unwrap_or_default();
    let selector: Selector = label_selector.try_into()?;
    let namespace = deployment.namespace().unwrap_or_default();
    let replica_sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &namespace);
    let found = replica_sets
        .list(&ListParams::default().labels(&selector.to_string()))
        .await?;
    let mut owned: Vec<(i64, ReplicaSet)> = found
        .items
        .into_iter()
        .filter(|set| {
            set.owner_references()
                .iter()
                .any(|owner| Some(&owner.uid) == deployment.metadata.uid.as_ref())
        })
        .map(|set| (revision(set.annotations().get(REVISION)), set))
        .collect();
    owned.sort_by_key(|(revision, _)| *revision);
    Ok(owned)
}

fn revision(annotation: Option<&String>) -> i64 {
    annotation.and_then(|text| text.parse().ok()).unwrap_or_default()
}
