//! The pods of a node: one worker task for each, which knows the latest version of its pod.
//!
//! Flows in: changes of pods from the shared informer, and the folders of pods that ran before the agent did. Flows out:
//! workers. A pod is its uid: one that is deleted and made again under the same name is another pod with another worker.

mod backoff;
mod container;
mod health;
mod plan;
mod run;
mod set_up;
mod stop;
mod wait;
mod worker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::node::Node;
use crate::sandbox::Place;
use worker::Worker;

/// A new version of a pod; `None`: it is gone from the API.
struct Change {
    uid: String,
    pod: Option<Arc<Pod>>,
}

/// Runs the pods of a node until `stop`; pods run on after that.
pub async fn run(node: Arc<Node>, found: Vec<(PathBuf, Place)>, stop: CancellationToken) {
    let mut changes = subscribe(&node, &stop);
    let mut workers = Workers {
        node,
        latest: HashMap::new(),
        tasks: JoinSet::new(),
        stop: stop.clone(),
    };
    // The Services too: a container is told of them when it starts, and never again.
    let synced = async { tokio::join!(workers.node.pods.synced(), workers.node.services.synced()) };
    tokio::select! {
        _ = synced => {}
        () = stop.cancelled() => return,
    }
    // Everything of the first list is in the channel by now. What has a folder and is not listed has been deleted.
    let mut found: HashMap<String, Place> = found
        .into_iter()
        .map(|(_, place)| (place.uid.clone(), place))
        .collect();
    while let Ok(change) = changes.try_recv() {
        let place = found.remove(&change.uid);
        workers.take(change, place);
    }
    for (uid, place) in found {
        workers.take(Change { uid, pod: None }, Some(place));
    }
    loop {
        tokio::select! {
            Some(change) = changes.recv() => workers.take(change, None),
            Some(ended) = workers.tasks.join_next() => match ended {
                Ok(uid) => workers.forget(&uid),
                Err(error) => tracing::error!(%error, "a pod's worker has failed"),
            },
            () = stop.cancelled() => break,
        }
    }
    while workers.tasks.join_next().await.is_some() {}
}

fn subscribe(node: &Arc<Node>, stop: &CancellationToken) -> mpsc::UnboundedReceiver<Change> {
    let (sender, changes) = mpsc::unbounded_channel();
    let name = node.config.node_name.clone();
    let tell: informer::Handler<Pod> = Box::new(move |before, after| {
        let is_ours = |pod: &&Arc<Pod>| api::pods::node_name(pod) == Some(name.as_str());
        let uid = |pod: &Arc<Pod>| pod.metadata.uid.clone().unwrap_or_default();
        let (before, after) = (before.filter(is_ours), after.filter(is_ours));
        // Both may be there and be two pods, if one was deleted and made again between two looks. The receiver is gone
        // only after the agent.
        if let Some(gone) = before.map(uid)
            && after.map(uid).as_ref() != Some(&gone)
        {
            let _ = sender.send(Change { uid: gone, pod: None });
        }
        if let Some(pod) = after {
            let _ = sender.send(Change {
                uid: uid(pod),
                pod: Some(pod.clone()),
            });
        }
    });
    node.pods.on_change_until(stop.clone(), tell);
    changes
}

struct Workers {
    node: Arc<Node>,
    latest: HashMap<String, watch::Sender<Option<Arc<Pod>>>>,
    tasks: JoinSet<String>,
    stop: CancellationToken,
}

impl Workers {
    /// A worker has ended. A late change may have started another for the same pod.
    fn forget(&mut self, uid: &str) {
        if self.latest.get(uid).is_some_and(watch::Sender::is_closed) {
            self.latest.remove(uid);
        }
    }

    /// Hands a change to the pod's worker, which is started if there is none. `place`: the pod has a folder already.
    fn take(&mut self, change: Change, place: Option<Place>) {
        let Change { uid, pod } = change;
        if let Some(latest) = self.latest.get(&uid)
            && !latest.is_closed()
        {
            latest.send_replace(pod);
            return;
        }
        if pod.is_none() && place.is_none() {
            return;
        }
        let (sender, latest) = watch::channel(pod);
        let worker = Worker::new(self.node.clone(), uid.clone(), latest, place);
        let stop = self.stop.clone();
        self.latest.insert(uid.clone(), sender);
        self.tasks.spawn(async move {
            tokio::select! {
                () = worker.run() => {}
                () = stop.cancelled() => {}
            }
            uid
        });
    }
}
