//! Shared caches and the work queue: what every control loop stands on, after client-go's design.
//!
//! Flows in: one list and one watch a kind (kube's `watcher`), each event decoded once. Flows out: `Arc`s of the latest
//! objects, by key or by index, and a call to each handler for every change, deletions missed during a relist included.
//! The queue gives each key to one worker at a time, coalesces, delays and backs off. The recorder tells the user what a
//! loop did, as Events. Never knows a kind.
//!
//! Why not kube's `reflector`: it has no indexes; a deletion that happened while the watch was broken vanishes from its
//! store without a word to anybody; every reflector decodes every event again; and a loop cannot ask whether its own last
//! write has arrived yet. Why not its `Controller`: a key whose object is gone never reaches `reconcile`, and all
//! reconciles are polled by one task, so a slow one holds up the rest.

mod cache;
mod events;
mod follow;
mod key;
mod objects;
mod pending;
mod queue;

pub use cache::{Handler, Informer, Resource};
pub use events::{Recorder, Type};
pub use key::Key;
pub use queue::{Next, Queue};
