//! An API server in the fuzzer's process, and what must hold of each of its answers. Writes are dry runs, so that every
//! input finds the same objects.

use std::cell::RefCell;
use std::sync::Arc;

use apiserver::{
    ApiServer, Body, Config, Identity, Network, NodeDirectory, NodeService, TokenKey, Version, full,
};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

/// Resources of several groups and scopes: their collections, and the name of one object of each that exists.
pub const RESOURCES: &[(&str, &str)] = &[
    ("/apis/apps/v1/namespaces/default/deployments", "web"),
    ("/api/v1/namespaces/default/pods", "web"),
    ("/api/v1/namespaces/default/services", "web"),
    ("/api/v1/namespaces/default/configmaps", "web"),
    ("/apis/batch/v1/namespaces/default/cronjobs", "web"),
    (
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
        "web",
    ),
    ("/apis/networking.k8s.io/v1/namespaces/default/ingresses", "web"),
    ("/api/v1/namespaces", "default"),
];

/// The objects that exist, in the order of [`RESOURCES`].
const OBJECTS: &[&str] = &[
    r#"{"metadata":{"name":"web","labels":{"app":"web"}},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"volumes":[{"name":"a","emptyDir":{}}],"containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80},{"containerPort":81,"name":"b"}],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"}]}]}}}}"#,
    r#"{"metadata":{"name":"web","labels":{"app":"web"},"annotations":{"a":"b"}},"spec":{"tolerations":[{"key":"a","operator":"Exists"}],"containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80}]},{"name":"d","image":"nginx"}]}}"#,
    r#"{"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"name":"a","port":80},{"name":"b","port":81}]}}"#,
    r#"{"metadata":{"name":"web","finalizers":["a.b/c"]},"data":{"a":"1","b":"2"}}"#,
    r#"{"metadata":{"name":"web"},"spec":{"schedule":"* * * * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"nginx"}]}}}}}}"#,
    r#"{"metadata":{"name":"web"},"spec":{"maxReplicas":3,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}}}"#,
    r#"{"metadata":{"name":"web"},"spec":{"rules":[{"host":"a.b","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"web","port":{"number":80}}}}]}}]}}"#,
];

/// How upstream's 500 without a reason begins: an applied list names one of its keys twice, and the like.
const NOT_TYPED: &str = "failed to create typed patch object";

/// No agents: nothing here goes to a node.
struct NoNodes;

impl NodeDirectory for NoNodes {
    fn node(&self, _name: &str) -> Option<NodeService> {
        None
    }
}

/// A server with its objects.
pub struct Door {
    api: ApiServer,
    runtime: Runtime,
    _folder: TempDir,
}

impl Door {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let store = store::Sqlite::open(&folder.path().join("db")).expect("a store");
        let config = Config {
            service_network: Network {
                address: [127, 96, 0, 0].into(),
                prefix: 24,
            },
            node_ports: 30000..=30100,
            address: ([127, 0, 0, 1], 7443).into(),
            authority: String::new(),
            token_key: TokenKey::random(),
            version: Version::default(),
        };
        let api = runtime
            .block_on(ApiServer::start(Arc::new(store), config, Arc::new(NoNodes)))
            .expect("it starts");
        let door = Self {
            api,
            runtime,
            _folder: folder,
        };
        for ((collection, _), object) in RESOURCES.iter().zip(OBJECTS) {
            let (status, answer) = door.send(Method::POST, collection, "application/json", object.as_bytes());
            assert_eq!(status, StatusCode::CREATED, "{answer}");
        }
        door
    }

    fn send(&self, method: Method, path: &str, media: &str, body: &[u8]) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(full(body.to_vec()))
            .expect("a request");
        let service = self
            .api
            .service::<Body>(Identity::new("admin", &["system:masters"]));
        self.runtime.block_on(async {
            let answer = service.oneshot(request).await.expect("an answer");
            let status = answer.status();
            let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
            (status, serde_json::from_slice(&bytes).expect("JSON"))
        })
    }
}

thread_local! {
    static DOOR: RefCell<Option<Door>> = const { RefCell::new(None) };
}

/// Sends a request and looks at the answer: an object, or a Status that says why not, and never that we are at fault.
pub fn ask(method: Method, path: &str, media: &str, body: &[u8]) {
    DOOR.with_borrow_mut(|door| {
        let (status, answer) = door
            .get_or_insert_with(Door::open)
            .send(method, path, media, body);
        if answer["message"]
            .as_str()
            .is_some_and(|message| message.starts_with(NOT_TYPED))
        {
            return;
        }
        assert!(!status.is_server_error(), "{status} {path}: {answer}");
        if status.is_client_error() {
            assert_eq!(answer["kind"], "Status", "{answer}");
            assert_eq!(answer["code"], status.as_u16(), "{answer}");
            assert!(answer["reason"].is_string(), "{answer}");
        } else {
            assert!(answer["kind"].is_string(), "{answer}");
        }
    });
}

/// The resource that a byte stands for, and the rest.
pub fn resource(data: &[u8]) -> Option<((&'static str, &'static str), &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((RESOURCES[usize::from(*first) % RESOURCES.len()], rest))
}
