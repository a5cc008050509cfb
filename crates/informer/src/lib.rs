//! Shared caches and the work queue: what every control loop stands on, after client-go's design.
//!
//! Flows in: one list and one watch a kind (kube's `watcher`), each event decoded once. Flows out: `Arc`s of the latest
//! objects, by key or by index, and a call to each handler for every change, deletions missed during a relist included.
//! The queue gives each key to one worker at a time, coalesces, delays and backs off. Never knows a kind.
//!
//! Why not kube's `Controller` and `reflector`: see the `cache` and `queue` modules.

mod cache;
mod events;
mod queue;

pub use cache::{Handler, Informer, Key, Resource};
pub use events::{Recorder, Type};
pub use queue::{Next, Queue};
