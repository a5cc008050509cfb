//! Random operations against a naive model: the whole history as a list.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use coracle_store::{Error, Event, Expect, History, Revision, Sqlite, Store};
use futures::FutureExt;
use proptest::prelude::*;

const HISTORY: History = History {
    least: 8,
    most: 20,
    bytes: 1 << 20,
    batch: 4,
};
const PREFIXES: [&str; 4] = ["/", "/a/", "/a/1", "/nothing/"];

#[derive(Clone, Debug)]
enum Op {
    Create(usize),
    Update(usize),
    Delete(usize),
    /// With an expectation that is wrong.
    Stale(usize),
    Reopen,
    List {
        prefix: usize,
        back: u64,
        limit: usize,
    },
    Watch {
        prefix: usize,
        back: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..12_usize).prop_map(Op::Create),
        6 => (0..12_usize).prop_map(Op::Update),
        3 => (0..12_usize).prop_map(Op::Delete),
        1 => (0..12_usize).prop_map(Op::Stale),
        1 => Just(Op::Reopen),
        3 => (0..4_usize, 0..40_u64, 0..5_usize).prop_map(|(prefix, back, limit)| Op::List { prefix, back, limit }),
        3 => (0..4_usize, 0..40_u64).prop_map(|(prefix, back)| Op::Watch { prefix, back }),
    ]
}

/// What happened at each revision, from 1.
#[derive(Default)]
struct Model(Vec<(String, Option<Bytes>)>);

/// Key, value, created, modified.
type Row = (String, Bytes, Revision, Revision);

impl Model {
    fn revision(&self) -> Revision {
        self.0.len() as Revision
    }

    fn at(&self, revision: Revision, prefix: &str) -> Vec<Row> {
        let mut state: BTreeMap<&str, Row> = BTreeMap::new();
        for ((key, value), modified) in self.0.iter().zip(1..=revision) {
            match value {
                Some(value) => {
                    let created = state.get(&**key).map_or(modified, |row| row.2);
                    state.insert(key, (key.clone(), value.clone(), created, modified));
                }
                None => {
                    state.remove(&**key);
                }
            }
        }
        state
            .into_values()
            .filter(|row| row.0.starts_with(prefix))
            .collect()
    }

    fn latest(&self, key: &str) -> Option<Row> {
        self.at(self.revision(), key).into_iter().find(|row| row.0 == key)
    }
}

fn key(number: usize) -> String {
    format!("/{}/{number}", ["a", "b", "c"][number % 3])
}

async fn run(path: &Path, ops: Vec<Op>) {
    let open = || Sqlite::open_with(path, HISTORY).unwrap();
    let mut model = Model::default();
    let mut store = open();
    let mut live = store.watch("/", 0, None).await.unwrap();
    for op in ops {
        let value = Bytes::from(format!("value {}", model.revision()));
        match op {
            Op::Create(number) => {
                let key = key(number);
                let done = store.put(&key, value.clone(), Expect::Absent).await;
                match model.latest(&key) {
                    None => {
                        model.0.push((key, Some(value)));
                        assert_eq!(done.unwrap().modified, model.revision());
                    }
                    Some(row) => assert_conflict(done, Some(row.3)),
                }
            }
            Op::Update(number) => {
                let key = key(number);
                let latest = model.latest(&key);
                let expect = latest.as_ref().map_or(1, |row| row.3);
                let done = store.put(&key, value.clone(), Expect::Revision(expect)).await;
                if latest.is_some() {
                    model.0.push((key, Some(value)));
                    assert_eq!(done.unwrap().modified, model.revision());
                } else {
                    assert_conflict(done, None);
                }
            }
            Op::Delete(number) => {
                let key = key(number);
                let latest = model.latest(&key);
                let done = store.delete(&key, latest.as_ref().map_or(1, |row| row.3)).await;
                if latest.is_some() {
                    model.0.push((key, None));
                    assert_eq!(done.unwrap(), model.revision());
                } else {
                    assert_conflict(done, None);
                }
            }
            Op::Stale(number) => {
                let found = model.latest(&key(number)).map(|row| row.3);
                let wrong = model.revision() + 1;
                assert_conflict(
                    store.put(&key(number), value, Expect::Revision(wrong)).await,
                    found,
                );
                assert_conflict(store.delete(&key(number), wrong).await, found);
            }
            Op::Reopen => {
                drop(store);
                store = open();
                live = store.watch("/", model.revision(), None).await.unwrap();
            }
            Op::List { prefix, back, limit } => {
                let at = model.revision().saturating_sub(back);
                check_list(&store, &model, PREFIXES[prefix], at, limit).await;
            }
            Op::Watch { prefix, back } => {
                let after = model.revision().saturating_sub(back);
                check_watch(&store, &model, PREFIXES[prefix], after).await;
            }
        }
        assert_eq!(store.revision(), model.revision());
        while live.progress() < model.revision() {
            live.next()
                .now_or_never()
                .expect("a change that is visible is watchable")
                .unwrap();
        }
        for number in 0..12 {
            let found = store.get(&key(number)).await.unwrap();
            assert_eq!(found.map(|entry| row(&entry)), model.latest(&key(number)));
        }
    }
}

