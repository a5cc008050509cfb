//! `delete`: deletes objects and waits until they are gone.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use kube::core::DynamicObject;
use kube::core::params::ListParams;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::catalogue::{Catalogue, Resource};
use super::rest::Objects;
use super::selection::Selection;
use super::{Namespace, apply, failure, manifest};
use crate::output;

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// KIND NAME..., KIND/NAME..., or KIND with -l or --all
    what: Vec<String>,
    /// The objects of these manifests
    #[arg(short, long = "filename", conflicts_with = "what")]
    filename: Vec<String>,
    #[command(flatten)]
    namespace: Namespace,
    /// All objects of the kind with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// All objects of the kind in the namespace
    #[arg(long, conflicts_with = "selector")]
    all: bool,
    /// Seconds that a pod gets to stop [default: the pod's own]
    #[arg(long)]
    grace_period: Option<u32>,
    /// No error for an object that does not exist
    #[arg(long)]
    ignore_not_found: bool,
    /// Wait until the objects are gone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
}

/// An object to delete.
struct Doomed {
    resource: Resource,
    namespace: String,
    name: String,
}

/// Deletes what was asked for.
///
/// # Errors
/// When nothing was named, a manifest cannot be read or the server is not there.
pub async fn run(args: DeleteArgs, client: Client) -> anyhow::Result<ExitCode> {
    let catalogue = Catalogue::load(&client).await?;
    let doomed = if args.filename.is_empty() {
        selected(&args, &client, &catalogue).await?
    } else {
        in_files(&args, &client, &catalogue)?
    };
    if doomed.is_empty() {
        output::line("No resources found")?;
    }
    let mut options = json!({"propagationPolicy": "Background"});
    if let Some(seconds) = args.grace_period {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    let mut code = ExitCode::SUCCESS;
    let mut going = Vec::new();
    for object in doomed {
        match Objects::new(&client, &object.resource, Some(&object.namespace))
            .delete(&object.name, &options)
            .await
        {
            Ok(answer) => {
                output::line(object.farewell())?;
                going.push((object, uid(&answer)));
            }
            Err(error) if args.ignore_not_found && failure::is_not_found(&error) => {}
            Err(error) => {
                failure::print(&error.into());
                code = ExitCode::FAILURE;
            }
        }
    }
    if args.wait {
        for (object, uid) in going {
            object.gone(&client, &uid).await?;
        }
    }
    Ok(code)
}

impl Doomed {
    fn farewell(&self) -> String {
        let line = format!("{} \"{}\" deleted", self.resource.label(), self.name);
        if self.resource.namespaced {
            format!("{line} from {} namespace", self.namespace)
        } else {
            line
        }
    }

    /// Waits until no object with this name has the identity `uid` any more.
    async fn gone(&self, client: &Client, uid: &str) -> anyhow::Result<()> {
        let kind = self.resource.api_resource();
        let api: Api<DynamicObject> = if self.resource.namespaced {
            Api::namespaced_with(client.clone(), &self.namespace, &kind)
        } else {
            Api::all_with(client.clone(), &kind)
        };
        await_condition(api, &self.name, conditions::is_deleted(uid)).await?;
        Ok(())
    }
}

/// The server answers with the object if it is still stopping, else with a Status that names it.
fn uid(answer: &Value) -> String {
    let uid = answer["metadata"]["uid"]
        .as_str()
        .or_else(|| answer["details"]["uid"].as_str());
    uid.unwrap_or_default().to_owned()
}

async fn selected(args: &DeleteArgs, client: &Client, catalogue: &Catalogue) -> anyhow::Result<Vec<Doomed>> {
    let namespace = args.namespace.or_default(client);
    let doom = |(resource, name)| Doomed {
        resource,
        namespace: namespace.to_owned(),
        name,
    };
    let kinds = match Selection::parse(&args.what, catalogue)? {
        Selection::Objects(objects) if args.selector.is_none() && !args.all => {
            return Ok(objects.into_iter().map(doom).collect());
        }
        Selection::Objects(_) => bail!("name cannot be provided when a selector is specified"),
        Selection::Kinds(_) if args.selector.is_none() && !args.all => {
            bail!("resource(s) were provided, but no name was specified");
        }
        Selection::Kinds(kinds) => kinds,
    };
    let mut doomed = Vec::new();
    for resource in kinds {
        let params = ListParams {
            label_selector: args.selector.clone(),
            ..ListParams::default()
        };
        let list = Objects::new(client, &resource, Some(namespace))
            .list(&params)
            .await?;
        let items = list["items"].as_array().into_iter().flatten();
        let names = items.filter_map(|item| item["metadata"]["name"].as_str());
        doomed.extend(names.map(|name| doom((resource.clone(), name.to_owned()))));
    }
    Ok(doomed)
}

fn in_files(args: &DeleteArgs, client: &Client, catalogue: &Catalogue) -> anyhow::Result<Vec<Doomed>> {
    manifest::read(&args.filename)?
        .into_iter()
        .map(|mut manifest| {
            let resource = apply::kind_of(catalogue, &manifest)?.clone();
            let namespace = apply::place(&mut manifest, &resource, &args.namespace, client)?;
            Ok(Doomed {
                resource,
                namespace,
                name: manifest.name().to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_namespace_of_what_has_one() {
        let mut object = Doomed {
            resource: Resource {
                singular: "pod".into(),
                namespaced: true,
                ..Resource::default()
            },
            namespace: "default".into(),
            name: "x".into(),
        };
        assert_eq!(object.farewell(), "pod \"x\" deleted from default namespace");
        object.resource.namespaced = false;
        assert_eq!(object.farewell(), "pod \"x\" deleted");
    }

    #[test]
    fn the_identity_is_in_either_answer() {
        assert_eq!(uid(&json!({"kind": "Pod", "metadata": {"uid": "a"}})), "a");
        assert_eq!(uid(&json!({"kind": "Status", "details": {"uid": "b"}})), "b");
    }
}
