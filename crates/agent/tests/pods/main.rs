//! A real agent with a real API server and real processes. This file is the tests; run with `keeper` as first argument it
//! is a keeper, and with `serve` or `take` a program that serves where it is told, connections or datagrams.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod ephemeral;

use std::future::Future;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use coracle_agent::{Images, images, keeper, process};
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};

use cluster::Cluster;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Parser)]
enum Cli {
    Keeper(keeper::Args),
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("keeper") => {
            let Cli::Keeper(args) = Cli::parse();
            return keeper::main(args);
        }
        Some("serve") => return serve(),
        Some("take") => return take(),
        _ => {}
    }
    let mut tests = ephemeral::tests();
    tests.extend([
        test("the_node_registers", the_node_registers),
        test(
            "a_node_is_told_of_when_it_changes",
            a_node_is_told_of_when_it_changes,
        ),
        test(
            "a_pod_runs_and_stops_when_the_balancer_says_so",
            a_pod_runs_and_stops_when_the_balancer_says_so,
        ),
        test("pods_outlive_the_agent", pods_outlive_the_agent),
        test(
            "a_pod_is_ready_when_it_takes_datagrams",
            a_pod_is_ready_when_it_takes_datagrams,
        ),
        test(
            "what_lost_its_keeper_is_started_again",
            what_lost_its_keeper_is_started_again,
        ),
        test(
            "what_hides_from_a_lost_keeper_is_killed",
            what_hides_from_a_lost_keeper_is_killed,
        ),
        test(
            "what_lost_its_parent_too_is_killed",
            what_lost_its_parent_too_is_killed,
        ),
        test(
            "a_pod_whose_keeper_is_frozen_is_deleted",
            a_pod_whose_keeper_is_frozen_is_deleted,
        ),
        test(
            "a_pod_whose_keeper_is_frozen_vanishes",
            a_pod_whose_keeper_is_frozen_vanishes,
        ),
        test(
            "a_condition_that_others_change_is_put_right",
            a_condition_that_others_change_is_put_right,
        ),
        test("an_image_that_is_added_is_found", an_image_that_is_added_is_found),
        test(
            "a_path_that_is_not_what_its_type_says_is_waited_for",
            a_path_that_is_not_what_its_type_says_is_waited_for,
        ),
        test("a_job_completes", a_job_completes),
        test("a_pod_is_told_of_services", a_pod_is_told_of_services),
        test(
            "a_pod_that_is_gone_leaves_nothing",
            a_pod_that_is_gone_leaves_nothing,
        ),
    ]);
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn test<F: Future<Output = ()>>(name: &str, run: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, run()).await })?;
        Ok(())
    })
}

/// Accepts connections on its pod's address until it is killed.
fn serve() -> ExitCode {
    let variable = |name| std::env::var(name).unwrap();
    let listener = TcpListener::bind(format!("{}:{}", variable("HOST"), variable("PORT"))).unwrap();
    println!("{} serves", variable("POD_NAME"));
    listener
        .incoming()
        .for_each(|stream| drop(stream.unwrap().write_all(b"hello")));
    ExitCode::SUCCESS
}

/// Sends datagrams back until it is killed.
fn take() -> ExitCode {
    let variable = |name| std::env::var(name).unwrap();
    let socket = UdpSocket::bind(format!("{}:{}", variable("HOST"), variable("PORT"))).unwrap();
    let mut bytes = [0; 64];
    loop {
        let (count, sender) = socket.recv_from(&mut bytes).unwrap();
        socket.send_to(&bytes[..count], sender).unwrap();
    }
}

fn container(pod: &Pod) -> ContainerStatus {
    pod.status
        .clone()
        .unwrap_or_default()
        .container_statuses
        .unwrap_or_default()
        .first()
        .cloned()
        .unwrap_or_default()
}

fn waiting_for(pod: &Pod, reason: &str) -> bool {
    let state = container(pod).state.and_then(|state| state.waiting);
    state.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
}

/// Where the pod's port 80 really is.
fn address(pod: &Pod) -> SocketAddr {
    let ip = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.clone())
        .unwrap();
    let port = api::ports::real_port(pod, 80, "TCP");
    assert_ne!(port, 80);
    SocketAddr::new(ip.parse().unwrap(), port)
}