fn row(entry: &coracle_store::Entry) -> Row {
    (
        entry.key.to_string(),
        entry.value.clone(),
        entry.created,
        entry.modified,
    )
}

fn assert_conflict<T: std::fmt::Debug>(done: Result<T, Error>, found: Option<Revision>) {
    let Err(Error::Conflict { latest }) = done else {
        panic!("no conflict: {done:?}")
    };
    assert_eq!(latest.map(|latest| latest.modified), found);
}

/// A revision may only be refused if it is older than what is always kept.
fn assert_compacted(model: &Model, at: Revision, error: &Error) {
    let Error::Compacted { asked, oldest } = error else {
        panic!("{error:?}")
    };
    assert_eq!(*asked, at);
    assert!(
        at < *oldest && *oldest + HISTORY.least as u64 <= model.revision(),
        "{error:?}"
    );
}

async fn check_list(store: &Sqlite, model: &Model, prefix: &str, at: Revision, limit: usize) {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = match store.list(prefix, after.as_deref(), limit, Some(at)).await {
            Ok(page) => page,
            Err(error) => return assert_compacted(model, at, &error),
        };
        assert_eq!(page.revision, at);
        found.extend(page.entries.iter().map(|entry| row(entry)));
        if page.remaining == 0 {
            break;
        }
        assert_eq!(page.entries.len(), limit);
        after = found.last().map(|row| row.0.clone());
    }
    assert_eq!(found, model.at(at, prefix));
}

async fn check_watch(store: &Sqlite, model: &Model, prefix: &str, after: Revision) {
    let mut watch = match store.watch(prefix, after, None).await {
        Ok(watch) => watch,
        Err(error) => return assert_compacted(model, after, &error),
    };
    let mut seen = Vec::new();
    while watch.progress() < model.revision() {
        let events = watch
            .next()
            .now_or_never()
            .expect("what has happened can be read at once")
            .unwrap();
        seen.extend(events.into_iter().map(|event| {
            let value = match &event {
                Event::Put { entry, .. } => Some(entry.value.clone()),
                Event::Delete { .. } => None,
            };
            let previous = event.previous().map(|previous| row(previous));
            (event.revision(), event.key().to_string(), value, previous)
        }));
    }
    let expected: Vec<_> = (1..)
        .zip(&model.0)
        .filter(|(revision, (key, _))| *revision > after && key.starts_with(prefix))
        .map(|(revision, (key, value))| {
            let previous = model.at(revision - 1, key).into_iter().find(|row| row.0 == *key);
            (revision, key.clone(), value.clone(), previous)
        })
        .collect();
    assert_eq!(seen, expected);
    assert!(
        watch.next().now_or_never().is_none(),
        "nothing more until something happens"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(ops in proptest::collection::vec(op(), 1..120)) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(&folder.path().join("test.db"), ops));
    }
}
