//! The cache of one kind: what a control loop holds.
//!
//! Flows in: events from the task in `follow`. Flows out: snapshots, handler calls, and the answer to "has my own write
//! arrived?". Never calls the API server itself.

use std::fmt::Debug;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, error, info_span};

use crate::objects::{Change, Objects};
use crate::{Key, follow};

/// How long a caller of [`Informer::caught_up`] waits for the watch before the informer lists again. A write arrives in
/// well under a millisecond; it can only be missing for longer if the object came and went between two lists, or if the
/// connection is silently dead. A fresh list answers both.
const RELIST_AFTER: Duration = Duration::from_secs(5);

/// What a cache can hold.
pub trait Resource:
    kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}
impl<K> Resource for K where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// Called for every change with the version before and the version after (`None`: the object did not, or does no
/// longer, exist). Must be quick: usually it adds keys to a [`crate::Queue`]. May read the informer, but must not add a
/// handler to it. One that panics misses that change, which is logged; it is called again for the next.
pub type Handler<K> = Box<dyn Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync>;

/// A live, complete copy of one kind's objects. Cheap to clone: clones share the copy.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

/// A handler, and until when it is wanted.
struct Listener<K> {
    handler: Handler<K>,
    until: CancellationToken,
}

impl<K: Resource> Listener<K> {
    /// Calls the handler. Its panic must not freeze the cache, which all other controllers live on.
    fn tell(&self, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        if catch_unwind(AssertUnwindSafe(|| (self.handler)(old, new))).is_err()
            && let Some(object) = new.or(old)
        {
            let (kind, key) = (K::kind(&()), Key::of(&**object));
            error!(%kind, ?key, "an informer's handler panicked and has missed this change: this is a bug");
        }
    }
}

/// How far the copy has come.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Lists begun; counts up from 1.
    begun: u64,
    /// Number of the latest complete list.
    listed: u64,
    /// The highest revision of any object seen, deletions included.
    revision: u64,
    /// The informer has ended.
    stopped: bool,
}

/// What the informer's clones and its task share.
pub(crate) struct Shared<K> {
    objects: RwLock<Objects<K>>,
    /// Held while a change is applied and told, so that handlers see changes one by one and in order.
    handlers: Mutex<Vec<Listener<K>>>,
    progress: watch::Sender<Progress>,
    /// A waiting caller asks for a fresh list.
    pub(crate) relist: Notify,
}

impl<K: Resource> Informer<K> {
    /// Starts listing and watching. `index` yields the index values of an object (a pod's node, owner uid ...), prefixed
    /// by the caller's own convention, such as `node/n1`.
    pub fn start(
        api: Api<K>,
        index: fn(&K) -> Vec<String>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared {
            objects: RwLock::new(Objects::new(index)),
            handlers: Mutex::default(),
            progress: watch::Sender::default(),
            relist: Notify::new(),
        });
        let span = info_span!("informer", kind = %K::kind(&()));
        tasks.spawn(follow::follow(api, shared.clone(), stop).instrument(span));
        Self { shared }
    }

    /// Resolves once the first list is complete, or the informer has been stopped.
    pub fn synced(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = self.shared.clone();
        async move { shared.wait(|progress| progress.listed > 0).await }
    }

    /// The latest version of an object.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.shared.objects.read().get(key)
    }

    /// All objects, in key order.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.objects.read().list()
    }

    /// The objects of a namespace, in key order.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.objects.read().in_namespace(namespace)
    }

    /// The objects for which the index function yields `value`, in key order.
    pub fn indexed(&self, value: &str) -> Vec<Arc<K>> {
        self.shared.objects.read().indexed(value)
    }

    /// Resolves once the cache shows revision `resource_version` of this key or a later state: read your own writes.
    ///
    /// Revisions are integers that count all writes of the server, so any object seen at that revision or later will do
    /// (upstream's revisions are comparable like this too). So will a list begun after this call, which the informer makes
    /// if nothing comes for 5 s, and the informer's end: this waits for ever only on a server that cannot be reached.
    pub fn caught_up(&self, key: &Key, resource_version: &str) -> impl Future<Output = ()> + Send + 'static {
        let (key, version) = (key.clone(), resource_version.to_owned());
        let revision = version.parse::<u64>().ok();
        self.arrived(move |shared, progress| {
            revision.is_some_and(|revision| progress.revision >= revision) || shared.shows(&key, &version)
        })
    }

    /// Resolves once the cache does not show the object with this uid (any more): read your own deletion, where the answer
    /// does not tell its revision. As [`Self::caught_up`] otherwise.
    pub fn gone(&self, key: &Key, uid: &str) -> impl Future<Output = ()> + Send + 'static {
        let (key, uid) = (key.clone(), uid.to_owned());
        self.arrived(move |shared, _| {
            let object = shared.objects.read().get(&key);
            object.is_none_or(|object| object.meta().uid.as_deref() != Some(&*uid))
        })
    }

    /// Resolves once it is `so`, or a list begun after this call is complete.
    fn arrived(
        &self,
        so: impl Fn(&Shared<K>, &Progress) -> bool + Send + Sync + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let shared = self.shared.clone();
        let begun = shared.progress.borrow().begun;
        async move {
            let seen = shared.wait(|progress| progress.listed > begun || so(&shared, progress));
            if tokio::time::timeout(RELIST_AFTER, seen).await.is_err() {
                debug!(kind = %K::kind(&()), "a write has not arrived: listing again");
                shared.relist.notify_one();
                shared.wait(|progress| progress.listed > begun).await;
            }
        }
    }

    /// Adds a handler; it is called at once for every object already in the cache, before it sees any later change.
    pub fn on_change(&self, handler: Handler<K>) {
        self.on_change_until(CancellationToken::new(), handler);
    }

    /// As [`Self::on_change`], for a handler that nobody needs after `until`; it may still be called then.
    pub fn on_change_until(&self, until: CancellationToken, handler: Handler<K>) {
        let listener = Listener { handler, until };
        let mut handlers = self.shared.handlers.lock();
        // Here, not at every change: one that is left over costs little, and they never pile up.
        handlers.retain(|handler| !handler.until.is_cancelled());
        let present = self.shared.objects.read().list();
        for object in &present {
            listener.tell(None, Some(object));
        }
        handlers.push(listener);
    }
}

