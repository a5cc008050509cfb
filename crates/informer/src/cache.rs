//! The cache of one kind.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use kube::Api;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a cache can hold.
pub trait Resource:
    kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}
impl<K> Resource for K where K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

/// Name of an object within its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// Called for every change with the version before and the version after (`None`: the object did not, or does no
/// longer, exist). Must be quick: usually it adds keys to a [`crate::Queue`].
pub type Handler<K> = Box<dyn Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync>;

/// A live, complete copy of one kind's objects. Cheap to clone: clones share the copy.
pub struct Informer<K>(std::marker::PhantomData<K>);

impl<K: Resource> Informer<K> {
    /// Starts listing and watching. `index` yields the index values of an object (a pod's node, owner uid ...), prefixed
    /// by the caller's own convention, such as `node/n1`.
    pub fn start(
        api: Api<K>,
        index: fn(&K) -> Vec<String>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let _ = (api, index, tasks, stop);
        Self(std::marker::PhantomData)
    }
    /// Resolves once the first list is complete.
    pub fn synced(&self) -> impl Future<Output = ()> + Send + 'static { async {} }
    /// The latest version of an object.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> { let _ = key; None }
    /// All objects, in key order.
    pub fn list(&self) -> Vec<Arc<K>> { Vec::new() }
    /// The objects of a namespace, in key order.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> { let _ = namespace; Vec::new() }
    /// The objects for which the index function yields `value`, in key order.
    pub fn indexed(&self, value: &str) -> Vec<Arc<K>> { let _ = value; Vec::new() }
    /// Resolves once the cache shows revision `resource_version` of this key or a later state: read your own writes.
    pub fn caught_up(&self, key: &Key, resource_version: &str) -> impl Future<Output = ()> + Send + 'static {
        let _ = (key, resource_version);
        async {}
    }
    /// Adds a handler; it is called at once for every object already in the cache.
    pub fn on_change(&self, handler: Handler<K>) { let _ = handler; }
}
