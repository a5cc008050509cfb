//! What the loops tell the user, in conditions and events.

use coracle_controllers::Caches;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::Cluster;
use crate::{deployment, is_rolled_out};

/// A condition of a namespace: its status, reason and message.
fn condition(namespace: &Namespace, type_: &str) -> Option<String> {
    let status = namespace.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|condition| condition.type_ == type_)?;
    let (reason, message) = (found.reason.as_deref()?, found.message.as_deref()?);
    Some(format!("{} {reason}: {message}", found.status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_cannot_go_says_why() {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let term = serde_json::from_value(json!({ "metadata": { "name": "term" } })).unwrap();
    namespaces.create(&PostParams::default(), &term).await.unwrap();
    cluster
        .create::<ConfigMap>(json!({
            "metadata": { "name": "kept", "namespace": "term", "finalizers": ["a.b/c"] } }))
        .await;
    namespaces.delete("term", &DeleteParams::default()).await.unwrap();
    let key = informer::Key::new("", "term");
    let says = |caches: &Caches, type_: &str| condition(&*caches.namespaces.get(&key)?, type_);
    cluster
        .until("what keeps it", |caches| {
            says(caches, "NamespaceContentRemaining").as_deref()
                == Some(
                    "True SomeResourcesRemain: Some resources are remaining: configmaps. has 1 resource instances",
                )
        })
        .await;
    assert_eq!(
        says(&cluster.caches, "NamespaceFinalizersRemaining").as_deref(),
        Some(
            "True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: \
             a.b/c in 1 resource instances"
        )
    );
    assert_eq!(
        says(&cluster.caches, "NamespaceDeletionContentFailure").as_deref(),
        Some("False ContentDeleted: All content successfully deleted, may be waiting on finalization")
    );
    let release = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    cluster
        .api::<ConfigMap>("term")
        .patch("kept", &PatchParams::default(), &release)
        .await
        .unwrap();
    cluster
        .until("it is gone", |caches| caches.namespaces.get(&key).is_none())
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_that_knows_nothing_says_why() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment("web", 1)).await;
    cluster
        .until("a pod", |caches| is_rolled_out(caches, "web"))
        .await;
    cluster
        .create::<HorizontalPodAutoscaler>(json!({
            "metadata": { "name": "web" },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
                "maxReplicas": 3,
                "metrics": [{ "type": "Resource", "resource": {
                    "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } }],
            },
        }))
        .await;
    let why = "failed to get cpu utilization: unable to get metrics for resource cpu: \
               no metrics returned from resource metrics API";
    let first = format!("failed to get cpu resource metric value: {why}");
    let expected = [
        ("FailedGetResourceMetric", why.to_owned()),
        (
            "FailedComputeMetricsReplicas",
            format!("invalid metrics (1 invalid out of 1), first error is: {first}"),
        ),
    ];
    cluster
        .until_async("both events", |_| {
            let (events, expected) = (cluster.api::<Event>("default"), expected.clone());
            async move {
                let events = events.list(&ListParams::default()).await.unwrap();
                expected.iter().all(|(reason, message)| {
                    events.items.iter().any(|event| {
                        event.reason.as_deref() == Some(reason) && event.message.as_deref() == Some(message)
                    })
                })
            }
        })
        .await;
    cluster
        .until_async("the condition", |_| {
            let autoscalers = cluster.api::<HorizontalPodAutoscaler>("default");
            async move {
                let status = autoscalers.get("web").await.unwrap().status;
                let mut conditions = status.and_then(|status| status.conditions).into_iter().flatten();
                conditions.any(|condition| {
                    condition.type_ == "ScalingActive"
                        && condition.status == "False"
                        && condition.reason.as_deref() == Some("FailedGetResourceMetric")
                        && condition.message
                            == Some(format!("the HPA was unable to compute the replica count: {why}"))
                })
            }
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_and_goes_is_told_of_once() {
    let cluster = Cluster::start().await;
    let told = |count: usize| {
        let events = cluster.api::<Event>("default");
        async move {
            let about_nodes = ListParams::default().fields("involvedObject.kind=Node");
            let events = events.list(&about_nodes).await.unwrap().items;
            let told: Vec<_> = events
                .iter()
                .map(|event| (event.message.as_deref(), event.count))
                .collect();
            let expected = [
                (
                    Some("Node node-1 event: Registered Node node-1 in Controller"),
                    Some(1),
                ),
                (
                    Some("Node node-1 event: Removing Node node-1 from Controller"),
                    Some(1),
                ),
            ];
            expected.iter().take(count).all(|event| told.contains(event)) && told.len() == count
        }
    };
    cluster.until_async("the first event", |_| told(1)).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    nodes.delete("node-1", &DeleteParams::default()).await.unwrap();
    cluster.until_async("both events", |_| told(2)).await;
    cluster.stop().await;
}
