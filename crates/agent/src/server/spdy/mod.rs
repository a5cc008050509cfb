//! SPDY/3.1 as clients of Kubernetes speak it: many streams over one connection that a client upgraded, or tunnels
//! through a WebSocket.
//!
//! Flows in: bytes. Flows out: streams that the client opens, each with headers and data both ways. `frame` and
//! `headers` do no I/O; `connection` moves bytes, `stream` is what its user has. There is no flow control: clients
//! (`moby/spdystream`) know none, so a stream that is not read holds up its connection, and nothing is ever buffered
//! without bound. Streams are never opened from here.

mod connection;
mod frame;
mod headers;
mod stream;

pub use connection::{Connection, Transport};
pub use stream::{Reader, Reset, Stream, Writer};