async fn the_node_registers() {
    let cluster = Cluster::start().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let is_ready = |node: Option<&Node>| {
        let status = node.and_then(|node| node.status.as_ref());
        let mut conditions = status
            .into_iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let node = await_condition(nodes, "node-1", is_ready).await.unwrap().unwrap();
    assert!(node.spec.unwrap().pod_cidr.unwrap().ends_with(".1.0/24"));
}

async fn a_node_is_told_of_when_it_changes() {
    let mut cluster = Cluster::start().await;
    let first = [
        "Starting kubelet.",
        "Node node-1 status is now: NodeHasSufficientMemory",
        "Node node-1 status is now: NodeHasNoDiskPressure",
        "Node node-1 status is now: NodeHasSufficientPID",
        "Node node-1 status is now: NodeReady",
    ];
    let told = cluster.told_of_node("NodeReady").await;
    assert_eq!(told, first);
    cluster.stop_agent().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    nodes.cordon("node-1").await.unwrap();
    cluster.start_agent();
    // The agent says again that it starts, and nothing of what has not changed.
    let mut expected = first.to_vec();
    expected.extend([first[0], "Node node-1 status is now: NodeNotSchedulable"]);
    assert_eq!(cluster.told_of_node("NodeNotSchedulable").await, expected);
    nodes.uncordon("node-1").await.unwrap();
    expected.push("Node node-1 status is now: NodeSchedulable");
    assert_eq!(cluster.told_of_node("NodeSchedulable").await, expected);
}

async fn a_pod_runs_and_stops_when_the_balancer_says_so() {
    let cluster = Cluster::start().await;
    let pod = cluster.create_server("web").await;
    let address = address(&pod);
    TcpStream::connect(address).unwrap();
    assert_eq!(cluster.log("web", "tailLines=1").await, "web serves\n");
    cluster.set_in_service("web", "True").await;
    cluster.delete("web").await;
    // Another pod comes and goes meanwhile.
    cluster.create_server("other").await;
    cluster.delete("other").await;
    cluster.wait_gone("other").await;
    TcpStream::connect(address).unwrap();
    cluster.set_in_service("web", "False").await;
    cluster.wait_gone("web").await;
    TcpStream::connect(address).unwrap_err();
}

async fn pods_outlive_the_agent() {
    let mut cluster = Cluster::start().await;
    let before = cluster.create_server("web").await;
    cluster.stop_agent().await;
    TcpStream::connect(address(&before)).unwrap();
    cluster.start_agent();
    let other = cluster.create_server("other").await;
    assert_ne!(address(&other), address(&before));
    let after = cluster.api().get("web").await.unwrap();
    assert_eq!(container(&after), container(&before));
    cluster.delete("web").await;
    cluster.wait_gone("web").await;
    TcpStream::connect(address(&before)).unwrap_err();
}

/// The program binds its socket when it is told to, by a file.
async fn a_pod_is_ready_when_it_takes_datagrams() {
    let cluster = Cluster::start().await;
    let told = cluster.dir.path().join("told");
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "until [ -e {} ]; do sleep 0.01; done; exec {} take",
        told.display(),
        program.display()
    );
    let container = json!({"name": "c", "image": "host", "command": ["sh", "-c", script],
        "ports": [{"containerPort": 53, "protocol": "UDP"}]});
    cluster.create("names", json!({}), container).await;
    cluster
        .wait("names", |pod| self::container(pod).started == Some(true))
        .await;
    let pod = cluster.api().get("names").await.unwrap();
    assert!(!api::pods::is_ready(&pod), "nobody takes its datagrams yet");
    std::fs::write(told, "").unwrap();
    let pod = cluster.wait("names", api::pods::is_ready).await;
    // A datagram that nobody takes is told of by an error.
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ip = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.clone())
        .unwrap();
    client
        .connect((ip.as_str(), api::ports::real_port(&pod, 53, "UDP")))
        .unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"question").unwrap();
    assert_eq!(client.recv(&mut [0; 64]).unwrap(), "question".len());
}

async fn what_lost_its_keeper_is_started_again() {
    let cluster = Cluster::start().await;
    let before = cluster.create_server("web").await;
    cluster.kill_keeper(&before);
    let after = cluster
        .wait("web", |pod| {
            container(pod).restart_count == 1 && api::pods::is_ready(pod)
        })
        .await;
    assert_eq!(address(&after), address(&before));
    let last = container(&after).last_state.unwrap().terminated.unwrap();
    assert_eq!(
        (last.exit_code, last.reason.as_deref()),
        (137, Some("ContainerStatusUnknown"))
    );
}

