//! What is kept of the past, what watchers see of it, and what a group commit promises.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use bytes::Bytes;
use coracle_store::{Error, Event, Expect, History, Interest, Revision, Sqlite, Store};
use futures::FutureExt;
use futures::future::join_all;

const HISTORY: History = History {
    least: 100,
    most: 200,
    bytes: 1 << 20,
    batch: 50,
};

/// Writes one key over and over: `count` revisions, none of them needed for the latest state but the last.
async fn churn(store: &Sqlite, key: &str, count: usize, size: usize) {
    let mut expect = Expect::Absent;
    for _ in 0..count {
        let entry = store
            .put(key, Bytes::from(vec![b'x'; size]), expect)
            .await
            .unwrap();
        expect = Expect::Revision(entry.modified);
    }
}

/// The oldest revision that can still be read.
async fn oldest(store: &Sqlite) -> Revision {
    match store.list("/", None, 1, Some(0)).await {
        Ok(_) => 0,
        Err(Error::Compacted { oldest, .. }) => oldest,
        Err(error) => panic!("{error:?}"),
    }
}

fn rows(file: &Path) -> i64 {
    let output = rusqlite::Connection::open(file).unwrap();
    output
        .query_row("SELECT count(*) FROM log", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn old_revisions_are_dropped_and_stay_dropped_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let store = Sqlite::open_with(&file, HISTORY).unwrap();
    store
        .put("/old", Bytes::from_static(b"kept"), Expect::Absent)
        .await
        .unwrap();
    let gone = store.put("/gone", Bytes::new(), Expect::Absent).await.unwrap();
    store.delete("/gone", gone.modified).await.unwrap();
    churn(&store, "/new", 1000, 10).await;
    // Compaction follows the answer, in the same thread: the next answer comes after it.
    let _ = store.delete("/none", 1).await;
    let kept = store.revision() - oldest(&store).await;
    assert!((200..250).contains(&kept), "{kept}");
    let before = oldest(&store).await;
    drop(store);
    assert!(rows(&file) <= 252, "{}", rows(&file));

    let store = Sqlite::open_with(&file, HISTORY).unwrap();
    assert_eq!(oldest(&store).await, before);
    assert_eq!(store.revision(), 1003);
    assert_eq!(store.get("/old").await.unwrap().unwrap().modified, 1);
    assert!(store.get("/gone").await.unwrap().is_none());
    let mut watch = store.watch("/", before, None).await.unwrap();
    let events = watch.next().await.unwrap();
    assert_eq!(events.first().unwrap().revision(), before + 1);
    assert!(
        events.iter().all(|event| event.previous().is_some()),
        "the versions before are there as well"
    );
}

#[tokio::test]
async fn large_values_shorten_the_history_down_to_the_floor() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open_with(&folder.path().join("test.db"), HISTORY).unwrap();
    churn(&store, "/large", 180, 100_000).await;
    let _ = store.delete("/none", 1).await;
    let kept = store.revision() - oldest(&store).await;
    assert!((100..150).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_slow_watcher_is_told_and_others_are_not_disturbed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open_with(&folder.path().join("test.db"), HISTORY).unwrap();
    let mut slow = store.watch("/new", 0, None).await.unwrap();
    let mut idle = store.watch("/other", 0, None).await.unwrap();
    churn(&store, "/new", 1000, 10).await;
    assert!(matches!(
        slow.next().await,
        Err(Error::Compacted { asked: 0, .. })
    ));
    assert!(
        matches!(slow.next().await, Err(Error::Compacted { asked: 0, .. })),
        "and stays told"
    );
    assert_eq!(
        idle.progress(),
        1000,
        "nothing was for it, so it has missed nothing"
    );
    assert!(idle.next().now_or_never().is_none());
    churn(&store, "/other/1", 1, 10).await;
    assert_eq!(idle.next().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_watcher_is_not_told_what_it_has_no_interest_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("test.db")).unwrap();
    churn(&store, "/a", 20, 10).await;
    let odd: Interest = Box::new(|event| event.revision() % 2 == 1);
    let nothing: Interest = Box::new(|_| false);
    let mut some = store.watch("/", 10, Some(odd)).await.unwrap();
    let mut none = store.watch("/", 10, Some(nothing)).await.unwrap();
    churn(&store, "/b", 10, 10).await;
    let events = some.next().await.unwrap();
    let revisions: Vec<Revision> = events.iter().map(Event::revision).collect();
    assert_eq!(revisions, (11..30).step_by(2).collect::<Vec<_>>());
    assert_eq!(some.progress(), 30);
    assert!(none.next().now_or_never().is_none());
    assert_eq!(none.progress(), 30);
}

#[tokio::test]
async fn a_watch_from_the_future_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("test.db")).unwrap();
    assert!(matches!(
        store.watch("/", 1, None).await,
        Err(Error::Future { asked: 1, current: 0 })
    ));
    assert!(matches!(
        store.list("/", None, 0, Some(7)).await,
        Err(Error::Future { asked: 7, current: 0 })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_of_one_key_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("test.db")).unwrap();
    let mut watch = store.watch("/counter", 0, None).await.unwrap();
    let first = store
        .put("/counter", Bytes::from_static(b"0"), Expect::Absent)
        .await
        .unwrap();
    // All at once, all with the same expectation: exactly one can be right, also within one group.
    let all = join_all((0..100).map(|_| {
        store.put(
            "/counter",
            Bytes::from_static(b"1"),
            Expect::Revision(first.modified),
        )
    }))
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 99));
    for error in refused {
        assert!(matches!(error, Err(Error::Conflict { latest: Some(latest) }) if latest.modified == 2));
    }
    assert_eq!(watch.next().await.unwrap().last().map(Event::revision), Some(2));
}
