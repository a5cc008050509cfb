//! Kubernetes' kinds as one table, and what their clients share.
//!
//! Flows in: JSON and typed objects. Flows out: the same, defaulted and validated; table rows; answers of pure helpers
//! (selectors, quantities, the real port of a container port). Never does I/O.

pub mod kind;
pub mod names;

pub use kind::Kind;
