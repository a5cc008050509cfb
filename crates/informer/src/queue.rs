//! The work queue.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// When to look at a key again, after a reconcile without error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    Wait,
    /// After this time, or when something changes.
    After(Duration),
}

/// A queue of keys: each is in it once and with one worker at a time; a key added while it is being worked on is worked
/// on again afterwards. Cheap to clone: clones share the queue.
pub struct Queue<T>(std::marker::PhantomData<T>);

impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Queue<T> {
    /// An empty queue; `name` is the controller's, for spans.
    pub fn new(name: &'static str) -> Self { let _ = name; Self(std::marker::PhantomData) }
    /// Asks for a reconcile of this key now.
    pub fn add(&self, key: T) { let _ = key; }
    /// Asks for a reconcile of this key after a while; the earliest of several requests counts.
    pub fn add_after(&self, key: T, delay: Duration) { let _ = (key, delay); }
    /// Works on keys, at most `workers` at a time, until `stop`; then waits for the reconciles under way. An `Err` is
    /// logged and the key retried after 5 ms, doubled each time up to 16 s; `Ok` forgets the failures.
    pub async fn run<F, R, E>(self, workers: usize, stop: CancellationToken, reconcile: F)
    where
        F: Fn(T) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Next, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let _ = (workers, stop, Arc::new(reconcile));
    }
}