/// Programs that change their title, such as nginx, overwrite the environment that marks them.
async fn what_hides_from_a_lost_keeper_is_killed() {
    let cluster = Cluster::start().await;
    let command = json!(["env", "-i", "sleep", "1000"]);
    let container = json!({"name": "c", "image": "host", "command": command});
    cluster.create("shy", json!({}), container).await;
    let pod = cluster.wait("shy", api::pods::is_ready).await;
    let attempt = keeper::record::attempts(&cluster.folder(&pod)).remove(0);
    let started = process::stat(attempt.pid).unwrap().started;
    cluster.kill_keeper(&pod);
    cluster
        .wait("shy", |pod| {
            self::container(pod).restart_count == 1 && api::pods::is_ready(pod)
        })
        .await;
    assert!(!process::is_alive(attempt.pid, started));
}

/// As an nginx worker whose master dies with the keeper: it would keep the port.
async fn what_lost_its_parent_too_is_killed() {
    let cluster = Cluster::start().await;
    let command = json!(["env", "-i", "sh", "-c", "sleep 1000 & echo up; wait"]);
    let container = json!({"name": "c", "image": "host", "command": command});
    cluster.create("shy", json!({}), container).await;
    let pod = cluster.wait("shy", api::pods::is_ready).await;
    cluster.log("shy", "follow=true&limitBytes=3").await;
    let main = keeper::record::attempts(&cluster.folder(&pod)).remove(0).pid;
    let child = process::children(main)[0];
    let started = process::stat(child).unwrap().started;
    cluster.kill_keeper(&pod);
    process::signal(main, nix::sys::signal::Signal::SIGKILL);
    cluster
        .wait("shy", |pod| {
            self::container(pod).restart_count == 1 && api::pods::is_ready(pod)
        })
        .await;
    assert!(!process::is_alive(child, started));
}

/// Creates a pod and freezes its keeper; the pod, its main process, and when that started.
async fn frozen(cluster: &Cluster) -> (Pod, i32, u64) {
    let container = json!({"name": "c", "image": "host", "command": ["sleep", "1000"]});
    let spec = json!({"terminationGracePeriodSeconds": 1});
    cluster.create("frozen", spec, container).await;
    let pod = cluster.wait("frozen", api::pods::is_ready).await;
    let main = keeper::record::attempts(&cluster.folder(&pod)).remove(0);
    assert!(process::is_alive(main.pid, main.started));
    process::signal(cluster.keeper(&pod).pid, nix::sys::signal::Signal::SIGSTOP);
    (pod, main.pid, main.started)
}

async fn a_pod_whose_keeper_is_frozen_is_deleted() {
    let cluster = Cluster::start().await;
    let (pod, pid, started) = frozen(&cluster).await;
    let keeper = cluster.keeper(&pod);
    cluster.delete("frozen").await;
    cluster.wait_gone("frozen").await;
    assert!(!process::is_alive(pid, started));
    assert!(!process::is_alive(keeper.pid, keeper.started));
    cluster.event("frozen", "FailedKillPod").await;
}

