//! Ctrl-C, for a program that has started others.
//!
//! The children get the signal, too, wherever it came from: whoever waits for one of them fails then, and unwinding
//! removes what is left.

use std::fs;
use std::sync::LazyLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

static MARK: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// Whether the user wants an end.
pub fn is_set() -> bool {
    MARK.is_cancelled()
}

/// Waits until the user wants an end.
pub async fn requested() {
    MARK.cancelled().await;
}

/// From here on, Ctrl-C and SIGTERM end the children, and set the mark.
///
/// # Errors
/// If signals cannot be handled.
pub fn watch() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                MARK.cancel();
                for child in children() {
                    // It may have ended by itself meanwhile.
                    let _ = kill(child, Signal::SIGINT);
                }
            }
        });
    });
    Ok(())
}

fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = lists.flat_map(|list| {
        list.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect::<Vec<_>>()
    });
    pids.map(Pid::from_raw).collect()
}
