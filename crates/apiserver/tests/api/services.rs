//! Addresses and node ports of Services.

use std::sync::Arc;

use coracle_apiserver::{ApiServer, NodeDirectory, NodeService};
use http::StatusCode;
use serde_json::{Value, json};

use crate::door::{Door, SERVICES, config};

fn service(name: &str, spec: Value) -> Value {
    json!({ "metadata": { "name": name }, "spec": spec })
}

fn node_port(name: &str, port: u16) -> Value {
    service(
        name,
        json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": port }] }),
    )
}

#[tokio::test]
async fn tcp_and_udp_of_one_number_get_one_node_port() {
    let door = Door::open().await;
    let ports = json!([
        { "name": "dns", "port": 53, "protocol": "UDP" },
        { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
        { "name": "metrics", "port": 9153 },
    ]);
    let dns = door
        .make(
            SERVICES,
            &service("dns", json!({ "type": "NodePort", "ports": ports })),
        )
        .await;
    let given = |index: usize| dns["spec"]["ports"][index]["nodePort"].as_u64().unwrap();
    assert_eq!(given(0), given(1));
    assert_ne!(given(0), given(2));
    // The record says what is taken: nobody else gets it.
    let taken = u16::try_from(given(0)).unwrap();
    let (status, _) = door.post(SERVICES, &node_port("other", taken)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_second_family_is_refused_where_it_is_required() {
    let door = Door::open().await;
    let dual = |more: Value| {
        let mut spec = json!({ "ipFamilyPolicy": "RequireDualStack", "ports": [{ "port": 80 }] });
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        service("dual", spec)
    };
    for spec in [
        json!({}),
        json!({ "clusterIP": "None", "selector": { "app": "a" } }),
    ] {
        let (status, refused) = door.post(SERVICES, &dual(spec)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            refused["message"],
            "Service \"dual\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not \
             configured for dual-stack services"
        );
    }
    door.make(SERVICES, &dual(json!({ "clusterIP": "None" }))).await;
}

#[tokio::test]
async fn a_family_that_the_cluster_has_not_is_refused() {
    let door = Door::open().await;
    let six = |more: Value| {
        let mut spec = json!({ "ipFamilies": ["IPv6"], "ports": [{ "port": 80 }] });
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        service("six", spec)
    };
    let (status, refused) = door.post(SERVICES, &six(json!({}))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused["message"],
        "Service \"six\" is invalid: spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"
    );
    door.make(SERVICES, &six(json!({ "clusterIP": "None" }))).await;
}

#[tokio::test]
async fn every_type_gets_what_it_has() {
    let door = Door::open().await;
    let plain = door
        .make(SERVICES, &service("plain", json!({ "ports": [{ "port": 80 }] })))
        .await;
    assert!(
        plain["spec"]["clusterIP"]
            .as_str()
            .unwrap()
            .starts_with("127.96.0.")
    );
    assert_eq!(plain["spec"]["clusterIPs"], json!([plain["spec"]["clusterIP"]]));
    assert!(plain["spec"]["ports"][0].get("nodePort").is_none());
    let spec =
        json!({ "type": "NodePort", "ports": [{ "name": "a", "port": 80 }, { "name": "b", "port": 81 }] });
    let node = door.make(SERVICES, &service("node", spec)).await;
    let ports: Vec<u64> = (0..2)
        .map(|index| node["spec"]["ports"][index]["nodePort"].as_u64().unwrap())
        .collect();
    assert!(
        ports[0] != ports[1] && ports.iter().all(|port| (30000..=30005).contains(port)),
        "{ports:?}"
    );
    let headless = door
        .make(
            SERVICES,
            &service(
                "headless",
                json!({ "clusterIP": "None", "ports": [{ "port": 80 }] }),
            ),
        )
        .await;
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let name = door
        .make(
            SERVICES,
            &service("name", json!({ "type": "ExternalName", "externalName": "a.b" })),
        )
        .await;
    assert!(name["spec"].get("clusterIP").is_none() && name["spec"].get("ports").is_none());
}

#[tokio::test]
async fn taken_ports_are_refused_and_given_back() {
    let door = Door::open().await;
    door.make(SERVICES, &node_port("a", 30000)).await;
    let (status, refused) = door.post(SERVICES, &node_port("b", 30000)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused["message"],
        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30000: provided port is already allocated"
    );
    let (_, outside) = door.post(SERVICES, &node_port("b", 40000)).await;
    assert!(
        outside["message"]
            .as_str()
            .unwrap()
            .contains("The range of valid ports is 30000-30005"),
        "{outside}"
    );
    // A refused Service leaves nothing taken behind: neither address nor port.
    door.patch(
        &format!("{SERVICES}/a"),
        "merge",
        &json!({ "spec": { "type": "ClusterIP" } }),
    )
    .await;
    door.make(SERVICES, &node_port("b", 30000)).await;
    door.delete(&format!("{SERVICES}/b"), &Value::Null).await;
    door.make(SERVICES, &node_port("c", 30000)).await;
}

#[tokio::test]
async fn taken_addresses_are_refused() {
    let door = Door::open().await;
    let (status, refused) = door
        .post(
            SERVICES,
            &service(
                "a",
                json!({ "clusterIP": "127.96.0.1", "ports": [{ "port": 80 }] }),
            ),
        )
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("provided IP is already allocated"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_dry_run_takes_nothing() {
    let door = Door::open().await;
    let (status, _) = door
        .post(&format!("{SERVICES}?dryRun=All"), &node_port("a", 30000))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    door.make(SERVICES, &node_port("b", 30000)).await;
}

#[tokio::test]
async fn a_new_server_knows_what_is_taken() {
    struct NoNodes;
    impl NodeDirectory for NoNodes {
        fn node(&self, _name: &str) -> Option<NodeService> {
            None
        }
    }
    let mut door = Door::open().await;
    door.make(SERVICES, &node_port("a", 30000)).await;
    door.api.shutdown();
    door.api = ApiServer::start(door.store.clone(), config(), Arc::new(NoNodes))
        .await
        .unwrap();
    assert_eq!(
        door.post(SERVICES, &node_port("b", 30000)).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}