async fn a_pod_whose_keeper_is_frozen_vanishes() {
    let cluster = Cluster::start().await;
    let (pod, pid, started) = frozen(&cluster).await;
    let keeper = cluster.keeper(&pod);
    let at_once = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    // As with `kubectl delete --force`, of a pod that does not end by itself.
    cluster
        .api()
        .delete("frozen", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .wait("frozen", |pod| pod.metadata.deletion_timestamp.is_some())
        .await;
    cluster.api().delete("frozen", &at_once).await.unwrap();
    cluster.wait_gone("frozen").await;
    while cluster.folder(&pod).exists() {
        tokio::task::yield_now().await;
    }
    assert!(!process::is_alive(pid, started));
    assert!(!process::is_alive(keeper.pid, keeper.started));
}

/// As the node controller does for an agent that was silent, which it cannot take back itself.
async fn a_condition_that_others_change_is_put_right() {
    let cluster = Cluster::start().await;
    cluster.create_server("web").await;
    let condition = json!({"type": "Ready", "status": "False"});
    let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    cluster
        .api()
        .patch_status("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
    cluster.wait("web", api::pods::is_ready).await;
}

async fn an_image_that_is_added_is_found() {
    let cluster = Cluster::start().await;
    let command = json!(["sleep", "1000"]);
    cluster
        .create(
            "shop",
            json!({}),
            json!({"name": "c", "image": "shop:2", "command": command}),
        )
        .await;
    let pod = cluster.wait("shop", |pod| waiting_for(pod, "ErrImagePull")).await;
    let key = informer::Key {
        namespace: "default".into(),
        name: "shop".into(),
    };
    cluster
        .pods
        .caught_up(&key, &pod.metadata.resource_version.unwrap())
        .await;
    let answer = cluster.log("shop", "").await;
    assert!(
        answer.contains("is waiting to start: trying and failing to pull image"),
        "{answer}"
    );
    let entry = images::Entry {
        name: "shop".into(),
        program: "sleep".into(),
        ..Default::default()
    };
    images::add(&Images::file(cluster.dir.path()), entry).unwrap();
    cluster.wait("shop", api::pods::is_ready).await;
}

async fn a_path_that_is_not_what_its_type_says_is_waited_for() {
    let cluster = Cluster::start().await;
    let path = cluster.dir.path().join("data");
    let container = json!({"name": "c", "image": "host", "command": ["sleep", "1000"]});
    let volume = json!({"name": "data", "hostPath": {"path": path, "type": "Directory"}});
    cluster
        .create("reader", json!({"volumes": [volume]}), container)
        .await;
    let event = cluster.event("reader", "FailedMount").await;
    let expected = format!(
        "MountVolume.SetUp failed for volume \"data\" : hostPath type check failed: {} is not a directory",
        path.display()
    );
    assert_eq!(event.message.as_deref(), Some(&*expected));
    cluster
        .wait("reader", |pod| waiting_for(pod, "ContainerCreating"))
        .await;
    std::fs::create_dir(&path).unwrap();
    cluster.wait("reader", api::pods::is_ready).await;
}

async fn a_job_completes() {
    let cluster = Cluster::start().await;
    let command = json!(["sh", "-c", "for i in 1 2 3; do echo line $i; done"]);
    let container = json!({"name": "c", "image": "host", "command": command});
    cluster
        .create("job", json!({"restartPolicy": "Never"}), container)
        .await;
    let pod = cluster.wait("job", api::pods::is_finished).await;
    assert_eq!(api::pods::phase(&pod), "Succeeded");
    assert_eq!(
        cluster.log("job", "follow=true").await,
        "line 1\nline 2\nline 3\n"
    );
    assert_eq!(cluster.log("job", "tailLines=2&limitBytes=9").await, "line 2\nli");
    let keeper = cluster.keeper(&pod);
    while process::is_alive(keeper.pid, keeper.started) {
        tokio::task::yield_now().await;
    }
}

async fn a_pod_is_told_of_services() {
    let cluster = Cluster::start().await;
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), "default");
    for (name, address) in [("shop", Value::Null), ("peers", json!("None"))] {
        let service =
            json!({"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": [{"port": 8080}]}});
        let service: Service = serde_json::from_value(service).unwrap();
        let made = services.create(&PostParams::default(), &service).await.unwrap();
        let version = made.metadata.resource_version.clone().unwrap();
        let key = informer::Key::of(&made);
        cluster.services.caught_up(&key, &version).await;
    }
    for (name, links, expected) in [
        ("linked", true, "shop kubernetes\n"),
        ("alone", false, "kubernetes\n"),
    ] {
        let script = "echo ${SHOP_SERVICE_HOST:+shop} ${PEERS_SERVICE_HOST:+peers} ${KUBERNETES_PORT_443_TCP:+kubernetes}";
        let container = json!({"name": "c", "image": "host", "command": ["sh", "-c", script]});
        let spec = json!({"restartPolicy": "Never", "enableServiceLinks": links});
        cluster.create(name, spec, container).await;
        cluster.wait(name, api::pods::is_finished).await;
        assert_eq!(cluster.log(name, "").await, expected);
    }
}

async fn a_pod_that_is_gone_leaves_nothing() {
    let mut cluster = Cluster::start().await;
    let pod = cluster.create_server("web").await;
    cluster.stop_agent().await;
    // Removed at once, while no agent is there.
    let at_once = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    cluster.api().delete("web", &at_once).await.unwrap();
    cluster.wait_gone("web").await;
    TcpStream::connect(address(&pod)).unwrap();
    cluster.start_agent();
    while cluster.folder(&pod).exists() {
        tokio::task::yield_now().await;
    }
    TcpStream::connect(address(&pod)).unwrap_err();
}
