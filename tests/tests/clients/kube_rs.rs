//! kube-rs, in this process.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_tests::{Cluster, programs};
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{
    ApiResource, AttachParams, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams,
    PostParams, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::discovery::{Scope, verbs};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, Config, Discovery, ResourceExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Where something fails is told by its error.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const NAMESPACE: &str = "default";
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn kube_rs_does_everything() {
    let cluster = Cluster::start();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let client = Client::try_from(config).unwrap();
    every_kind(&client).await.unwrap();
    let pod = informer(&client).await.unwrap();
    let pods = Api::namespaced(client, NAMESPACE);
    commands(&pods, &pod).await.unwrap();
    ports(&pods, &pod).await.unwrap();
    logs(&pods).await.unwrap();
    cluster.stop();
}

/// Lists, creates, watches, patches, applies and deletes an object of every kind that discovery tells of.
async fn every_kind(client: &Client) -> Result {
    let text = std::fs::read_to_string(programs::client("kinds.json"))?;
    let specs: BTreeMap<String, Value> = serde_json::from_str(&text)?;
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut done = Vec::new();
    for (resource, capabilities) in discovery.groups().flat_map(|group| {
        group
            .versions()
            .flat_map(|version| group.versioned_resources(version))
    }) {
        let needed = [verbs::CREATE, verbs::LIST, verbs::WATCH, verbs::PATCH];
        if !needed.iter().all(|verb| capabilities.supports_operation(verb)) {
            continue;
        }
        let id = format!("{}/{}", resource.api_version, resource.kind);
        let spec = specs
            .get(&id)
            .unwrap_or_else(|| panic!("{id} is not in kinds.json"));
        let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
            Api::namespaced_with(client.clone(), NAMESPACE, &resource)
        } else {
            Api::all_with(client.clone(), &resource)
        };
        one_kind(&api, &resource, spec).await?;
        done.push(id);
    }
    done.sort();
    assert_eq!(done, specs.into_keys().collect::<Vec<_>>());
    Ok(())
}

async fn one_kind(api: &Api<DynamicObject>, resource: &ApiResource, spec: &Value) -> Result {
    let name = format!("of-{}", resource.kind.to_lowercase());
    let with = |labels: Value| {
        let mut object = spec.clone();
        object["apiVersion"] = json!(resource.api_version);
        object["kind"] = json!(resource.kind);
        object["metadata"] = json!({ "name": name, "labels": labels });
        serde_json::from_value::<DynamicObject>(object)
    };
    let before = api.list(&ListParams::default()).await?;
    api.create(&PostParams::default(), &with(json!({}))?).await?;
    let patches: [Patch<Value>; 3] = [
        Patch::Merge(json!({ "metadata": { "labels": { "by": "merge" } } })),
        Patch::Strategic(json!({ "metadata": { "labels": { "also": "strategic" } } })),
        Patch::Json(serde_json::from_value(
            json!([{ "op": "add", "path": "/metadata/labels/and", "value": "json" }]),
        )?),
    ];
    for patch in patches {
        api.patch(&name, &PatchParams::default(), &patch).await?;
    }
    let labels = api.get(&name).await?.labels().clone();
    for (key, value) in [("by", "merge"), ("also", "strategic"), ("and", "json")] {
        assert_eq!(
            labels.get(key).map(String::as_str),
            Some(value),
            "{name}: {labels:?}"
        );
    }
    let applied = Patch::Apply(with(json!({ "by": "apply" }))?);
    let ours = PatchParams::apply("kube-rs-test");
    match api.patch(&name, &ours, &applied).await {
        Err(kube::Error::Api(status)) => assert_eq!((status.code, status.reason.as_str()), (409, "Conflict")),
        other => panic!("{name}: no conflict, but {other:?}"),
    }
    api.patch(&name, &ours.force(), &applied).await?;
    api.delete(&name, &DeleteParams::default().grace_period(0))
        .await?;
    let only = WatchParams::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(20);
    let revision = before.metadata.resource_version.ok_or("no resourceVersion")?;
    let mut events = api.watch(&only, &revision).await?.boxed();
    let mut seen = Vec::new();
    loop {
        match events.try_next().await?.expect("the end is told in time") {
            WatchEvent::Added(_) => seen.push("added"),
            // A namespace and what has pods go in their own time; that they are to go is told at once.
            WatchEvent::Modified(object) if object.metadata.deletion_timestamp.is_none() => {
                seen.push("modified");
            }
            WatchEvent::Modified(_) | WatchEvent::Deleted(_) => break,
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(seen.first(), Some(&"added"), "{name}");
    assert!(seen.len() >= 4, "{name}: {seen:?}");
    Ok(())
}

/// Makes a Deployment, scales it by a patch and follows its pods in a cache. Returns the name of one.
async fn informer(client: &Client) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let (store, writer) = reflector::store();
    let web = watcher::Config::default().labels("app=web");
    let mut changes = watcher(pods, web).default_backoff().reflect(writer).boxed();
    let container = json!({ "name": "c", "image": "webserver:1", "ports": [{ "containerPort": 80 }] });
    let template =
        json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [container] } });
    let spec =
        json!({ "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": template });
    let deployment = serde_json::from_value(json!({ "metadata": { "name": "web" }, "spec": spec }))?;
    deployments.create(&PostParams::default(), &deployment).await?;
    let mut ready = async |count: usize| {
        let all = || store.state().iter().filter(|pod| is_ready(pod)).count() == count;
        while !all() {
            let change = tokio::time::timeout(PATIENCE, changes.try_next()).await;
            change??;
        }
        Result::Ok(())
    };
    ready(2).await?;
    let three = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    deployments
        .patch_scale("web", &PatchParams::default(), &three)
        .await?;
    ready(3).await?;
    Ok(store.state()[0].name_any())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

