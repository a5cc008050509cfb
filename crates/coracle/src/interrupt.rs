//! What tells a command to end before its time: Ctrl-C, SIGTERM, and a terminal that was closed.
//!
//! Flows in: signals. Flows out: one future. Whoever listens must do so before it starts what it would have to stop.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask for an end. They end the process by themselves no more.
pub struct Interrupt(Vec<Signal>);

impl Interrupt {
    /// Listens from here on. `nohup` says that a closed terminal is to change nothing, which listening would undo.
    pub fn listen() -> anyhow::Result<Self> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        if !ignores_hangup()? {
            kinds.push(SignalKind::hangup());
        }
        let signals: std::io::Result<_> = kinds.into_iter().map(signal).collect();
        Ok(Self(signals.context("cannot listen for signals")?))
    }

    /// Waits for the next one.
    pub async fn recv(&mut self) {
        poll_fn(|context| {
            let mut signals = self.0.iter_mut();
            match signals.any(|signal| signal.poll_recv(context).is_ready()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

fn ignores_hangup() -> anyhow::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Ok(ignored.is_some_and(|mask| mask & 1 != 0))
}
