//! The work queue.
//!
//! Flows in: keys, from handlers, timers and the reconciles themselves. Flows out: one call of the reconcile function a
//! key and time, in a task of its own. A reconcile that fails or panics is tried again later and stops nothing else.
//! Never looks at what a key means.

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info_span, warn};

use crate::pending::Pending;

/// From how many failures in a row on a failing key is worth a warning: the first few are usually lost races.
const WARN_FROM: u32 = 5;

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
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    name: &'static str,
    pending: Mutex<Pending<T>>,
    /// Something was added. Heard by the one `run`.
    added: Notify,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Queue<T> {
    /// An empty queue; `name` is the controller's, for spans.
    pub fn new(name: &'static str) -> Self {
        Self {
            shared: Arc::new(Shared {
                name,
                pending: Mutex::default(),
                added: Notify::new(),
            }),
        }
    }

    /// Asks for a reconcile of this key now.
    pub fn add(&self, key: T) {
        self.shared.pending.lock().add(key);
        self.shared.added.notify_one();
    }

    /// Asks for a reconcile of this key after a while; the earliest of several requests counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        self.shared.pending.lock().add_at(key, Instant::now() + delay);
        self.shared.added.notify_one();
    }

    /// Works on keys, at most `workers` at a time, until `stop`; then waits for the reconciles under way. An `Err` is
    /// logged and the key retried after 5 ms, doubled each time up to 16 s; `Ok` forgets the failures. A panic counts as
    /// an `Err`. Only one of a queue's clones may run.
    pub async fn run<F, R, E>(self, workers: usize, stop: CancellationToken, reconcile: F)
    where
        F: Fn(T) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Next, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let reconcile = Arc::new(reconcile);
        let mut running = JoinSet::new();
        let mut keys = HashMap::new();
        loop {
            let next_due = self.shared.pending.lock().tick(Instant::now());
            while running.len() < workers
                && let Some((key, failures)) = self.take()
            {
                let span = info_span!(
                    "reconcile",
                    controller = self.shared.name,
                    ?key,
                    attempt = failures + 1
                );
                let (reconcile, task_key) = (reconcile.clone(), key.clone());
                // Called inside the task, so that a panic while the future is being made is the task's too.
                let task = async move { reconcile(task_key).await }.instrument(span);
                keys.insert(running.spawn(task).id(), key);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = running.join_next_with_id() => self.finish(&mut keys, ended),
                () = self.shared.added.notified() => {}
                () = until(next_due) => {}
            }
        }
        while let Some(ended) = running.join_next_with_id().await {
            self.finish(&mut keys, ended);
        }
    }

    fn take(&self) -> Option<(T, u32)> {
        self.shared.pending.lock().take()
    }

    /// Books the end of a reconcile.
    fn finish<E: Display>(&self, keys: &mut HashMap<Id, T>, ended: Result<(Id, Result<Next, E>), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(key) = keys.remove(&id) else { return };
        let mut pending = self.shared.pending.lock();
        match ended {
            Ok((_, Ok(next))) => {
                pending.forget(&key);
                if let Next::After(delay) = next {
                    pending.add_at(key.clone(), Instant::now() + delay);
                }
            }
            Ok((_, Err(failure))) => self.retry(&mut pending, &key, &failure),
            Err(panic) => {
                error!(controller = self.shared.name, ?key, %panic, "a reconcile panicked: this is a bug");
                self.retry(&mut pending, &key, &panic);
            }
        }
        pending.done(&key);
    }

    fn retry(&self, pending: &mut Pending<T>, key: &T, failure: &dyn Display) {
        let controller = self.shared.name;
        let (attempt, pause) = pending.failed(key.clone());
        if attempt < WARN_FROM {
            debug!(controller, ?key, attempt, error = %failure, ?pause, "reconcile failed: trying again");
        } else {
            warn!(controller, ?key, attempt, error = %failure, ?pause, "reconcile keeps failing: trying again");
        }
        pending.add_at(key.clone(), Instant::now() + pause);
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
