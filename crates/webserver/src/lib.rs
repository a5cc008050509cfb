//! The stand-in web server: what a pod of an `nginx` image runs where nginx is not installed.
//!
//! Flows in: HTTP/1.1, and HTTP/2 without TLS from clients that begin with it. Flows out: a page that names image, pod
//! and node, the same three as headers of every response, and a few paths for testing balancers. Serves until SIGTERM
//! or SIGQUIT, finishes what is in flight, and ends. Never reads a file, and knows nothing of Kubernetes.

mod answer;
mod drip;
mod identity;
mod options;
mod server;

use std::io::Write;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub use identity::Identity;
pub use options::{Args, Options, OptionsError};
pub use server::{BindError, Server};

/// Runs the web server, in a pod's environment, until a signal ends it. Prints where it listens; says on standard error
/// why it cannot.
pub async fn run(args: Args) -> ExitCode {
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody to tell if standard error is gone: the exit code says it as well.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    // From here on a signal is noticed, so one that comes while the ports are being bound is not lost.
    let mut signals = [
        SignalKind::terminate(),
        SignalKind::quit(),
        SignalKind::interrupt(),
    ]
    .map(signal);
    let options = Options::new(args, std::env::vars().collect())?;
    let server = Server::bind(options).await?;
    say(&format!(
        "{} listens on {}",
        server.identity(),
        server.addresses().join(", ")
    ));
    let [terminate, quit, interrupt] = &mut signals;
    let stop = async {
        tokio::select! {
            () = arrives(terminate) => {}
            () = arrives(quit) => {}
            () = arrives(interrupt) => {}
        }
        say("stopping: no new connections, and the present ones end with their request");
    };
    server.serve(stop).await;
    say("stopped");
    Ok(())
}

/// A line on standard output, which may be closed.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn arrives(signal: &mut std::io::Result<Signal>) {
    match signal {
        Ok(signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
