//! Runs a command in a container, or attaches to its main process, through its keeper, which is handed descriptors.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::UnixStream;

use super::link::SocketPath;
use crate::keeper::protocol::{Exec, ExecResult, Request};

/// Runs a command with these descriptors as standard input, output and error, and waits for its end. Dropping the
/// future kills the command and its descendants.
pub async fn exec(pod: &Path, exec: Exec, descriptors: [OwnedFd; 3]) -> io::Result<ExecResult> {
    ask(pod, &Request::Exec(exec), descriptors).await
}

/// Connects these descriptors to the main process of a running container, and waits for its end. Dropping the future
/// leaves the process alone.
pub async fn attach(
    pod: &Path,
    container: &str,
    stdin: bool,
    descriptors: [OwnedFd; 3],
) -> io::Result<ExecResult> {
    let container = container.to_owned();
    ask(pod, &Request::Attach { container, stdin }, descriptors).await
}

/// Changes the size of the terminal of a container's main process.
pub async fn resize(pod: &Path, container: &str, rows: u16, columns: u16) -> io::Result<()> {
    let (mut stream, line) = connect(
        pod,
        &Request::Resize {
            container: container.to_owned(),
            rows,
            columns,
        },
    )
    .await?;
    stream.write_all(&line).await
}

async fn connect(pod: &Path, request: &Request) -> io::Result<(UnixStream, Vec<u8>)> {
    let socket = SocketPath::of(pod)?;
    let stream = UnixStream::connect(socket.path()).await?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    Ok((stream, line))
}

async fn ask(pod: &Path, request: &Request, descriptors: [OwnedFd; 3]) -> io::Result<ExecResult> {
    let (mut stream, line) = connect(pod, request).await?;
    let sent = stream
        .async_io(Interest::WRITABLE, || send(&stream, &line, &descriptors))
        .await?;
    // The command's end must show as the end of its output: only it may hold these.
    drop(descriptors);
    stream.write_all(&line[sent..]).await?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        // Until the command runs, the keeper tells this connection its state, as it does every other.
        if let Ok(result) = serde_json::from_str(&line) {
            return Ok(result);
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn send(stream: &UnixStream, line: &[u8], descriptors: &[OwnedFd; 3]) -> io::Result<usize> {
    let descriptors = descriptors.each_ref().map(|descriptor| descriptor.as_fd());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    Ok(sendmsg(
        stream,
        &[IoSlice::new(line)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?)
}
