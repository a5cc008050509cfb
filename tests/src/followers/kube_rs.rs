//! The follower of kube-rs: its watcher feeds its store.
//!
//! Flows out: a line for each thing that the watcher does, as the followers in tests/clients have them, but that the
//! revisions of lists and watches are unknown here (`?`); and the store once it holds the ConfigMap `end`.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::reflector;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, ResourceExt as _};

/// Follows until the end.
///
/// # Errors
/// If there is no cluster to follow.
pub async fn follow(namespace: &str) -> Result<(), kube::Error> {
    let config_maps: Api<ConfigMap> = Api::namespaced(Client::try_default().await?, namespace);
    let (reader, writer) = reflector::store();
    let events = watch(config_maps, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(reflector(writer, events));
    let mut known = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => tell(&event, &mut known),
            Err(error) => println!("error {}", format!("{error:?}").replace('\n', " ")),
        }
        let view: BTreeMap<_, _> = reader.state().iter().map(|each| named(each)).collect();
        if view.contains_key("end") {
            println!("view {}", serde_json::json!(view));
            break;
        }
    }
    Ok(())
}

/// A line or none; `known` has the names seen, for an add and an update are the same event.
fn tell(event: &Event<ConfigMap>, known: &mut BTreeMap<String, String>) {
    match event {
        Event::Init => {
            println!("list ?");
            known.clear();
        }
        Event::InitDone => println!("watch ?"),
        Event::InitApply(config_map) | Event::Apply(config_map) => {
            let (name, revision) = named(config_map);
            let word = if known.contains_key(&name) {
                "update"
            } else {
                "add"
            };
            println!("{word} {name} {revision}");
            known.insert(name, revision);
        }
        Event::Delete(config_map) => {
            let (name, revision) = named(config_map);
            println!("delete {name} {revision}");
            known.remove(&name);
        }
    }
}

fn named(config_map: &ConfigMap) -> (String, String) {
    (
        config_map.name_any(),
        config_map.resource_version().unwrap_or_default(),
    )
}
