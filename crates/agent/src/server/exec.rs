//! Commands in containers, over a WebSocket with Kubernetes' channels.
//!
//! A binary message is a channel's number and data: 0 standard input, 1 output, 2 error, 3 the outcome as a Status, 4 the
//! terminal's size, and with `v5.channel.k8s.io` 255 with the number of a channel that the client closes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::{Body, Refusal, Subject, full};
use crate::keeper::protocol::{Exec, ExecResult};
use crate::sandbox::exec;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const OUTCOME: u8 = 3;
const SIZE: u8 = 4;
const CLOSE: u8 = 255;

/// The protocols we speak, the best one first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// Pieces of input that wait for a command that does not read.
const BACKLOG: usize = 16;
/// How long output of a command that has ended is waited for: what it left running may hold it open for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// What is to be run, and which of its streams the client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wish {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    terminal: bool,
}

impl Wish {
    fn parse(query: &str) -> Self {
        let mut wish = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let flag = matches!(value.as_ref(), "true" | "1");
            match name.as_ref() {
                "command" => wish.command.push(value.into_owned()),
                "stdin" => wish.stdin = flag,
                "stdout" => wish.stdout = flag,
                "stderr" => wish.stderr = flag,
                "tty" => wish.terminal = flag,
                _ => {}
            }
        }
        wish
    }
}

/// Answers `/exec/{namespace}/{pod}/{container}`: switches to a WebSocket and serves it.
pub async fn answer(subject: Subject, mut request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let wish = Wish::parse(request.uri().query().unwrap_or_default());
    if wish.command.is_empty() {
        return Err(Refusal::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    let is_running = subject
        .status()
        .and_then(|status| status.state.as_ref())
        .is_some_and(|s| s.running.is_some());
    if !is_running {
        return Err(Refusal::not_found(format!(
            "container not found (\"{}\")",
            subject.container
        )));
    }
    let headers = request.headers();
    let is_websocket = headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_websocket) else {
        let text = "exec needs a WebSocket: use kubectl 1.29 or later (with 1.29, set KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true)";
        return Err(Refusal::bad_request(text));
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(Refusal::internal)?;
    let protocol = protocol(headers);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Err(error) = serve(upgrade, subject, wish).await {
            tracing::debug!(%error, "exec");
        }
    });
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(response)
}

fn protocol(headers: &HeaderMap) -> Option<&'static str> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered: Vec<&str> = offered
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .collect();
    PROTOCOLS
        .into_iter()
        .find(|ours| offered.iter().any(|theirs| theirs.trim() == *ours))
}

/// Our ends of a command's streams.
struct Streams {
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    /// A terminal has none of its own.
    stderr: Option<pipe::Receiver>,
    /// The terminal, to change its size.
    terminal: Option<OwnedFd>,
}

