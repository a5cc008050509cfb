//! The garbage collector: what goes with its owner, and what must stay.

use std::sync::Arc;

use api::pods;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use super::cluster::Cluster;
use super::{deployment, is_rolled_out, key, pod_names};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deleted_owner_kept_goes_too() {
    let cluster = Cluster::start().await;
    let deployments = cluster.api::<Deployment>("default");
    for params in [DeleteParams::background(), DeleteParams::foreground()] {
        cluster.create::<Deployment>(deployment("web", 3)).await;
        cluster
            .until("3 pods", |caches| is_rolled_out(caches, "web"))
            .await;
        deployments.delete("web", &params).await.unwrap();
        cluster
            .until("nothing is left", |caches| {
                let is_gone = caches.deployments.get(&key("web")).is_none();
                let is_empty =
                    pod_names(caches).is_empty() && caches.replica_sets.in_namespace("default").is_empty();
                let foreground = params.propagation_policy == Some(kube::api::PropagationPolicy::Foreground);
                assert!(
                    !(foreground && is_gone && !is_empty),
                    "the owner went before what it kept"
                );
                is_gone && is_empty
            })
            .await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_left_alone_and_adopted_again() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment("web", 2)).await;
    cluster
        .until("2 pods", |caches| is_rolled_out(caches, "web"))
        .await;
    let before = pod_names(&cluster.caches);
    let deployments = cluster.api::<Deployment>("default");
    deployments.delete("web", &DeleteParams::orphan()).await.unwrap();
    let owners = |set: &Arc<ReplicaSet>| set.metadata.owner_references.as_ref().map_or(0, Vec::len);
    cluster
        .until("an orphan", |caches| {
            let sets = caches.replica_sets.in_namespace("default");
            caches.deployments.get(&key("web")).is_none() && sets.iter().map(owners).sum::<usize>() == 0
        })
        .await;
    cluster.create::<Deployment>(deployment("web", 2)).await;
    cluster
        .until("adoption", |caches| is_rolled_out(caches, "web"))
        .await;
    assert_eq!(pod_names(&cluster.caches), before);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_orphans_all_stay() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment("web", 150)).await;
    cluster
        .until("150 pods", |caches| is_rolled_out(caches, "web"))
        .await;
    let before = pod_names(&cluster.caches);
    let deployments = cluster.api::<Deployment>("default");
    deployments.delete("web", &DeleteParams::orphan()).await.unwrap();
    let sets = cluster.api::<ReplicaSet>("default");
    let set = sets.list(&ListParams::default()).await.unwrap().items.remove(0);
    let name = set.metadata.name.unwrap();
    sets.delete(&name, &DeleteParams::orphan()).await.unwrap();
    cluster
        .until("the set is gone", |caches| {
            let owners = |pod: &Arc<Pod>| pod.metadata.owner_references.as_ref().map_or(0, Vec::len);
            caches.replica_sets.get(&key(&name)).is_none()
                && caches
                    .pods
                    .in_namespace("default")
                    .iter()
                    .map(owners)
                    .sum::<usize>()
                    == 0
        })
        .await;
    assert_eq!(pod_names(&cluster.caches), before);
    let pods = cluster
        .api::<Pod>("default")
        .list(&ListParams::default())
        .await
        .unwrap();
    assert!(pods.items.iter().all(|pod| !pods::is_terminating(pod)));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_no_namespace_is_never_garbage_of_something_in_one() {
    let cluster = Cluster::start().await;
    let owner = |name: &str, uid: &str| json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid }]);
    let settings: ConfigMap = cluster
        .create(json!({ "metadata": { "name": "settings" } }))
        .await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let uid = settings.metadata.uid.unwrap();
    let space = json!({ "metadata": { "name": "space", "ownerReferences": owner("settings", &uid) } });
    let space = serde_json::from_value(space).unwrap();
    namespaces.create(&PostParams::default(), &space).await.unwrap();
    cluster
        .create::<ConfigMap>(
            json!({ "metadata": { "name": "garbage", "ownerReferences": owner("gone", "gone") } }),
        )
        .await;
    let config_maps = cluster.api::<ConfigMap>("default");
    cluster
        .until_async("garbage is collected", |_| {
            let config_maps = config_maps.clone();
            async move { config_maps.get_opt("garbage").await.unwrap().is_none() }
        })
        .await;
    let space = namespaces.get("space").await.unwrap();
    assert_eq!(space.metadata.deletion_timestamp, None);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreground_deletion_of_anything_ends() {
    let cluster = Cluster::start().await;
    cluster
        .create::<ConfigMap>(json!({ "metadata": { "name": "settings" } }))
        .await;
    let config_maps = cluster.api::<ConfigMap>("default");
    config_maps
        .delete("settings", &DeleteParams::foreground())
        .await
        .unwrap();
    cluster
        .until_async("it is gone", |_| {
            let config_maps = config_maps.clone();
            async move { config_maps.get_opt("settings").await.unwrap().is_none() }
        })
        .await;
    cluster.stop().await;
}
