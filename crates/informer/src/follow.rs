//! The task behind a cache: list, watch, and again when that breaks.
//!
//! Flows in: kube's watcher events. Flows out: calls on the cache, in order. Never gives up before it is told to stop.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::cache::{Resource, Shared};

/// Pause after the first failure in a row; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: how late, at worst, a loop notices that the server is back. The server is on this machine, so trying
/// costs little.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the cache complete until `stop`.
pub(crate) async fn follow<K: Resource>(api: Api<K>, shared: Arc<Shared<K>>, stop: CancellationToken) {
    let _end = End(&shared);
    stop.run_until_cancelled(async {
        loop {
            tokio::select! {
                () = watch(api.clone(), &shared) => {}
                // A new watcher begins with a list.
                () = shared.relist.notified() => {}
            }
        }
    })
    .await;
}

/// However the task ends, by a panic too: nobody goes on waiting for it.
struct End<'a, K: Resource>(&'a Shared<K>);

impl<K: Resource> Drop for End<'_, K> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!("an informer panicked, and its cache is frozen: this is a bug");
        }
        self.0.stopped();
    }
}

/// One watcher's life: a list, then changes; it lists again by itself when the server has forgotten its place (410).
async fn watch<K: Resource>(api: Api<K>, shared: &Shared<K>) {
    let events = watcher::watcher(api, watcher::Config::default());
    // Half of many an object, and no loop asks who wrote what. A write without them leaves them as they are.
    let mut events = pin!(events.modify(|object| object.meta_mut().managed_fields = None));
    let mut listed = Vec::new();
    let mut pause = FIRST_PAUSE;
    let mut tried = Instant::now();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                listed.clear();
                shared.listing();
                // Says only that a list will be tried: no reason to forget the failures before it.
                continue;
            }
            Ok(Event::InitApply(object)) => listed.push(object),
            Ok(Event::InitDone) => shared.listed(std::mem::take(&mut listed)),
            Ok(Event::Apply(object)) => shared.applied(object),
            Ok(Event::Delete(object)) => shared.deleted(object),
            Err(error) => {
                // A watch says nothing while nothing changes: that it lasted shows that the server was there.
                if tried.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                report(&error, pause);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                tried = Instant::now();
                continue;
            }
        }
        pause = FIRST_PAUSE;
    }
}

fn report(error: &watcher::Error, pause: Duration) {
    match error {
        watcher::Error::WatchError(status) if status.code == 410 => {
            debug!(%error, "the watch is too far behind: listing again");
        }
        _ if pause == FIRST_PAUSE => warn!(%error, "cannot follow the server: trying again"),
        _ => debug!(%error, ?pause, "still cannot follow the server"),
    }
}
