//! `scale`: changes the number of replicas through the `scale` subresource.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use kube::Client;
use serde_json::json;

use super::Namespace;
use super::catalogue::Catalogue;
use super::rest::{Objects, PatchType};
use super::selection::Selection;
use crate::output;

/// Arguments of `scale`.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// KIND/NAME..., or KIND NAME...
    #[arg(required = true)]
    what: Vec<String>,
    /// How many pods there shall be
    #[arg(long, allow_negative_numbers = true)]
    replicas: i32,
    #[command(flatten)]
    namespace: Namespace,
}

/// Scales every object that was named.
///
/// # Errors
/// When the server refuses, for example a negative number.
pub async fn run(args: ScaleArgs, client: Client) -> anyhow::Result<ExitCode> {
    if args.replicas < 0 {
        bail!("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
    }
    let catalogue = Catalogue::load(&client).await?;
    let namespace = args.namespace.or_default(&client);
    for (resource, name) in Selection::objects(&args.what, &catalogue)? {
        let patch = json!({"spec": {"replicas": args.replicas}});
        let objects = Objects::new(&client, &resource, Some(namespace));
        objects
            .patch(
                &format!("{name}/scale"),
                PatchType::Merge,
                &patch,
                "kubectl-scale",
            )
            .await?;
        output::line(format_args!("{}/{name} scaled", resource.label()))?;
    }
    Ok(ExitCode::SUCCESS)
}
