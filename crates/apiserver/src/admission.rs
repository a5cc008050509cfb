//! What an object is given by the cluster, by kind: upstream's admission plugins and allocators.
//!
//! Flows in: objects on their way to the store. Flows out: the same, completed, and a permit that gives back what was taken
//! for them if they are not stored after all.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::Value;

use crate::allocate::Allocator;
use crate::object::meta_str;
use crate::priority;
use crate::references;
use crate::resource::Resource;
use crate::server::Core;
use crate::services;
use crate::status::Failure;

/// Completes an object, before it is validated, from what others say.
pub(crate) async fn complete(
    core: &Core,
    resource: &Resource,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<(), Failure> {
    if resource.is("", "pods") && old.is_none() {
        references::service_account(core, resource, new).await?;
        priority::of_pod(core, resource, new).await?;
        return references::runtime_class(core, resource, new).await;
    }
    if resource.is("", "persistentvolumeclaims") && old.is_none() {
        return references::storage_class(core, new).await;
    }
    if resource.is("scheduling.k8s.io", "priorityclasses") {
        return priority::of_class(core, resource, new).await;
    }
    Ok(())
}

/// Gives a valid object what it needs from the cluster. A dry run takes nothing.
pub(crate) fn admit(
    core: &Core,
    resource: &Resource,
    new: &mut Value,
    old: Option<&Value>,
    dry_run: bool,
) -> Result<Permit, Failure> {
    let mut permit = Permit {
        allocator: core.allocator.clone(),
        taken: Resources::default(),
        freed: Resources::default(),
    };
    if resource.is("", "services") && !dry_run {
        let allocated = services::allocate(&mut permit, new, old);
        allocated.map_err(|cause| Failure::invalid(resource, meta_str(new, "name"), vec![cause]))?;
    }
    Ok(permit)
}

/// Gives back what an object had, once it is gone.
pub(crate) fn release(core: &Core, resource: &Resource, object: &Value) {
    if resource.is("", "services") {
        services::resources(object).free(&core.allocator);
    }
}

/// Addresses and ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Service addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Node ports.
    pub ports: Vec<u16>,
}

impl Resources {
    fn free(&self, allocator: &Allocator) {
        for address in &self.addresses {
            allocator.free_address(*address);
        }
        for port in &self.ports {
            allocator.free_port(*port);
        }
    }
}

/// What was taken for a write that has not happened yet.
#[derive(Debug)]
pub(crate) struct Permit {
    /// Where from.
    pub allocator: Arc<Allocator>,
    /// To be given back if the write does not happen.
    pub taken: Resources,
    /// To be given back once it has.
    pub freed: Resources,
}

impl Permit {
    /// The write has happened.
    pub fn keep(mut self) {
        self.taken = std::mem::take(&mut self.freed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.taken.free(&self.allocator);
    }
}
