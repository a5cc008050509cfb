//! An API server in the test's hands: lists and watches of pods and nodes, and every write handed to the test.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// A write that the scheduler sent.
#[derive(Debug)]
pub struct Write {
    /// The last two segments of the path: `a/binding`, `a/status`, `default/events`.
    pub target: String,
    pub body: Value,
}

/// The server's side.
pub struct Server {
    shared: Arc<Shared>,
    writes: UnboundedReceiver<Write>,
}

struct Shared {
    lists: HashMap<&'static str, Vec<Value>>,
    watches: Mutex<HashMap<&'static str, UnboundedSender<Bytes>>>,
    writes: UnboundedSender<Write>,
    /// Bindings that are still to be refused.
    refusals: Mutex<usize>,
}

impl Server {
    /// A server with these objects, and a client of it.
    pub fn new(nodes: Vec<Value>, pods: Vec<Value>, refusals: usize) -> (Self, kube::Client) {
        let (sender, writes) = unbounded_channel();
        let shared = Arc::new(Shared {
            lists: HashMap::from([("nodes", nodes), ("pods", pods)]),
            watches: Mutex::default(),
            writes: sender,
            refusals: Mutex::new(refusals),
        });
        let serving = shared.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let serving = serving.clone();
            async move { Ok::<_, Infallible>(serving.answer(request).await) }
        });
        (Self { shared, writes }, kube::Client::new(service, "default"))
    }

    /// Tells the scheduler of a change.
    pub fn send(&self, kind: &'static str, change: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": change, "object": object}));
        let watches = self.shared.watches.lock().unwrap();
        watches[kind].send(line.into()).expect("the scheduler watches");
    }

    /// The next write of this target; events and others between are passed over.
    pub async fn write(&mut self, target: &str) -> Value {
        loop {
            let write = self.writes.recv().await.expect("the scheduler lives");
            if write.target == target {
                return write.body;
            }
        }
    }

    /// The targets of the writes so far, without waiting.
    pub fn targets(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.writes.try_recv().ok())
            .map(|write| write.target)
            .collect()
    }
}

impl Shared {
    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let path = request.uri().path().to_owned();
        if request.method() == Method::GET {
            let kind = if path.ends_with("/nodes") { "nodes" } else { "pods" };
            let query = request.uri().query().unwrap_or_default();
            return if query.contains("watch=true") {
                self.watch(kind)
            } else {
                self.list(kind)
            };
        }
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let mut segments: Vec<&str> = path.rsplit('/').take(2).collect();
        segments.reverse();
        let target = segments.join("/");
        let refused = target.ends_with("/binding") && {
            let mut left = self.refusals.lock().unwrap();
            let refused = *left > 0;
            *left = left.saturating_sub(1);
            refused
        };
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        let _ = self.writes.send(Write {
            target,
            body: body.clone(),
        });
        if refused {
            let mut answer =
                whole(&json!({"kind": "Status", "status": "Failure", "code": 500, "message": "not now"}));
            *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            return answer;
        }
        whole(&body)
    }

    fn list(&self, kind: &'static str) -> Response<Answer> {
        let name = if kind == "nodes" { "NodeList" } else { "PodList" };
        whole(
            &json!({"kind": name, "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": self.lists[kind]}),
        )
    }

    fn watch(&self, kind: &'static str) -> Response<Answer> {
        let (events, mut lines) = unbounded_channel();
        self.watches.lock().unwrap().insert(kind, events);
        let frames = futures::stream::poll_fn(move |context| {
            lines
                .poll_recv(context)
                .map(|line| line.map(|line| Ok(Frame::data(line))))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn whole(value: &Value) -> Response<Answer> {
    Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync())
}
