//! Kubernetes' kinds as one table, and what their clients share.
//!
//! Flows in: JSON and typed objects. Flows out: the same, defaulted and validated; table rows; answers of pure helpers
//! (selectors, quantities, the real port of a container port). Never does I/O.

pub mod decode;
pub mod defaults;
pub mod duration;
pub mod fields;
pub mod kind;
pub mod kinds;
pub mod labels;
pub mod merge_keys;
pub mod names;
pub mod openapi;
pub mod ownership;
pub mod pods;
pub mod ports;
pub mod prepare;
pub mod quantity;
pub mod random;
pub mod schedule;
pub mod served;
pub mod table;
pub mod template_hash;
pub mod types;
pub mod validation;

pub use kind::Kind;
