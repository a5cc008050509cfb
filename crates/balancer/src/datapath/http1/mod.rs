//! HTTP/1 message boundaries, without I/O.
//!
//! Flows in: the bytes of a connection, in any pieces. Flows out: how many of them belong to the message under way, and
//! what follows from its head: whether the connection outlives it, becomes a tunnel, or cannot be understood. Bytes are
//! only ever counted, never changed. When in doubt the answer is "opaque": such a connection is never moved to another
//! backend, so a framing disagreement between balancer and server can harm nobody but the client that caused it.

mod body;
mod detect;
mod exchange;
mod head;
#[cfg(test)]
mod properties;

pub use detect::{Detected, detect};
pub use exchange::{Exchange, Next};
pub use head::{Parsed, request};

/// Longest message head that is understood, in bytes; with a longer one the connection becomes opaque.
pub const MAX_HEAD: usize = 64 * 1024;
