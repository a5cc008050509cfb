//! What the end-to-end tests stand on: a cluster of the real binary, driven by the real kubectl, under real load.
//!
//! Flows in: a built `coracle` beside the test program, and kubectl, nginx, wrk and haproxy from the machine. Flows out:
//! clusters that run beside others and leave nothing behind, whatever happens to the test. Never sleeps: it waits for
//! watches, for processes' ends and for lines of output. A missing tool fails the test; it is never skipped.

pub mod bench_api;
pub mod chaos;
mod child;
pub mod cluster;
pub mod followers;
pub mod http;
pub mod interrupt;
pub mod kubectl;
pub mod naive;
pub mod pods;
pub mod processes;
pub mod programs;
pub mod stress;
pub mod terminal;
pub mod traffic;
pub mod transcript;
pub mod user;
pub mod walkthrough;
pub mod wrk;
pub mod zero_drop;

pub use child::Background;
pub use cluster::{Cluster, Options};
pub use kubectl::{Kubectl, Output};
pub use terminal::Terminal;
pub use traffic::Traffic;
pub use user::User;
