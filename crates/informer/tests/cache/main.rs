//! The cache against an API server whose lists and watches the test plays, under paused time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod model;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api::{Server, Watch, object};
use coracle_informer::{Informer, Key};
use futures::FutureExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct Setup {
    server: Server,
    informer: Informer<ConfigMap>,
    changes: mpsc::UnboundedReceiver<String>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// An informer of a server with these objects at revision 10; it has not listed yet.
fn begin(objects: &[Value], refusals: usize) -> Setup {
    let (server, client) = Server::new();
    server.set(10, objects);
    server.refuse(refusals);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let informer = Informer::start(Api::all(client), colours, &tasks, stop.clone());
    let changes = listen(&informer);
    Setup {
        server,
        informer,
        changes,
        stop,
        tasks,
    }
}

/// The same, listed and watching.
async fn start(objects: &[Value]) -> (Setup, Watch) {
    let mut setup = begin(objects, 0);
    setup.informer.synced().await;
    let watch = setup.server.watch().await;
    assert_eq!(watch.after, "10");
    for _ in objects {
        setup.changes.recv().await.unwrap();
    }
    (setup, watch)
}

fn colours(object: &ConfigMap) -> Vec<String> {
    object
        .data
        .iter()
        .flatten()
        .map(|(name, value)| format!("{name}/{value}"))
        .collect()
}

/// What a handler is told, as `name: revision -> revision`.
fn listen(informer: &Informer<ConfigMap>) -> mpsc::UnboundedReceiver<String> {
    let (told, changes) = mpsc::unbounded_channel();
    informer.on_change(Box::new(move |old, new| {
        let name = Key::of(old.or(new).unwrap().as_ref()).name;
        let _ = told.send(format!("{name}: {} -> {}", revision(old), revision(new)));
    }));
    changes
}

fn revision(object: Option<&Arc<ConfigMap>>) -> String {
    object
        .and_then(|object| object.metadata.resource_version.clone())
        .unwrap_or_else(|| "none".to_owned())
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

fn names(found: &[Arc<ConfigMap>]) -> Vec<String> {
    found.iter().map(|object| Key::of(object.as_ref()).name).collect()
}

#[tokio::test(start_paused = true)]
async fn lists_then_follows() {
    let (mut setup, watch) = start(&[object("a", 3, "red"), object("b", 7, "red")]).await;
    let informer = &setup.informer;
    assert_eq!(names(&informer.indexed("colour/red")), ["a", "b"]);
    watch.send("ADDED", &object("c", 11, "red"));
    watch.send("MODIFIED", &object("a", 12, "blue"));
    watch.send("DELETED", &object("b", 13, "red"));
    for told in ["c: none -> 11", "a: 3 -> 12", "b: 13 -> none"] {
        assert_eq!(setup.changes.recv().await.unwrap(), told);
    }
    assert_eq!(names(&informer.list()), ["a", "c"]);
    assert_eq!(names(&informer.in_namespace("default")), ["a", "c"]);
    assert_eq!(names(&informer.indexed("colour/red")), ["c"]);
    assert!(informer.get(&key("b")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_late_handler_is_told_what_is_there_and_then_what_changes() {
    let (setup, watch) = start(&[object("a", 3, "red"), object("b", 7, "red")]).await;
    let mut late = listen(&setup.informer);
    watch.send("MODIFIED", &object("b", 11, "red"));
    for told in ["a: none -> 3", "b: none -> 7", "b: 7 -> 11"] {
        assert_eq!(late.recv().await.unwrap(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_was_missed_is_told_after_the_next_list() {
    let (mut setup, watch) = start(&[object("a", 3, "red"), object("b", 7, "red")]).await;
    setup
        .server
        .set(20, &[object("a", 3, "red"), object("c", 19, "red")]);
    watch.gone();
    for told in ["b: 7 -> none", "c: none -> 19"] {
        assert_eq!(setup.changes.recv().await.unwrap(), told);
    }
    let watch = setup.server.watch().await;
    assert_eq!(watch.after, "20");
    assert_eq!(names(&setup.informer.indexed("colour/red")), ["a", "c"]);
    watch.send("MODIFIED", &object("a", 21, "red"));
    assert_eq!(
        setup.changes.recv().await.unwrap(),
        "a: 3 -> 21",
        "and it follows again"
    );
}

#[tokio::test(start_paused = true)]
async fn an_ended_watch_goes_on_where_it_was() {
    let (mut setup, watch) = start(&[object("a", 3, "red")]).await;
    watch.send("MODIFIED", &object("a", 11, "red"));
    drop(watch);
    let watch = setup.server.watch().await;
    assert_eq!((watch.after.as_str(), setup.server.lists()), ("11", 1));
    drop(watch);
    assert_eq!(setup.server.watch().await.after, "11");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_is_asked_again_and_again_but_not_in_haste() {
    let begin_time = Instant::now();
    let setup = begin(&[object("a", 3, "red")], 12);
    setup.informer.synced().await;
    assert_eq!(setup.server.lists(), 13);
    // 50 ms doubled four times, then seven pauses of 1 s.
    let expected = 1.55 + 7.0;
    let waited = begin_time.elapsed().as_secs_f64();
    assert!((waited - expected).abs() < 0.1, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_again_and_again_is_missed_no_longer_each_time() {
    let (mut setup, mut watch) = start(&[object("a", 3, "red")]).await;
    for _ in 0..10 {
        // Nothing changes meanwhile.
        tokio::time::sleep(Duration::from_secs(5)).await;
        setup.server.refuse(2);
        let gone = Instant::now();
        watch.fail();
        watch = setup.server.watch().await;
        // The break, and two refusals.
        assert_eq!(gone.elapsed(), Duration::from_millis(50 + 100 + 200));
    }
    assert_eq!(setup.server.lists(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_until_its_write_is_here() {
    let (setup, watch) = start(&[object("a", 3, "red")]).await;
    setup.informer.caught_up(&key("a"), "3").await;
    let mut mine = pin!(setup.informer.caught_up(&key("b"), "12"));
    watch.send("ADDED", &object("x", 11, "red"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(mine.as_mut().now_or_never().is_none(), "11 is not yet 12");
    watch.send("ADDED", &object("b", 12, "red"));
    mine.await;
    assert!(setup.informer.get(&key("b")).is_some());
    // Seen since: nothing to wait for, although the key is another's.
    watch.send("MODIFIED", &object("x", 15, "red"));
    setup.informer.caught_up(&key("gone"), "15").await;
    assert_eq!(setup.server.lists(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deleter_waits_until_the_object_is_not_here() {
    let (setup, watch) = start(&[object("a", 3, "red")]).await;
    let uid = setup
        .informer
        .get(&key("a"))
        .unwrap()
        .metadata
        .uid
        .clone()
        .unwrap();
    setup.informer.gone(&key("a"), "another").await;
    setup.informer.gone(&key("b"), &uid).await;
    let mut mine = pin!(setup.informer.gone(&key("a"), &uid));
    watch.send("MODIFIED", &object("a", 11, "blue"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(mine.as_mut().now_or_never().is_none());
    watch.send("DELETED", &object("a", 12, "blue"));
    mine.await;
    assert!(setup.informer.get(&key("a")).is_none());
    assert_eq!(setup.server.lists(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_comes_is_answered_by_a_fresh_list() {
    let (mut setup, _watch) = start(&[object("a", 3, "red")]).await;
    // Made at 8 and deleted at 9, both before the first list: no event will ever tell.
    let waiting = tokio::spawn(setup.informer.caught_up(&key("b"), "8"));
    setup
        .server
        .set(30, &[object("a", 3, "red"), object("c", 29, "red")]);
    waiting.await.unwrap();
    assert_eq!(setup.server.lists(), 2);
    assert_eq!(setup.changes.recv().await.unwrap(), "c: none -> 29");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_began_before_the_call_does_not_count() {
    let setup = begin(&[], 3);
    let early = setup.informer.caught_up(&key("b"), "8");
    // The first lists have been refused: another is under way, which may or may not show a write made now.
    tokio::time::sleep(Duration::from_millis(60)).await;
    let late = setup.informer.caught_up(&key("b"), "8");
    early.await;
    setup.informer.synced().await;
    assert_eq!(setup.server.lists(), 4);
    late.await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_informer_that_has_ended() {
    let setup = begin(&[], usize::MAX);
    let (synced, mine) = (
        setup.informer.synced(),
        setup.informer.caught_up(&key("b"), "opaque"),
    );
    setup.stop.cancel();
    tokio::join!(synced, mine);
    setup.tasks.close();
    setup.tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_stops_neither_the_others_nor_itself() {
    let (mut setup, watch) = start(&[]).await;
    let (told, mut survived) = mpsc::unbounded_channel();
    setup.informer.on_change(Box::new(move |old, new| {
        let name = Key::of(old.or(new).unwrap().as_ref()).name;
        assert_ne!(name, "bad", "on purpose");
        let _ = told.send(name);
    }));
    let mut later = listen(&setup.informer);
    for (name, revision) in [("bad", 11), ("good", 12)] {
        watch.send("ADDED", &object(name, revision, "red"));
    }
    for told in ["bad: none -> 11", "good: none -> 12"] {
        assert_eq!(setup.changes.recv().await.unwrap(), told);
        assert_eq!(later.recv().await.unwrap(), told);
    }
    assert_eq!(survived.recv().await.unwrap(), "good");
    assert_eq!(names(&setup.informer.list()), ["bad", "good"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_not_wanted_any_more_goes_with_the_next_one() {
    let (setup, _watch) = start(&[object("a", 3, "red")]).await;
    let (until, (told, mut changes)) = (CancellationToken::new(), mpsc::unbounded_channel::<()>());
    setup.informer.on_change_until(
        until.clone(),
        Box::new(move |_, _| {
            let _ = told.send(());
        }),
    );
    changes.recv().await.unwrap();
    until.cancel();
    let _other = listen(&setup.informer);
    assert_eq!(changes.recv().await, None, "it is dropped");
}
