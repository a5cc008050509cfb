//! What was acknowledged survives `kill -9`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use coracle_store::{Expect, History, Sqlite, Store};
use futures::future::join_all;

const FILE: &str = "STORE_TEST_FILE";
const WRITERS: usize = 8;
/// Short, so that kills hit compaction too.
const HISTORY: History = History {
    least: 100,
    most: 200,
    bytes: 1 << 20,
    batch: 20,
};

/// Not a test of its own: the process that is killed. Prints `ack KEY REVISION` after each acknowledgement.
#[test]
fn writes_until_killed() {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let store = Arc::new(Sqlite::open_with(file.as_ref(), HISTORY).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let writers = (0..WRITERS).map(|writer| runtime.spawn(write_for_ever(store.clone(), writer)));
    runtime.block_on(join_all(writers));
}

async fn write_for_ever(store: Arc<Sqlite>, writer: usize) {
    for number in 0.. {
        let key = format!("/{writer}/{}", number % 50);
        let latest = store.get(&key).await.unwrap();
        let expect = latest.map_or(Expect::Absent, |latest| Expect::Revision(latest.modified));
        let entry = store
            .put(&key, Bytes::from(format!("{number:0>500}")), expect)
            .await
            .unwrap();
        let line = format!("ack {key} {}\n", entry.modified);
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let mut acknowledged = BTreeMap::new();
    for lines in [1, 300, 500, 700, 3000] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_killed", "--nocapture"])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut count = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((key, revision)) = line.strip_prefix("ack ").and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            acknowledged.insert(key.to_owned(), revision.parse::<u64>().unwrap());
            count += 1;
            if count == lines {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(count >= lines, "the writer ended by itself");

        let store = Sqlite::open_with(&file, HISTORY).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (key, revision) in &acknowledged {
            let found = runtime.block_on(store.get(key)).unwrap();
            assert!(
                found.is_some_and(|entry| entry.modified >= *revision),
                "{key} at {revision} is lost"
            );
        }
    }
}
