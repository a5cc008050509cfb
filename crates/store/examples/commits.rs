//! How fast the store is on this machine's disk: one writer after another, many at once, lists, and opening.
//!
//! `cargo run --release -p coracle-store --example commits [FILE]`: without FILE in a temporary folder.

#![allow(clippy::unwrap_used, reason = "an example ends by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use coracle_store::{Expect, Sqlite, Store};
use futures::future::join_all;

const VALUE: usize = 2_000;
const KEYS: usize = 10_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let file = std::env::args()
        .nth(1)
        .map_or_else(|| folder.path().join("test.db"), PathBuf::from);
    let value = Bytes::from(vec![b'x'; VALUE]);
    let store = Arc::new(Sqlite::open(&file).unwrap());

    let begin = Instant::now();
    for number in 0..1_000 {
        store
            .put(&format!("/alone/{number}"), value.clone(), Expect::Absent)
            .await
            .unwrap();
    }
    println!(
        "one writer: {} us a durable write",
        begin.elapsed().as_micros() / 1_000
    );

    for writers in [8, 64, 256] {
        let begin = Instant::now();
        let all = (0..writers).map(|writer| {
            let (store, value) = (store.clone(), value.clone());
            tokio::spawn(async move {
                for number in 0..KEYS / writers {
                    let key = format!("/{writers}/{writer}/{number}");
                    store.put(&key, value.clone(), Expect::Absent).await.unwrap();
                }
            })
        });
        join_all(all).await;
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "{writers} writers: {:.0} durable writes a second",
            (KEYS / writers * writers) as f64 / seconds
        );
    }

    let begin = Instant::now();
    let page = store.list("/256/", None, 0, None).await.unwrap();
    println!(
        "list of {}: {} us",
        page.entries.len(),
        begin.elapsed().as_micros()
    );

    drop(page);
    drop(store);
    let begin = Instant::now();
    let store = Sqlite::open(&file).unwrap();
    println!(
        "opening with {} revisions: {} ms",
        store.revision(),
        begin.elapsed().as_millis()
    );
}