impl<K: Resource> Shared<K> {
    /// A list is about to begin.
    pub fn listing(&self) {
        self.progress.send_modify(|progress| progress.begun += 1);
    }

    /// A list is complete.
    pub fn listed(&self, objects: Vec<K>) {
        let revision = objects.iter().filter_map(revision).max().unwrap_or(0);
        self.tell(|cache| cache.replace(objects));
        self.progress.send_modify(|progress| {
            progress.listed = progress.begun;
            progress.revision = progress.revision.max(revision);
        });
    }

    /// An object was created or changed.
    pub fn applied(&self, object: K) {
        let revision = revision(&object);
        self.tell(|cache| cache.insert(object).into_iter().collect());
        self.reached(revision);
    }

    /// An object was deleted; this is its last state, at the revision of the deletion.
    pub fn deleted(&self, object: K) {
        let revision = revision(&object);
        self.tell(|cache| {
            cache.remove(&Key::of(&object));
            vec![Change {
                old: Some(Arc::new(object)),
                new: None,
            }]
        });
        self.reached(revision);
    }

    /// There will be no more events: whoever waits may go on.
    pub fn stopped(&self) {
        self.progress.send_modify(|progress| progress.stopped = true);
    }

    /// Changes the objects, then calls the handlers: a handler that looks into the cache finds at least the change it is
    /// told of.
    fn tell(&self, change: impl FnOnce(&mut Objects<K>) -> Vec<Change<K>>) {
        let handlers = self.handlers.lock();
        let changes = change(&mut self.objects.write());
        for Change { old, new } in &changes {
            for handler in handlers.iter() {
                handler.tell(old.as_ref(), new.as_ref());
            }
        }
    }

    fn reached(&self, revision: Option<u64>) {
        self.progress
            .send_modify(|progress| progress.revision = progress.revision.max(revision.unwrap_or(0)));
    }

    fn shows(&self, key: &Key, version: &str) -> bool {
        let object = self.objects.read().get(key);
        object.is_some_and(|object| object.meta().resource_version.as_deref() == Some(version))
    }

    /// Until `enough`, or the informer's end.
    async fn wait(&self, enough: impl Fn(&Progress) -> bool) {
        let mut progress = self.progress.subscribe();
        // The sender is in `self`, so the channel cannot be closed.
        let _ = progress
            .wait_for(|progress| progress.stopped || enough(progress))
            .await;
    }
}

fn revision<K: kube::Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}
