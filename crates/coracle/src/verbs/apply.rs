//! `apply`: makes objects what their manifests say.
//!
//! Keeps the manifest in the same annotation as kubectl does, in the same spelling, so that both may be used on one
//! object.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use kube::Client;
use serde_json::{Value, json};

use super::catalogue::{Catalogue, Resource};
use super::manifest::{self, Manifest};
use super::rest::{Objects, PatchType};
use super::schema::Document;
use super::{Namespace, failure, merge};
use crate::output;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MANAGER: &str = "kubectl-client-side-apply";

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A manifest, a folder of manifests, or - for standard input; may be given several times
    #[arg(short, long = "filename", required = true)]
    filename: Vec<String>,
    #[command(flatten)]
    namespace: Namespace,
}

/// Applies every object; one that fails does not keep the next ones back.
///
/// # Errors
/// When a manifest cannot be read or the server is not there.
pub async fn run(args: ApplyArgs, client: Client) -> anyhow::Result<ExitCode> {
    let manifests = manifest::read(&args.filename)?;
    if manifests.is_empty() {
        bail!("no objects passed to apply");
    }
    let catalogue = Catalogue::load(&client).await?;
    let mut applier = Applier {
        client: &client,
        catalogue,
        namespace: &args.namespace,
        schemas: HashMap::new(),
    };
    let mut code = ExitCode::SUCCESS;
    for manifest in manifests {
        match applier.apply(manifest).await {
            Ok(line) => output::line(line)?,
            Err(error) => {
                failure::print(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

struct Applier<'a> {
    client: &'a Client,
    catalogue: Catalogue,
    namespace: &'a Namespace,
    /// Schemas by group and version; `None`: the server has none.
    schemas: HashMap<String, Option<Document>>,
}

impl Applier<'_> {
    /// Applies one object; returns `deployment.apps/web created`.
    async fn apply(&mut self, mut manifest: Manifest) -> anyhow::Result<String> {
        let resource = kind_of(&self.catalogue, &manifest)?.clone();
        if manifest.name().is_empty() {
            bail!(
                "from {}: a {} without metadata.name cannot be applied",
                manifest.source,
                manifest.kind()
            );
        }
        let namespace = place(&mut manifest, &resource, self.namespace, self.client)?;
        let objects = Objects::new(self.client, &resource, Some(&namespace));
        let label = format!("{}/{}", resource.label(), manifest.name());
        let modified = annotated(&manifest.object);
        let source = &manifest.source;

        let retrieving = format!("error when retrieving current configuration of \"{source}\"");
        let live = objects
            .find(manifest.name())
            .await
            .map_err(|error| failure::while_doing(&retrieving, error))?;
        let Some(live) = live else {
            let creating = format!("error when creating \"{source}\"");
            objects
                .create(&modified, MANAGER)
                .await
                .map_err(|error| failure::while_doing(&creating, error))?;
            return Ok(format!("{label} created"));
        };
        let original = last_applied(&live).unwrap_or_else(|| {
            eprintln!(
                "Warning: resource {}/{} is missing the {LAST_APPLIED} annotation which is required by apply. \
                 The missing annotation will be patched automatically.",
                resource.plural,
                manifest.name()
            );
            json!({})
        });
        let applying = format!("error when applying patch to \"{source}\"");
        let now = self
            .patch(&objects, &resource, &original, &modified, &live)
            .await
            .map_err(|error| failure::while_doing(&applying, error))?;
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let changed = now.is_some_and(|now| version(&now) != version(&live));
        Ok(format!(
            "{label} {}",
            if changed { "configured" } else { "unchanged" }
        ))
    }

    /// Sends the difference, if there is one, and returns the object as it is then.
    async fn patch(
        &mut self,
        objects: &Objects<'_>,
        resource: &Resource,
        original: &Value,
        modified: &Value,
        live: &Value,
    ) -> kube::Result<Option<Value>> {
        let name = modified["metadata"]["name"].as_str().unwrap_or_default();
        let version = resource.api_version();
        if !self.schemas.contains_key(&version) {
            let document = Document::load(self.client, resource).await.ok();
            self.schemas.insert(version.clone(), document);
        }
        let document = self.schemas.get(&version).and_then(Option::as_ref);
        if let Some(schema) = document.and_then(|document| document.of(resource)) {
            let patch = merge::patch(original, modified, live, Some(schema));
            if is_empty(&patch) {
                return Ok(None);
            }
            match objects.patch(name, PatchType::Strategic, &patch, MANAGER).await {
                // Custom resources have a schema but no strategic merge.
                Err(kube::Error::Api(status)) if status.code == 415 => {}
                done => return done.map(Some),
            }
        }
        let patch = merge::patch(original, modified, live, None);
        if is_empty(&patch) {
            return Ok(None);
        }
        objects
            .patch(name, PatchType::Merge, &patch, MANAGER)
            .await
            .map(Some)
    }
}

/// The kind that `manifest` names.
///
/// # Errors
/// When the server does not serve it.
pub fn kind_of<'a>(catalogue: &'a Catalogue, manifest: &Manifest) -> anyhow::Result<&'a Resource> {
    let Some(resource) = catalogue.by_kind(manifest.api_version(), manifest.kind()) else {
        bail!(
            "resource mapping not found for name: \"{}\" namespace: \"{}\" from \"{}\": no matches for kind \"{}\" in version \"{}\"",
            manifest.name(),
            manifest.namespace().unwrap_or_default(),
            manifest.source,
            manifest.kind(),
            manifest.api_version(),
        );
    };
    Ok(resource)
}

/// Puts the object into the namespace asked for, and returns that namespace.
///
/// # Errors
/// When manifest and command line name different ones.
pub fn place(
    manifest: &mut Manifest,
    resource: &Resource,
    asked: &Namespace,
    client: &Client,
) -> anyhow::Result<String> {
    let default = asked.or_default(client).to_owned();
    if !resource.namespaced {
        return Ok(default);
    }
    match (manifest.namespace(), &asked.namespace) {
        (Some(own), Some(asked)) if own != asked => bail!(
            "the namespace from the provided object \"{own}\" does not match the namespace \"{asked}\". You must pass '--namespace={own}' to perform this operation."
        ),
        (Some(own), _) => Ok(own.to_owned()),
        (None, _) => {
            manifest.object["metadata"]["namespace"] = json!(default);
            Ok(default)
        }
    }
}

fn is_empty(patch: &Value) -> bool {
    patch.as_object().is_some_and(serde_json::Map::is_empty)
}

/// The object with itself in the annotation that the next apply compares with.
fn annotated(object: &Value) -> Value {
    let mut object = object.clone();
    let annotations = &mut object["metadata"]["annotations"];
    if !annotations.is_object() {
        *annotations = json!({});
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    // kubectl's encoder ends with a newline and escapes these three characters; `unchanged` depends on equality.
    let text = object
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        + "\n";
    object["metadata"]["annotations"][LAST_APPLIED] = json!(text);
    object
}

fn last_applied(live: &Value) -> Option<Value> {
    serde_json::from_str(live["metadata"]["annotations"][LAST_APPLIED].as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_is_spelled_as_by_kubectl() {
        let object = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "default"},
                            "spec": {"command": ["a&b"]}});
        let text = annotated(&object)["metadata"]["annotations"][LAST_APPLIED]
            .as_str()
            .expect("text")
            .to_owned();
        assert_eq!(
            text,
            "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"annotations\":{},\"name\":\"a\",\
             \"namespace\":\"default\"},\"spec\":{\"command\":[\"a\\u0026b\"]}}\n"
        );
    }

    #[test]
    fn an_annotation_in_the_manifest_is_not_nested() {
        let once = annotated(&json!({"metadata": {"name": "a", "annotations": {"x": "y"}}}));
        assert_eq!(annotated(&once), once);
        assert_eq!(
            last_applied(&once),
            Some(json!({"metadata": {"name": "a", "annotations": {"x": "y"}}}))
        );
    }
}
