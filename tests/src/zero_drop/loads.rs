//! All shapes of a scenario at once.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::shape::{Count, Load, Shape};
use crate::interrupt;

/// All shapes of a scenario under way.
pub struct Loads {
    runtime: Runtime,
    running: Vec<Load>,
}

impl Loads {
    /// Starts them, as the short form has them or as the long one.
    pub fn start(shapes: &[Shape], short: bool, http: SocketAddr, echo: Option<SocketAddr>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let running = shapes
            .iter()
            .map(|shape| {
                let target = if shape.is_opaque() { echo } else { Some(http) };
                shape.start(target.expect("a server that echoes"), short, &runtime)
            })
            .collect();
        Self { runtime, running }
    }

    /// Waits until every shape that tells has got so many more answers.
    ///
    /// # Panics
    /// If that takes longer than `limit`, or if the user interrupts.
    pub fn flow(&self, answers: u64, limit: Duration) {
        let tell = self.running.iter().filter_map(Load::answered);
        let more = tell.map(|mut answered| async move {
            let enough = *answered.borrow() + answers;
            answered.wait_for(|now| *now >= enough).await.is_ok()
        });
        self.runtime.block_on(async {
            tokio::select! {
                flows = timeout(limit, join_all(more)) => {
                    let flows = flows.is_ok_and(|all| !all.contains(&false));
                    assert!(flows, "traffic does not flow: not each shape got {answers} in {limit:?}");
                }
                () = interrupt::requested() => panic!("interrupted"),
            }
        });
    }

    /// Ends them all.
    pub fn finish(self) -> Vec<Count> {
        let Self { runtime, running } = self;
        running.into_iter().map(|load| load.finish(&runtime)).collect()
    }
}
