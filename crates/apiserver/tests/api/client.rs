//! kube's client in process, without a socket: how every component of the cluster uses the API.

use coracle_apiserver::Identity;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::door::{DEPLOYMENTS, Door, deployment};

fn client(door: &Door) -> Client {
    Client::new(
        door.api.service(Identity::new("system:kube-scheduler", &[])),
        "default",
    )
}

fn named(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

#[tokio::test]
async fn every_verb() {
    let door = Door::open().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&door));
    let mut made = maps.create(&PostParams::default(), &named("a")).await.unwrap();
    made.data = Some([("k".to_owned(), "v".to_owned())].into());
    let replaced = maps.replace("a", &PostParams::default(), &made).await.unwrap();
    let stale = maps
        .replace("a", &PostParams::default(), &made)
        .await
        .unwrap_err();
    assert!(matches!(stale, kube::Error::Api(status) if status.is_conflict()));
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "x": "y" } } }));
    let patched = maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(
        (patched.data, patched.metadata.uid),
        (replaced.data, replaced.metadata.uid)
    );
    let list = maps.list(&ListParams::default().labels("x=y")).await.unwrap();
    assert_eq!(list.items.len(), 1);
    let metadata = maps.get_metadata("a").await.unwrap();
    assert_eq!(metadata.labels()["x"], "y");
    maps.delete("a", &DeleteParams::background()).await.unwrap();
    assert_eq!(maps.get_opt("a").await.unwrap(), None);
}

#[tokio::test]
async fn scale_by_kube() {
    let door = Door::open().await;
    door.make(DEPLOYMENTS, &deployment("web")).await;
    let deployments: Api<Deployment> = Api::default_namespaced(client(&door));
    let patch = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    let scale = deployments
        .patch_scale("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(3));
}

/// Both ways of kube's watcher: list then watch, and one watch that begins with what is there.
#[tokio::test]
async fn kubes_watcher_sees_all() {
    let door = Door::open().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&door));
    for (number, config) in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut events = std::pin::pin!(watcher::watcher(maps.clone(), config));
        let mut there = Vec::new();
        loop {
            match events.next().await.unwrap().unwrap() {
                Event::InitApply(map) => there.push(map.name_any()),
                Event::InitDone => break,
                _ => {}
            }
        }
        assert!(there.contains(&"kube-root-ca.crt".to_owned()), "{there:?}");
        let name = format!("new-{number}");
        maps.create(&PostParams::default(), &named(&name)).await.unwrap();
        let Some(Ok(Event::Apply(map))) = events.next().await else {
            panic!("no event")
        };
        assert_eq!(map.name_any(), name);
        maps.delete(&name, &DeleteParams::default()).await.unwrap();
        let Some(Ok(Event::Delete(map))) = events.next().await else {
            panic!("no event")
        };
        assert_eq!(map.name_any(), name);
    }
}
