//! Upstream's validation: rules that several kinds share.
//!
//! Flows in: typed objects. Flows out: causes, in upstream's words. A kind's own rules are in its own module.

pub mod affinity;
pub mod container;
pub mod downward;
pub mod ephemeral;
pub mod errors;
pub mod metadata;
pub mod mounts;
pub mod names;
pub mod path;
pub mod pod_spec;
pub mod pod_update;
pub mod probe;
pub mod resources;
pub mod security;
pub mod selector;
pub mod values;
pub mod volume;
pub mod warnings;
pub mod workload;

pub use errors::Errors;
pub use path::Path;
