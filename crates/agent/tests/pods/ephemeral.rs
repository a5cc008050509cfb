//! Ephemeral containers: they run once, beside the others, and end with their pod.

use std::fs::OpenOptions;

use coracle_agent::{keeper, process};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use libtest_mimic::Trial;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::cluster::Cluster;

pub fn tests() -> Vec<Trial> {
    vec![
        crate::test(
            "an_ephemeral_container_runs_once",
            an_ephemeral_container_runs_once,
        ),
        crate::test("it_outlives_the_agent", it_outlives_the_agent),
        crate::test("it_ends_with_its_pod", it_ends_with_its_pod),
        crate::test("it_waits_for_its_image", it_waits_for_its_image),
    ]
}

fn look(script: &str) -> Value {
    json!({"name": "look", "image": "host", "command": ["sh", "-c", script], "targetContainerName": "c"})
}

fn status(pod: &Pod) -> ContainerStatus {
    let status = pod.status.clone().unwrap_or_default();
    let mut all = status.ephemeral_container_statuses.unwrap_or_default();
    all.pop().unwrap_or_default()
}

fn runs(pod: &Pod) -> bool {
    status(pod).state.is_some_and(|state| state.running.is_some())
}

fn exit_code(pod: &Pod) -> Option<i32> {
    Some(status(pod).state?.terminated?.exit_code)
}

async fn an_ephemeral_container_runs_once() {
    let cluster = Cluster::start().await;
    let before = cluster.create_server("web").await;
    cluster
        .debug("web", look("echo $POD_NAME is looked at; exit 3"))
        .await;
    let after = cluster.wait("web", |pod| exit_code(pod) == Some(3)).await;
    assert_eq!(status(&after).restart_count, 0);
    assert!(!status(&after).ready && status(&after).last_state == Some(Default::default()));
    let log = cluster.log_of("web", "look", "").await;
    assert_eq!(log, "web is looked at\n");
    // The others do not notice.
    assert!(api::pods::is_ready(&after) && api::pods::phase(&after) == "Running");
    assert_eq!(crate::container(&after), crate::container(&before));
    assert_eq!(after.metadata.generation, Some(2));
}

async fn it_outlives_the_agent() {
    let mut cluster = Cluster::start().await;
    cluster.create_server("web").await;
    cluster.debug("web", look("exec sleep 1000")).await;
    let before = cluster.wait("web", runs).await;
    cluster.stop_agent().await;
    cluster.start_agent();
    // What the new agent does last is the new pod.
    cluster.create_server("other").await;
    let after = cluster.api().get("web").await.unwrap();
    assert_eq!(status(&after), status(&before));
    cluster.kill_keeper(&after);
    let after = cluster
        .wait("web", |pod| {
            crate::container(pod).restart_count == 1 && api::pods::is_ready(pod)
        })
        .await;
    // Nobody saw its end, and it does not come again.
    assert_eq!(exit_code(&after), Some(137));
    assert_eq!(status(&after).restart_count, 0);
}

async fn it_ends_with_its_pod() {
    let cluster = Cluster::start().await;
    let fifo = cluster.dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let container = json!({"name": "c", "image": "host", "command": ["cat", fifo]});
    let spec = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 25});
    cluster.create("job", spec, container).await;
    cluster
        .wait("job", |pod| api::pods::phase(pod) == "Running")
        .await;
    // It is asked to end, and its end is on record, as that of any other.
    cluster
        .debug(
            "job",
            look("trap 'echo asked; exit 4' TERM; echo up; sleep 1000 & wait"),
        )
        .await;
    cluster.wait("job", runs).await;
    cluster.log_of("job", "look", "follow=true&limitBytes=3").await;
    // The end of what the container reads.
    drop(OpenOptions::new().write(true).open(&fifo).unwrap());
    let ended = cluster
        .wait("job", |pod| {
            api::pods::is_finished(pod) && exit_code(pod).is_some()
        })
        .await;
    assert_eq!(
        (api::pods::phase(&ended), exit_code(&ended)),
        ("Succeeded", Some(4))
    );
    assert_eq!(cluster.log_of("job", "look", "").await, "up\nasked\n");

    cluster.create_server("web").await;
    cluster.debug("web", look("exec sleep 1000")).await;
    let pod = cluster.wait("web", runs).await;
    let attempts = keeper::record::attempts(&cluster.folder(&pod));
    let main = attempts
        .iter()
        .find(|attempt| attempt.container == "look")
        .unwrap();
    assert!(process::is_alive(main.pid, main.started));
    cluster.delete("web").await;
    cluster.wait_gone("web").await;
    assert!(!process::is_alive(main.pid, main.started));
}

async fn it_waits_for_its_image() {
    let cluster = Cluster::start().await;
    cluster.create_server("web").await;
    cluster
        .debug("web", json!({"name": "look", "image": "shop:2"}))
        .await;
    let is_waiting = |pod: &Pod| {
        let waiting = status(pod).state.and_then(|state| state.waiting);
        waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("ErrImagePull"))
    };
    let pod = cluster.wait("web", is_waiting).await;
    assert!(api::pods::is_ready(&pod));
}
