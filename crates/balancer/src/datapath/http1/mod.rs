//! HTTP/1 message boundaries, without I/O.
//!
//! Flows in: the bytes of a connection, in any pieces. Flows out: how many of them belong to the message under way, and
//! what follows from its head: whether the connection outlives it, becomes a tunnel, or cannot be understood. Bytes are
//! only ever counted, never changed.
//!
//! # The invariant
//! A connection leaves a backend only at a place that every server takes for the end of the same request, however strictly
//! or leniently it reads, unless it refuses to read on. Whatever servers may read differently is "opaque" from there on:
//! the connection stays where it is until it is closed. Since no other client's bytes ever come to that backend
//! connection, a framing disagreement between balancer and server (request smuggling) can harm nobody but the client
//! that caused it. `readers` are such servers, `oracle` holds the parser against them, and the tests of the datapath hold
//! its sockets against both.

mod body;
mod detect;
mod exchange;
mod head;
#[cfg(test)]
mod hyper_oracle;
#[cfg(any(test, fuzzing))]
pub mod oracle;
#[cfg(test)]
pub mod properties;
#[cfg(any(test, fuzzing))]
pub mod readers;

pub use detect::{Detected, detect};
pub use exchange::{Exchange, Next};
pub use head::{Parsed, request};

/// Longest message head that is understood, in bytes; with a longer one the connection becomes opaque.
pub const MAX_HEAD: usize = 64 * 1024;
