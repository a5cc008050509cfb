//! The power goes at any instant of a busy run: whatever was acknowledged is there again, nothing is there by half, and
//! watches miss nothing.
//!
//! One run is recorded, disk writes and acknowledgements; then the disk is made what it may have been at many instants of
//! it (`CRASH_POINTS`, 300 if not set; `CRASH_SEED` for another run), and the store is opened on it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bytes::Bytes;
use coracle_store::{Entry, Error, Event, Expect, History, Revision, Sqlite, Store};
use disk::Act;
use futures::FutureExt as _;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

const HISTORY: History = History {
    least: 50,
    most: 200,
    bytes: 1 << 20,
    batch: 16,
};
const ROUNDS: u32 = 500;
const KEYS: u32 = 40;
/// So many acts make the file.
const CREATION: usize = 40;

/// What happened at each revision: the key, and its value or none.
type Model = BTreeMap<Revision, (String, Option<Bytes>)>;

/// Key, value, created, modified.
type Row = (String, Bytes, Revision, Revision);

fn state(model: &Model, at: Revision) -> Vec<Row> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for (modified, (key, value)) in model.range(..=at) {
        match value {
            Some(value) => {
                let created = rows.get(&**key).map_or(*modified, |row| row.2);
                rows.insert(key, (key.clone(), value.clone(), created, *modified));
            }
            None => {
                rows.remove(&**key);
            }
        }
    }
    rows.into_values().collect()
}

fn row(entry: &Entry) -> Row {
    (
        entry.key.to_string(),
        entry.value.clone(),
        entry.created,
        entry.modified,
    )
}

/// One write, and the mark of its acknowledgement.
async fn change(store: &Sqlite, key: String, value: Option<Bytes>) -> (Revision, (String, Option<Bytes>)) {
    let latest = store.get(&key).await.unwrap().map(|entry| entry.modified);
    let revision = match (&value, latest) {
        (None, Some(latest)) => store.delete(&key, latest).await.unwrap(),
        (value, latest) => {
            let value = value.clone().unwrap_or_default();
            let expect = latest.map_or(Expect::Absent, Expect::Revision);
            store.put(&key, value, expect).await.unwrap().modified
        }
    };
    disk::note(Act::Acknowledged(revision));
    let is_deleted = value.is_none() && latest.is_some();
    (revision, (key, (!is_deleted).then(|| value.unwrap_or_default())))
}

/// Several writes at once, again and again, small and large, with a restart now and then.
async fn work(path: &Path, random: &mut StdRng) -> Model {
    let mut model = Model::new();
    let mut store = Sqlite::open_with(path, HISTORY).unwrap();
    for _ in 0..ROUNDS {
        let keys: BTreeSet<u32> = (0..random.random_range(1..7))
            .map(|_| random.random_range(0..KEYS))
            .collect();
        let writes = keys.into_iter().map(|key| {
            let value = random.random_bool(0.8).then(|| {
                let most = if random.random_bool(0.1) { 40_000 } else { 400 };
                let mut bytes = vec![0; random.random_range(0..most)];
                random.fill_bytes(&mut bytes);
                Bytes::from(bytes)
            });
            change(&store, format!("/key/{key}"), value)
        });
        model.extend(join_all(writes.collect::<Vec<_>>()).await);
        if random.random_bool(0.01) {
            drop(store);
            store = Sqlite::open_with(path, HISTORY).unwrap();
        }
    }
    model
}

/// Opens what the power cut has left, and compares.
async fn check(path: &Path, model: &Model, acknowledged: Revision) {
    let store = Sqlite::open_with(path, HISTORY).unwrap();
    let revision = store.revision();
    assert!(
        acknowledged <= revision,
        "revision {revision}, and {acknowledged} was acknowledged"
    );
    let page = store.list("/", None, 0, None).await.unwrap();
    let found: Vec<Row> = page.entries.iter().map(|entry| row(entry)).collect();
    // Not `assert_eq!`: nobody reads a thousand rows.
    assert!(
        found == state(model, revision),
        "the rows of revision {revision} are not those written"
    );
    for after in 0..=revision {
        match store.watch("/", after, None).await {
            Ok(watch) => {
                check_watch(watch, model, after, revision).await;
                break;
            }
            Err(Error::Compacted { oldest, .. }) => {
                assert!(after < oldest && oldest + HISTORY.least as u64 <= revision);
            }
            Err(error) => panic!("{error}"),
        }
    }
    let next = store.put("/next", Bytes::new(), Expect::Absent).await.unwrap();
    assert_eq!(next.modified, revision + 1);
}

/// Every change from there on, in order, none missing.
async fn check_watch(
    mut watch: Box<dyn coracle_store::Watch>,
    model: &Model,
    after: Revision,
    until: Revision,
) {
    let mut seen = Vec::new();
    while watch.progress() < until {
        let events = watch.next().now_or_never().expect("it has happened").unwrap();
        seen.extend(events.into_iter().map(|event| {
            let value = match &event {
                Event::Put { entry, .. } => Some(entry.value.clone()),
                Event::Delete { .. } => None,
            };
            (event.revision(), (event.key().to_string(), value))
        }));
    }
    let expected = model
        .range(after + 1..)
        .take_while(|(revision, _)| **revision <= until)
        .map(|(revision, change)| (*revision, change.clone()));
    assert!(
        seen.into_iter().eq(expected),
        "a watch from {after} to {until} is not what was written"
    );
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_with_the_power() {
    let seed = number("CRASH_SEED", 1);
    let mut random = StdRng::seed_from_u64(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    disk::start();
    let model = runtime.block_on(work(&folder.path().join("store.db"), &mut random));
    let acts = disk::stop();
    let syncs = acts.iter().filter(|act| matches!(act, Act::Sync(_))).count();
    let points = number("CRASH_POINTS", 300);
    println!(
        "seed {seed}: {} revisions, {} acts, {syncs} syncs, {points} crash points",
        model.len(),
        acts.len()
    );
    for point in 0..points {
        // Every instant at which the file comes into being, and then any.
        let instant = match usize::try_from(point).unwrap() {
            first if first < CREATION => first,
            _ => random.random_range(0..=acts.len()),
        };
        let before = &acts[..instant];
        let acknowledged = before.iter().filter_map(|act| match act {
            Act::Acknowledged(revision) => Some(*revision),
            _ => None,
        });
        let acknowledged = acknowledged.max().unwrap_or(0);
        let left = tempfile::tempdir().unwrap();
        for (path, bytes) in disk::after_power_cut(before, &mut random) {
            fs::write(left.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
        println!("power cut after {} acts", before.len());
        runtime.block_on(check(&left.path().join("store.db"), &model, acknowledged));
    }
}
