//! A strict HTTP/1.1 load client: it knows every failed request and why it failed.
//!
//! Flows in: an address, how many connections, which methods, until when. Flows out: a [`Report`] with every failure and
//! its cause, answers per version over time, and latencies; the same report can be read while the run goes on.
//!
//! Besides requests there are [`Sessions`]: connections that stay on one pod (opaque TCP, WebSocket, h2c) or that speak
//! HTTP/1.1 in every framing, with a report of how many were cut.
//!
//! It is a judge, so it never helps: it never retries, never looks away from a close that was not announced, and takes
//! an answer only if the status is 2xx, the framing is sound, the body is complete and the request id, where the server
//! echoes one, is the one that was sent. General clients hide these causes, hence one of our own on plain sockets.
//! It knows HTTP and nothing of Kubernetes, but for the two response headers that name version and pod.

mod connection;
mod failure;
mod framing;
mod options;
mod report;
mod response;
mod run;
mod session;
mod sessions;

pub use failure::{Cause, Failure};
pub use options::{Method, Options};
pub use report::{Bucket, Report};
pub use run::{Client, run};
pub use session::Protocol;
pub use sessions::{SessionOptions, SessionReport, Sessions};

/// Request header that carries an id of the request; a server that echoes it must echo the same one.
pub const REQUEST_ID: &str = "X-Request-Id";

/// Response header that names the version (the image) that answered.
pub const IMAGE: &str = "X-Coracle-Image";

/// Response header that names the pod that answered.
pub const POD: &str = "X-Coracle-Pod";