impl Streams {
    /// Makes streams; also returns the command's ends.
    fn new(terminal: bool) -> io::Result<(Self, [OwnedFd; 3])> {
        if terminal {
            let pty = nix::pty::openpty(None, None)?;
            for fd in [&pty.master, &pty.slave] {
                rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
            }
            rustix::io::ioctl_fionbio(&pty.master, true)?;
            let streams = Self {
                // A terminal is read and written like a pipe.
                stdin: pipe::Sender::from_owned_fd_unchecked(pty.master.try_clone()?)?,
                stdout: pipe::Receiver::from_owned_fd_unchecked(pty.master.try_clone()?)?,
                stderr: None,
                terminal: Some(pty.master),
            };
            return Ok((
                streams,
                [pty.slave.try_clone()?, pty.slave.try_clone()?, pty.slave],
            ));
        }
        let (stdin, our_stdin) = pipe_with(PipeFlags::CLOEXEC)?;
        let (our_stdout, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (our_stderr, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        for fd in [&our_stdin, &our_stdout, &our_stderr] {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        let streams = Self {
            stdin: pipe::Sender::from_owned_fd(our_stdin)?,
            stdout: pipe::Receiver::from_owned_fd(our_stdout)?,
            stderr: Some(pipe::Receiver::from_owned_fd(our_stderr)?),
            terminal: None,
        };
        Ok((streams, [stdin, stdout, stderr]))
    }
}

/// Reads a piece, headed by its channel; `None` at the end.
async fn read(stream: Option<&mut pipe::Receiver>, channel: u8) -> Option<Bytes> {
    let mut data = vec![0; 32 * 1024];
    data[0] = channel;
    // A terminal whose last user has gone fails instead of ending.
    match stream?.read(&mut data[1..]).await {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            data.truncate(read + 1);
            Some(data.into())
        }
    }
}

/// Writes all that comes to standard input, which is closed at the end.
async fn feed(mut stdin: pipe::Sender, mut pieces: mpsc::Receiver<Bytes>) {
    while let Some(piece) = pieces.recv().await {
        if stdin.write_all(&piece).await.is_err() {
            // The command reads no more.
            return;
        }
    }
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn serve(upgrade: OnUpgrade, subject: Subject, wish: Wish) -> Result<(), super::BoxError> {
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgrade.await?), Role::Server, None).await;
    let (streams, theirs) = Streams::new(wish.terminal)?;
    let exec = Exec {
        container: subject.container.clone(),
        command: wish.command.clone(),
        terminal: wish.terminal,
    };
    // An empty piece tells the client that the connection stands.
    let first = if wish.stdout { STDOUT } else { OUTCOME };
    socket
        .send(Message::Binary(Bytes::copy_from_slice(&[first])))
        .await?;
    let Some(outcome) = converse(&mut socket, &subject.dir, &wish, exec, streams, theirs).await? else {
        return Ok(());
    };
    let mut message = vec![OUTCOME];
    message.extend_from_slice(outcome.to_string().as_bytes());
    socket.send(Message::Binary(message.into())).await?;
    // Clients take any other code, and none, for a failure.
    let end = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    socket.close(Some(end)).await?;
    Ok(())
}

/// Carries data to and fro until the command has ended; `None` if the client went away, which ends the command.
async fn converse(
    socket: &mut Socket,
    dir: &Path,
    wish: &Wish,
    exec: Exec,
    streams: Streams,
    theirs: [OwnedFd; 3],
) -> Result<Option<Value>, super::BoxError> {
    let (input, pieces) = mpsc::channel(BACKLOG);
    let mut input = Some(input).filter(|_| wish.stdin);
    tokio::spawn(feed(streams.stdin, pieces));
    let (mut stdout, mut stderr, terminal) = (Some(streams.stdout), streams.stderr, streams.terminal);
    let mut running = Box::pin(exec::exec(dir, exec, theirs));
    let mut result = None;
    loop {
        let is_over = result.is_some();
        tokio::select! {
            ended = &mut running, if !is_over => result = Some(ended),
            piece = read(stdout.as_mut(), STDOUT), if stdout.is_some() => match piece {
                Some(piece) if wish.stdout => socket.send(Message::Binary(piece)).await?,
                Some(_) => {}
                None => stdout = None,
            },
            piece = read(stderr.as_mut(), STDERR), if stderr.is_some() => match piece {
                Some(piece) if wish.stderr => socket.send(Message::Binary(piece)).await?,
                Some(_) => {}
                None => stderr = None,
            },
            message = socket.next() => match message.transpose()? {
                Some(Message::Binary(data)) => take(data, &mut input, terminal.as_ref()).await,
                Some(Message::Close(_)) | None => return Ok(None),
                Some(_) => {}
            },
            () = tokio::time::sleep(LAST_OUTPUT), if is_over => (stdout, stderr) = (None, None),
        }
        if stdout.is_none()
            && stderr.is_none()
            && let Some(result) = result.take()
        {
            return Ok(Some(outcome(result)));
        }
    }
}

/// Takes a message of the client.
async fn take(mut data: Bytes, input: &mut Option<mpsc::Sender<Bytes>>, terminal: Option<&OwnedFd>) {
    if data.is_empty() {
        return;
    }
    let channel = data.split_to(1)[0];
    match (channel, terminal) {
        (STDIN, _) => {
            let Some(sender) = input else { return };
            if sender.send(data).await.is_err() {
                *input = None;
            }
        }
        (SIZE, Some(terminal)) => {
            let Ok(size) = serde_json::from_slice::<Value>(&data) else {
                return;
            };
            let side = |name: &str| {
                size[name]
                    .as_u64()
                    .and_then(|side| u16::try_from(side).ok())
                    .unwrap_or(0)
            };
            let size = Winsize {
                ws_row: side("Height"),
                ws_col: side("Width"),
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            // A terminal that is gone needs no size.
            let _ = tcsetwinsize(terminal, size);
        }
        (CLOSE, _) if data.first() == Some(&STDIN) => *input = None,
        _ => {}
    }
}

/// The Status that tells how a command ended.
fn outcome(result: io::Result<ExecResult>) -> Value {
    let failed = |text: String| {
        let message = format!("Internal error occurred: error executing command in container: {text}");
        json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500, "message": message})
    };
    match result {
        Ok(ExecResult::Exited { code: 0 }) => json!({"metadata": {}, "status": "Success"}),
        Ok(ExecResult::Exited { code }) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Ok(ExecResult::Failed(text)) => failed(text),
        Err(error) => failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_and_protocols_are_read() {
        let wish = Wish::parse("command=sh&command=-c&command=echo+a%26b&stdin=true&stdout=1&tty=false");
        assert_eq!(wish.command, ["sh", "-c", "echo a&b"]);
        assert!(wish.stdin && wish.stdout && !wish.stderr && !wish.terminal);
        let mut headers = HeaderMap::new();
        assert_eq!(protocol(&headers), None);
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static("v4.channel.k8s.io, v5.channel.k8s.io"),
        );
        assert_eq!(protocol(&headers), Some("v5.channel.k8s.io"));
    }

    #[test]
    fn an_exit_code_is_told_as_upstream_does() {
        let status = outcome(Ok(ExecResult::Exited { code: 2 }));
        assert_eq!(status["details"]["causes"][0]["message"], "2");
        assert_eq!(outcome(Ok(ExecResult::Exited { code: 0 }))["status"], "Success");
    }
}