async fn commands(pods: &Api<Pod>, pod: &str) -> Result {
    let command = ["sh", "-c", "read line; echo got $line; echo bad >&2; exit 7"];
    let mut process = pods
        .exec(pod, command, &AttachParams::default().stdin(true))
        .await?;
    let (mut stdin, mut stdout, mut stderr) = (
        process.stdin().ok_or("no stdin")?,
        process.stdout().ok_or("no stdout")?,
        process.stderr().ok_or("no stderr")?,
    );
    let status = process.take_status().ok_or("no status")?;
    stdin.write_all(b"this\n").await?;
    let (mut said, mut complained) = (String::new(), String::new());
    let read = async {
        tokio::try_join!(
            stdout.read_to_string(&mut said),
            stderr.read_to_string(&mut complained)
        )
    };
    tokio::time::timeout(PATIENCE, read).await??;
    assert_eq!((said.as_str(), complained.as_str()), ("got this\n", "bad\n"));
    let status = status.await.ok_or("no status")?;
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    let causes = status.details.and_then(|details| details.causes);
    let cause = &causes.ok_or("no causes")?[0];
    assert_eq!(
        (cause.reason.as_deref(), cause.message.as_deref()),
        (Some("ExitCode"), Some("7"))
    );
    Ok(())
}

async fn ports(pods: &Api<Pod>, pod: &str) -> Result {
    let mut forwarded = pods.portforward(pod, &[80]).await?;
    let mut stream = forwarded.take_stream(80).ok_or("no stream")?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await??;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(pod),
        "{answer}"
    );
    Ok(())
}

async fn logs(pods: &Api<Pod>) -> Result {
    let command = ["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.1; done"];
    let container = json!({ "name": "c", "image": "host", "command": command });
    let talker = json!({ "metadata": { "name": "talker" }, "spec": { "restartPolicy": "Never", "containers": [container] } });
    let talker = serde_json::from_value(talker)?;
    pods.create(&PostParams::default(), &talker).await?;
    let started = kube::runtime::wait::await_condition(pods.clone(), "talker", |pod: Option<&Pod>| {
        let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
        matches!(phase, Some("Running" | "Succeeded"))
    });
    tokio::time::timeout(PATIENCE, started).await??;
    let follow = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let lines = pods.log_stream("talker", &follow).await?.lines();
    let lines = tokio::time::timeout(PATIENCE, lines.try_collect::<Vec<_>>()).await;
    assert_eq!(lines??, ["line 1", "line 2", "line 3"]);
    Ok(())
}
