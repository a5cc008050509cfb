//! All control loops together, against the real API server in this process. Only the pods are pretended.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod cluster;
mod garbage;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::pods;
use cluster::Cluster;
use coracle_controllers::Caches;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Namespace, Pod, Service, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [
                    { "name": "c", "image": "a", "ports": [{ "containerPort": 80 }] }] },
            },
        },
    })
}

fn service(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "selector": { "app": name }, "ports": [{ "port": 80 }] } })
}

fn key(name: &str) -> informer::Key {
    informer::Key::new("default", name)
}

/// Whether the rollout of a Deployment's current spec is complete.
fn is_rolled_out(caches: &Caches, name: &str) -> bool {
    let Some(deployment) = caches.deployments.get(&key(name)) else {
        return false;
    };
    let (Some(spec), Some(status)) = (&deployment.spec, &deployment.status) else {
        return false;
    };
    let wanted = spec.replicas.filter(|replicas| *replicas > 0);
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
}

/// Names of the pods behind a Service that are ready.
fn ready_endpoints(caches: &Caches, service: &str) -> Vec<String> {
    let mut ready = Vec::new();
    for slice in caches
        .endpoint_slices
        .indexed(&format!("service/default/{service}"))
    {
        for endpoint in slice.endpoints.iter().flatten() {
            if endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready)
                == Some(true)
            {
                ready.extend(
                    endpoint
                        .target_ref
                        .as_ref()
                        .and_then(|target| target.name.clone()),
                );
            }
        }
    }
    ready.sort();
    ready
}

fn pod_names(caches: &Caches) -> Vec<String> {
    caches
        .pods
        .in_namespace("default")
        .iter()
        .filter_map(|pod| pod.metadata.name.clone())
        .collect()
}

async fn set_image(cluster: &Cluster, name: &str, image: &str) {
    let patch =
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } } });
    let api = cluster.api::<Deployment>("default");
    let changed = api
        .patch(name, &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .unwrap();
    let version = changed.metadata.resource_version.unwrap();
    cluster.caches.deployments.caught_up(&key(name), &version).await;
}

