//! `set image`: changes images of containers, which starts a rolling update.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use kube::Client;
use serde_json::{Value, json};

use super::Namespace;
use super::catalogue::Catalogue;
use super::rest::{Objects, PatchType};
use super::selection::Selection;
use crate::output;

/// Arguments of `set image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// KIND/NAME... CONTAINER=IMAGE...; * for all containers
    #[arg(required = true, value_name = "KIND/NAME|CONTAINER=IMAGE")]
    what: Vec<String>,
    #[command(flatten)]
    namespace: Namespace,
}

/// Sets the images; says nothing of an object that has them already, as kubectl does.
///
/// # Errors
/// When nothing is to be set, a container does not exist, or the server refuses.
pub async fn run(args: ImageArgs, client: Client) -> anyhow::Result<ExitCode> {
    let (images, what): (Vec<String>, Vec<String>) =
        args.what.into_iter().partition(|word| word.contains('='));
    let images: Vec<(&str, &str)> = images.iter().filter_map(|pair| pair.split_once('=')).collect();
    if images.is_empty() {
        bail!("at least one image update is required");
    }
    let catalogue = Catalogue::load(&client).await?;
    let namespace = args.namespace.or_default(&client);
    for (resource, name) in Selection::objects(&what, &catalogue)? {
        let objects = Objects::new(&client, &resource, Some(namespace));
        let object = objects.get(&name).await?;
        let Some(patch) = patch(&object, &images)? else {
            continue;
        };
        objects
            .patch(&name, PatchType::Strategic, &patch, "kubectl-set")
            .await?;
        output::line(format_args!("{}/{name} image updated", resource.label()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The strategic merge patch that gives the pod template of `object` (or the pod itself) these images; `None` if it has
/// them.
fn patch(object: &Value, images: &[(&str, &str)]) -> anyhow::Result<Option<Value>> {
    let template = object["spec"].get("template");
    let spec = template.map_or(&object["spec"], |template| &template["spec"]);
    let mut changes = serde_json::Map::new();
    for &(container, image) in images {
        let mut known = false;
        for list in ["initContainers", "containers"] {
            let found = spec[list].as_array().into_iter().flatten();
            for found in found.filter(|found| container == "*" || found["name"] == container) {
                known = true;
                if found["image"] != image {
                    let changed = changes.entry(list).or_insert_with(|| json!([]));
                    if let Some(changed) = changed.as_array_mut() {
                        changed.push(json!({"name": found["name"], "image": image}));
                    }
                }
            }
        }
        if !known {
            bail!("unable to find container named \"{container}\"");
        }
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let changes = Value::Object(changes);
    Ok(Some(match template {
        Some(_) => json!({"spec": {"template": {"spec": changes}}}),
        None => json!({"spec": changes}),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        json!({"spec": {"template": {"spec": {"containers": [
            {"name": "nginx", "image": "nginx:1.7.9"}, {"name": "side", "image": "x"}]}}}})
    }

    #[test]
    fn only_what_changes_is_sent() {
        let sent = patch(&deployment(), &[("nginx", "nginx:1.8"), ("side", "x")]).expect("known containers");
        let expected = json!([{"name": "nginx", "image": "nginx:1.8"}]);
        assert_eq!(
            sent,
            Some(json!({"spec": {"template": {"spec": {"containers": expected}}}}))
        );
        assert_eq!(
            patch(&deployment(), &[("nginx", "nginx:1.7.9")]).expect("known"),
            None
        );
    }

    #[test]
    fn a_star_means_all_and_a_pod_has_no_template() {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}});
        let sent = patch(&pod, &[("*", "z")]).expect("containers").expect("a change");
        assert_eq!(sent["spec"]["containers"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn an_unknown_container_is_refused() {
        let error = patch(&deployment(), &[("web", "x")]).expect_err("no such container");
        assert_eq!(error.to_string(), "unable to find container named \"web\"");
    }
}
