//! Random histories, with watches that break: in the end the cache, its index, and a copy kept by a handler alone are
//! all exactly what the server has.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_informer::Key;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::Value;

use crate::api::{Watch, object};
use crate::{Setup, begin, key};

const COLOURS: [&str; 3] = ["blue", "green", "red"];

#[derive(Clone, Copy, Debug)]
enum Change {
    Put(usize, usize),
    Delete(usize),
}

#[derive(Clone, Debug)]
enum Op {
    Change(Change),
    /// The stream ends, as it does every few minutes.
    End,
    /// The server has forgotten the client's place, and these changes with it.
    Gone(Vec<Change>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0..6_usize, 0..COLOURS.len()).prop_map(|(name, colour)| Change::Put(name, colour)),
        2 => (0..6_usize).prop_map(Change::Delete),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => change().prop_map(Op::Change),
        1 => Just(Op::End),
        1 => proptest::collection::vec(change(), 0..6).prop_map(Op::Gone),
    ]
}

/// The server's truth.
struct Truth {
    revision: u64,
    objects: BTreeMap<String, Value>,
}

impl Truth {
    /// Makes the change; says what a watch would say of it.
    fn make(&mut self, change: Change) -> Option<(&'static str, Value)> {
        self.revision += 1;
        match change {
            Change::Put(name, colour) => {
                let name = format!("n{name}");
                let new = object(&name, self.revision, COLOURS[colour]);
                let kind = if self.objects.insert(name, new.clone()).is_some() {
                    "MODIFIED"
                } else {
                    "ADDED"
                };
                Some((kind, new))
            }
            Change::Delete(name) => {
                let mut last = self.objects.remove(&format!("n{name}"))?;
                last["metadata"]["resourceVersion"] = self.revision.to_string().into();
                Some(("DELETED", last))
            }
        }
    }

    fn show(&self, setup: &Setup) {
        setup
            .server
            .set(self.revision, &self.objects.values().cloned().collect::<Vec<_>>());
    }
}

async fn play(setup: &mut Setup, truth: &mut Truth, mut watch: Watch, ops: Vec<Op>) {
    for op in ops {
        match op {
            Op::Change(change) => {
                if let Some((kind, object)) = truth.make(change) {
                    watch.send(kind, &object);
                }
                truth.show(setup);
            }
            Op::End => {
                drop(watch);
                watch = setup.server.watch().await;
            }
            Op::Gone(missed) => {
                for change in missed {
                    truth.make(change);
                }
                truth.show(setup);
                watch.gone();
                drop(watch);
                watch = setup.server.watch().await;
            }
        }
    }
    // The last changes may have been deletions that no watch told of: then this takes a fresh list.
    setup
        .informer
        .caught_up(&key("none"), &truth.revision.to_string())
        .await;
}

fn seen(objects: &[Arc<ConfigMap>]) -> Vec<(String, Option<String>)> {
    objects
        .iter()
        .map(|object| {
            (
                Key::of(object.as_ref()).name,
                object.metadata.resource_version.clone(),
            )
        })
        .collect()
}

async fn run(ops: Vec<Op>) {
    let mut setup = begin(&[], 0);
    let mut truth = Truth {
        revision: 10,
        objects: BTreeMap::new(),
    };
    let mirror: Arc<Mutex<BTreeMap<Key, Arc<ConfigMap>>>> = Arc::default();
    let copy = mirror.clone();
    setup.informer.on_change(Box::new(move |old, new| {
        let mut copy = copy.lock();
        if let Some(old) = old {
            copy.remove(&Key::of(old.as_ref()));
        }
        if let Some(new) = new {
            copy.insert(Key::of(new.as_ref()), new.clone());
        }
    }));
    let watch = setup.server.watch().await;
    play(&mut setup, &mut truth, watch, ops).await;

    let expected: Vec<Arc<ConfigMap>> = truth
        .objects
        .values()
        .map(|object| Arc::new(serde_json::from_value(object.clone()).unwrap()))
        .collect();
    assert_eq!(seen(&setup.informer.list()), seen(&expected));
    assert_eq!(
        seen(&mirror.lock().values().cloned().collect::<Vec<_>>()),
        seen(&expected)
    );
    for colour in COLOURS {
        let has = |object: &&Arc<ConfigMap>| object.data.iter().flatten().any(|(_, value)| value == colour);
        let expected: Vec<_> = expected.iter().filter(has).cloned().collect();
        assert_eq!(
            seen(&setup.informer.indexed(&format!("colour/{colour}"))),
            seen(&expected)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cache_and_handlers_end_up_with_what_the_server_has(ops in proptest::collection::vec(op(), 0..40)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(ops));
    }
}
