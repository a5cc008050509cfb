//! All shapes of a scenario at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::shape::{Count, Load, Shape};
use crate::interrupt;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// All shapes of a scenario under way.
pub struct Loads {
    runtime: Runtime,
    running: Vec<Load>,
}

impl Loads {
    /// Starts them.
    pub fn start(shapes: &[Shape], http: SocketAddr, echo: Option<SocketAddr>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let running = shapes
            .iter()
            .map(|shape| {
                let target = if shape.is_opaque() { echo } else { Some(http) };
                shape.start(target.expect("a server that echoes"), &runtime)
            })
            .collect();
        Self { runtime, running }
    }

    fn answered(&self) -> Vec<Option<u64>> {
        self.running.iter().map(Load::answered).collect()
    }

    /// Waits until every shape that tells has got so many more answers.
    ///
    /// # Panics
    /// If that takes longer than `limit`, or if the user interrupts.
    pub fn flow(&self, answers: u64, limit: Duration) {
        let before = self.answered();
        let deadline = Instant::now() + limit;
        loop {
            let now = self.answered();
            let mut pairs = before.iter().zip(&now);
            if pairs.all(|(before, now)| {
                now.zip(*before)
                    .is_none_or(|(now, before)| now >= before + answers)
            }) {
                return;
            }
            assert!(!interrupt::is_set(), "interrupted");
            assert!(
                Instant::now() < deadline,
                "traffic does not flow: answered {before:?}, {limit:?} later {now:?}"
            );
            // The counts live in the clients' tasks; a look every now and then costs them least.
            std::thread::sleep(LOOK);
        }
    }

    /// Ends them all.
    pub fn finish(self) -> Vec<Count> {
        let Self { runtime, running } = self;
        running.into_iter().map(|load| load.finish(&runtime)).collect()
    }
}
