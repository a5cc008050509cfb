//! Serving the status document: whoever connects gets one, and the end of the stream.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BalancerError, Question};
use crate::status::Near;

/// Clients at the same time.
const CLIENTS: usize = 32;
/// How long a client may take to read its answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Listens at the path until `stop`; each question is to be answered.
pub fn serve(
    path: &Path,
    questions: mpsc::Sender<Question>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), BalancerError> {
    let listener = listen(path)?;
    let (clients, slots) = (tasks.clone(), Arc::new(Semaphore::new(CLIENTS)));
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let questions = questions.clone();
                    clients.spawn(stop.clone().run_until_cancelled_owned(async move {
                        // A client that does not read must not keep its place.
                        let _ = tokio::time::timeout(LIMIT, answer(stream, &questions)).await;
                        drop(slot);
                    }));
                }
                // Out of descriptors, which is the datapath's to tell; a client asks again.
                Err(error) => {
                    tracing::debug!(%error, "cannot accept at the status socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }));
    Ok(())
}

/// Listens at a path, whoever did so before.
pub fn listen(path: &Path) -> Result<UnixListener, BalancerError> {
    let failed = |source| BalancerError::UnixSocket {
        path: path.to_owned(),
        source,
    };
    let near = Near::to(path).map_err(failed)?;
    // What an earlier balancer has left.
    let _ = std::fs::remove_file(near.path());
    UnixListener::bind(near.path()).map_err(failed)
}

async fn answer(mut stream: UnixStream, questions: &mpsc::Sender<Question>) {
    let (reply, status) = oneshot::channel();
    if questions.send(Question::Status(reply)).await.is_err() {
        return;
    }
    let Ok(Ok(document)) = status.await.map(|status| serde_json::to_vec(&status)) else {
        return;
    };
    // A client that went away needs no answer.
    let _ = stream.write_all(&document).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Listener, Status};

    /// A document that no socket's buffer holds.
    fn long() -> Status {
        let listener = Listener {
            addr: ([127, 0, 0, 1], 80).into(),
            route: "default/a-service-with-a-rather-long-name:http".to_owned(),
            error: None,
        };
        Status {
            pid: 1,
            milliseconds: 1,
            connections: 0,
            most: 1,
            metrics: None,
            listeners: vec![listener; 20_000],
            services: Vec::new(),
            backends: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_keeps_no_other_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (ask, mut questions) = mpsc::channel(8);
        serve(&path, ask, &tasks, stop.clone()).unwrap();
        tasks.spawn(async move {
            while let Some(Question::Status(reply)) = questions.recv().await {
                let _ = reply.send(long());
            }
        });
        let silent = UnixStream::connect(&path).await.unwrap();
        let reading = tokio::time::timeout(LIMIT / 2, crate::status::read(&path));
        assert_eq!(reading.await.expect("an answer in time").unwrap(), long());
        drop(silent);
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
