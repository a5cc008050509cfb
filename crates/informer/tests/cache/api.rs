//! An API server in the test's hands: it answers lists with what it is given, and hands each watch to the test.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

type Answer = UnsyncBoxBody<Bytes, std::io::Error>;

/// The server's side.
pub struct Server {
    state: Arc<Mutex<State>>,
    watches: mpsc::UnboundedReceiver<Watch>,
}

struct State {
    revision: u64,
    objects: Vec<Value>,
    /// Requests that are still to be refused.
    refusals: usize,
    lists: usize,
}

/// A watch that the client has opened. Dropping it ends the client's stream.
pub struct Watch {
    /// The revision after which it wants changes.
    pub after: String,
    events: mpsc::UnboundedSender<Result<Bytes, std::io::Error>>,
}

impl Server {
    /// A server, and a client of it.
    pub fn new() -> (Self, kube::Client) {
        let state = Arc::new(Mutex::new(State {
            revision: 1,
            objects: Vec::new(),
            refusals: 0,
            lists: 0,
        }));
        let (opened, watches) = mpsc::unbounded_channel();
        let shared = state.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = answer(&shared, &opened, &request);
            async move { Ok::<_, Infallible>(answer) }
        });
        (Self { state, watches }, kube::Client::new(service, "default"))
    }

    /// What lists show from now on.
    pub fn set(&self, revision: u64, objects: &[Value]) {
        let mut state = self.state.lock();
        state.revision = revision;
        state.objects = objects.to_vec();
    }

    /// Requests are refused so many times.
    pub fn refuse(&self, times: usize) {
        self.state.lock().refusals = times;
    }

    /// How many lists have been asked for.
    pub fn lists(&self) -> usize {
        self.state.lock().lists
    }

    /// The next watch that the client opens.
    pub async fn watch(&mut self) -> Watch {
        self.watches.recv().await.expect("the client lives")
    }
}

impl Watch {
    /// Sends a change: `ADDED`, `MODIFIED`, `DELETED`.
    pub fn send(&self, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.events.send(Ok(line.into())).expect("the client watches");
    }

    /// Breaks the connection.
    pub fn fail(&self) {
        let error = std::io::ErrorKind::ConnectionReset;
        self.events.send(Err(error.into())).expect("the client watches");
    }

    /// Says that the revision is too old.
    pub fn gone(&self) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": 410, "reason": "Expired", "message": "too old resource version",
        });
        self.send("ERROR", &status);
    }
}

/// A ConfigMap, whose data is its colour.
pub fn object(name: &str, revision: u64, colour: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "namespace": "default", "name": name, "uid": format!("uid-{name}"),
            "resourceVersion": revision.to_string(),
        },
        "data": {"colour": colour},
    })
}

fn answer(
    state: &Mutex<State>,
    opened: &mpsc::UnboundedSender<Watch>,
    request: &Request<Body>,
) -> Response<Answer> {
    let query = request.uri().query().unwrap_or_default();
    let parameter = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1)
    };
    let is_watch = parameter("watch") == Some("true");
    let mut state = state.lock();
    state.lists += usize::from(!is_watch);
    if state.refusals > 0 {
        state.refusals -= 1;
        let mut refusal = Response::new(full("not now".into()));
        *refusal.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        return refusal;
    }
    if is_watch {
        let (events, mut lines) = mpsc::unbounded_channel();
        let after = parameter("resourceVersion").unwrap_or_default().to_owned();
        let _ = opened.send(Watch { after, events });
        let frames = futures::stream::poll_fn(move |context| {
            lines
                .poll_recv(context)
                .map(|line| line.map(|line| line.map(Frame::data)))
        });
        return Response::new(StreamBody::new(frames).boxed_unsync());
    }
    let list = json!({
        "kind": "ConfigMapList", "apiVersion": "v1",
        "metadata": {"resourceVersion": state.revision.to_string()},
        "items": state.objects,
    });
    Response::new(full(list.to_string()))
}

fn full(text: String) -> Answer {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed_unsync()
}
