//! The agent's end of a connection to a keeper.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use crate::keeper::protocol::{Request, State};

/// How long a keeper may take to start and answer. It does nothing that lasts, but on a machine that is busy or short of
/// memory it may have to wait its turn; and one that is taken for lost is killed with its pod, so there is no hurry.
const ANSWER: Duration = Duration::from_secs(15);

/// A socket's path that is short enough whatever its folder's path: it goes through a descriptor of the folder.
pub struct SocketPath {
    dir: OwnedFd,
}

impl SocketPath {
    /// The socket of a pod's keeper.
    pub fn of(pod: &Path) -> io::Result<Self> {
        let dir = rustix::fs::open(
            pod,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { dir })
    }

    /// The path, which is good while `self` lives.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/keeper.sock", self.dir.as_raw_fd()))
    }
}

/// A connection to a keeper. Dropping it leaves the keeper as it is.
#[derive(Debug)]
pub struct Link {
    requests: mpsc::UnboundedSender<Request>,
    state: watch::Receiver<State>,
}

impl Link {
    /// Connects, and waits for the keeper's first word.
    pub async fn connect(pod: &Path) -> io::Result<Self> {
        let answer = async {
            let socket = SocketPath::of(pod)?;
            let stream = UnixStream::connect(socket.path()).await?;
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            let first = lines.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let (told, state) = watch::channel(serde_json::from_str(&first)?);
            let (requests, mut outgoing) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                while let Some(request) = outgoing.recv().await {
                    let mut line = serde_json::to_vec(&request)?;
                    line.push(b'\n');
                    write.write_all(&line).await?;
                }
                io::Result::Ok(())
            });
            tokio::spawn(async move {
                // Ends with the keeper, or when nobody looks at the state any more; `told` closes with it.
                loop {
                    let line = tokio::select! {
                        line = lines.next_line() => line,
                        () = told.closed() => return,
                    };
                    let Ok(Some(line)) = line else { return };
                    match serde_json::from_str(&line) {
                        Ok(state) => told.send_replace(state),
                        Err(_) => return,
                    };
                }
            });
            Ok(Self { requests, state })
        };
        tokio::time::timeout(ANSWER, answer)
            .await
            .map_err(io::Error::from)?
    }

    /// Sends a request. One that is lost with the keeper shows as the keeper's end.
    pub fn send(&self, request: Request) {
        let _ = self.requests.send(request);
    }

    /// Where requests can be sent from elsewhere.
    pub fn requests(&self) -> mpsc::UnboundedSender<Request> {
        self.requests.clone()
    }

    /// What the keeper told last.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Resolves when the keeper has told something new: `true`, or has gone: `false`.
    pub async fn changed(&mut self) -> bool {
        self.state.changed().await.is_ok()
    }

    /// Resolves when the keeper has gone.
    pub async fn gone(&mut self) {
        while self.state.changed().await.is_ok() {}
    }
}