/// The fewest pods that count as available at any time from now on.
fn fewest_ready(caches: &Caches) -> Arc<AtomicUsize> {
    let fewest = Arc::new(AtomicUsize::new(usize::MAX));
    let (seen, cache) = (fewest.clone(), caches.pods.clone());
    caches.pods.on_change(Box::new(move |_, _| {
        let is_up = |pod: &&Arc<Pod>| pods::is_ready(pod) && !pods::is_terminating(pod);
        seen.fetch_min(
            cache.in_namespace("default").iter().filter(is_up).count(),
            Ordering::Relaxed,
        );
    }));
    fewest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_and_its_undo() {
    let cluster = Cluster::start().await;
    cluster.create::<Service>(service("web")).await;
    cluster.create::<Deployment>(deployment("web", 4)).await;
    cluster
        .until("4 pods", |caches| is_rolled_out(caches, "web"))
        .await;
    let before = pod_names(&cluster.caches);
    cluster
        .until("4 endpoints", |caches| ready_endpoints(caches, "web") == before)
        .await;
    let fewest = fewest_ready(&cluster.caches);

    set_image(&cluster, "web", "b").await;
    cluster
        .until("the rollout", |caches| is_rolled_out(caches, "web"))
        .await;
    cluster
        .until("old pods are gone", |caches| pod_names(caches).len() == 4)
        .await;
    let after = pod_names(&cluster.caches);
    assert!(
        after.iter().all(|name| !before.contains(name)),
        "{before:?} {after:?}"
    );
    cluster
        .until("new endpoints", |caches| ready_endpoints(caches, "web") == after)
        .await;
    assert!(fewest.load(Ordering::Relaxed) >= 3, "{fewest:?} were available");

    set_image(&cluster, "web", "a").await;
    cluster
        .until("the undo", |caches| is_rolled_out(caches, "web"))
        .await;
    assert_eq!(cluster.caches.replica_sets.in_namespace("default").len(), 2);
    let deployment = cluster.caches.deployments.get(&key("web")).unwrap();
    let annotations = deployment.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "3");

    let said = |caches: Caches| {
        let events = cluster.api::<Event>("default");
        async move {
            drop(caches);
            let events = events.list(&ListParams::default()).await.unwrap();
            let mut messages = events.items.iter().filter_map(|event| event.message.as_deref());
            messages.any(|message| message.starts_with("Scaled up replica set web-"))
        }
    };
    cluster.until_async("the event", said).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_rollout_keeps_serving_and_can_be_undone() {
    let cluster = Cluster::start().await;
    cluster.create::<Service>(service("web")).await;
    cluster.create::<Deployment>(deployment("web", 4)).await;
    cluster
        .until("4 pods", |caches| is_rolled_out(caches, "web"))
        .await;
    set_image(&cluster, "web", "broken").await;
    let status = |caches: &Caches| {
        caches
            .deployments
            .get(&key("web"))
            .and_then(|web| web.status.clone())
    };
    cluster
        .until("2 new pods that never get ready", |caches| {
            status(caches).is_some_and(|status| {
                status.updated_replicas == Some(2) && status.available_replicas == Some(3)
            })
        })
        .await;
    cluster
        .until("3 endpoints", |caches| ready_endpoints(caches, "web").len() == 3)
        .await;
    set_image(&cluster, "web", "a").await;
    cluster
        .until("the undo", |caches| is_rolled_out(caches, "web"))
        .await;
    cluster
        .until("4 endpoints", |caches| ready_endpoints(caches, "web").len() == 4)
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_go_with_their_service() {
    let cluster = Cluster::start().await;
    let by_hand = json!({ "metadata": { "name": "hand" },
        "subsets": [{ "addresses": [{ "ip": "127.0.0.9" }], "ports": [{ "port": 81 }] }] });
    // Before their Service, as a file may have it.
    cluster.create::<Endpoints>(by_hand).await;
    cluster.create::<Service>(service("web")).await;
    let bare = json!({ "metadata": { "name": "hand" }, "spec": { "ports": [{ "port": 80 }] } });
    cluster.create::<Service>(bare).await;
    for name in ["web", "hand"] {
        let slices = format!("service/default/{name}");
        cluster
            .until("a slice and Endpoints", |caches| {
                caches.endpoint_slices.indexed(&slices).len() == 1
                    && caches.endpoints.get(&key(name)).is_some()
            })
            .await;
        cluster
            .api::<Service>("default")
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        cluster
            .until("neither", |caches| {
                caches.endpoint_slices.indexed(&slices).is_empty()
                    && caches.endpoints.get(&key(name)).is_none()
            })
            .await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_furnished_and_emptied() {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let space = serde_json::from_value(json!({ "metadata": { "name": "space" } })).unwrap();
    namespaces.create(&PostParams::default(), &space).await.unwrap();
    cluster
        .until_async("its first objects", |_| {
            let accounts = cluster.api::<ServiceAccount>("space");
            let config_maps = cluster.api::<ConfigMap>("space");
            async move {
                let account = accounts.get_opt("default").await.unwrap();
                let authority = config_maps.get_opt("kube-root-ca.crt").await.unwrap();
                let text = authority.and_then(|authority| authority.data?.get("ca.crt").cloned());
                account.is_some() && text.as_deref() == Some("the authority")
            }
        })
        .await;
    // What is deleted comes back, in the namespace `default` too.
    let config_maps = cluster.api::<ConfigMap>("default");
    let name = "kube-root-ca.crt";
    let before = config_maps.get(name).await.unwrap().metadata.uid;
    config_maps.delete(name, &DeleteParams::default()).await.unwrap();
    cluster
        .until_async("its certificate again", |_| {
            let (config_maps, before) = (config_maps.clone(), before.clone());
            async move {
                let now = config_maps.get_opt(name).await.unwrap();
                now.is_some_and(|now| now.metadata.uid != before && now.data.is_some())
            }
        })
        .await;
    let mut web = deployment("web", 3);
    web["metadata"]["namespace"] = "space".into();
    cluster.create::<Deployment>(web).await;
    cluster
        .until("3 pods", |caches| {
            caches
                .pods
                .in_namespace("space")
                .iter()
                .filter(|pod| pods::is_ready(pod))
                .count()
                == 3
        })
        .await;
    namespaces
        .delete("space", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .until("it is gone", |caches| {
            caches.namespaces.get(&informer::Key::new("", "space")).is_none()
                && caches.pods.in_namespace("space").is_empty()
                && caches.deployments.in_namespace("space").is_empty()
        })
        .await;
    cluster.stop().await;
}
