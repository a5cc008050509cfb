//! Serving the status document: whoever connects gets one, and the end of the stream.

use std::path::Path;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::BalancerError;
use crate::status::{Near, Status};

/// Someone wants to know.
pub type Request = oneshot::Sender<Status>;

/// Listens at the path until `stop`; each request is to be answered.
pub fn serve(
    path: &Path,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<mpsc::Receiver<Request>, BalancerError> {
    let failed = |source| BalancerError::StatusSocket {
        path: path.to_owned(),
        source,
    };
    let near = Near::to(path).map_err(failed)?;
    // What an earlier balancer has left.
    let _ = std::fs::remove_file(near.path());
    let listener = UnixListener::bind(near.path()).map_err(failed)?;
    let (requests, incoming) = mpsc::channel(8);
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => answer(stream, &requests).await,
                // Out of descriptors, which is the datapath's to tell; a client asks again.
                Err(error) => {
                    tracing::debug!(%error, "cannot accept at the status socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }));
    Ok(incoming)
}

async fn answer(mut stream: UnixStream, requests: &mpsc::Sender<Request>) {
    let (reply, status) = oneshot::channel();
    if requests.send(reply).await.is_err() {
        return;
    }
    let Ok(Ok(document)) = status.await.map(|status| serde_json::to_vec(&status)) else {
        return;
    };
    // A client that went away needs no answer.
    let _ = stream.write_all(&document).await;
}
