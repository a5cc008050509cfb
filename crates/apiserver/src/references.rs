//! What new objects refer to: upstream's admission plugins `ServiceAccount`, `RuntimeClass` and `DefaultStorageClass`.
//!
//! Flows in: new pods and claims. Flows out: the same, with the default where they name nothing; or a refusal, if what
//! they name does not exist. Never looks at objects that exist already.

use api::kinds::storage_class;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::bootstrap;
use crate::object::{Object, meta_str};
use crate::resource::Resource;
use crate::server::Core;
use crate::status::Failure;

/// The service account of pods that name none.
const DEFAULT_ACCOUNT: &str = "default";

/// A pod's service account must exist.
pub(crate) async fn service_account(core: &Core, pods: &Resource, pod: &Value) -> Result<(), Failure> {
    let namespace = meta_str(pod, "namespace");
    let asked = pod["spec"]["serviceAccountName"].as_str().unwrap_or_default();
    let name = if asked.is_empty() { DEFAULT_ACCOUNT } else { asked };
    let accounts = core.registry.get("", "serviceaccounts")?;
    if core
        .store
        .get(&accounts.key(Some(namespace), name))
        .await?
        .is_some()
    {
        return Ok(());
    }
    if name == DEFAULT_ACCOUNT {
        // The namespace is that new, or somebody has deleted what every namespace has.
        return furnished(core, namespace).await;
    }
    let why =
        format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
    Err(Failure::forbidden(pods, pod, why))
}

/// Boxed, for what is made on the way goes through admission, too.
fn furnished<'a>(core: &'a Core, namespace: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
    bootstrap::furnish(core, namespace).boxed()
}

/// The runtime class that a pod names must exist.
pub(crate) async fn runtime_class(core: &Core, pods: &Resource, pod: &Value) -> Result<(), Failure> {
    let Some(name) = pod["spec"]["runtimeClassName"].as_str() else {
        return Ok(());
    };
    let classes = core.registry.get("node.k8s.io", "runtimeclasses")?;
    match core.store.get(&classes.key(None, name)).await? {
        Some(_) => Ok(()),
        None => {
            let why = format!("pod rejected: RuntimeClass {name:?} not found");
            Err(Failure::forbidden(pods, pod, why))
        }
    }
}

/// Gives a claim that names no storage class the default one: of several, the one that was made last.
pub(crate) async fn storage_class(core: &Core, claim: &mut Value) -> Result<(), Failure> {
    let older = &claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    if claim["spec"]["storageClassName"].is_string() || older.is_string() {
        return Ok(());
    }
    let classes = core.registry.get("storage.k8s.io", "storageclasses")?;
    let page = core.store.list(&classes.prefix, None, 0, None).await?;
    let all = page.entries.iter();
    let all = all.map(|entry| Object::from(&**entry).to_value(&classes));
    let defaults: Vec<Value> = all.filter(storage_class::is_default).collect();
    // They come by name, and of those made at the same time the first by name counts.
    let latest = defaults.iter().rev();
    if let Some(class) = latest.max_by_key(|class| meta_str(class, "creationTimestamp")) {
        claim["spec"]["storageClassName"] = meta_str(class, "name").into();
    }
    Ok(())
}
