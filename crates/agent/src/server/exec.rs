//! Commands in containers, and their main processes: `exec` and `attach`.
//!
//! Flows in: a client's request. Flows out: an upgraded connection, over which the client types into the process and sees
//! its output. A command that nobody is connected to any more is ended; a main process is left alone.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use super::client::{Client, Input, Output, PROTOCOLS, STDERR, STDOUT, Wanted};
use super::terminal::{Size, Streams, Terminal};
use super::upgrade::{self, Agreement};
use super::{Body, BoxError, Refusal, Subject};
use crate::keeper::protocol::{Exec, ExecResult};
use crate::sandbox::exec;

/// How long output of a command that has ended is waited for: what it left running may hold it open for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wish {
    /// To be run; the main process needs none.
    command: Vec<String>,
    streams: Wanted,
}

impl Wish {
    fn parse(query: &str) -> Self {
        let mut wish = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let flag = matches!(value.as_ref(), "true" | "1");
            match name.as_ref() {
                "command" => wish.command.push(value.into_owned()),
                "stdin" => wish.streams.stdin = flag,
                "stdout" => wish.streams.stdout = flag,
                "stderr" => wish.streams.stderr = flag,
                "tty" => wish.streams.terminal = flag,
                _ => {}
            }
        }
        wish
    }
}

/// Answers `/exec/{namespace}/{pod}/{container}`.
pub fn run(subject: Subject, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let wish = Wish::parse(request.uri().query().unwrap_or_default());
    if wish.command.is_empty() {
        return Err(Refusal::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    answer(subject, request, wish)
}

/// Answers `/attach/{namespace}/{pod}/{container}`.
pub fn attach(subject: Subject, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let mut wish = Wish::parse(request.uri().query().unwrap_or_default());
    wish.command.clear();
    answer(subject, request, wish)
}

/// Upgrades the connection and serves it.
fn answer(subject: Subject, mut request: Request<Body>, wish: Wish) -> Result<Response<Body>, Refusal> {
    if !subject.is_running() {
        return Err(Refusal::not_found(no_container(&subject.container)));
    }
    let streams = wish.streams;
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(Refusal::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    let (response, agreement, upgrade) = upgrade::agree(&mut request, PROTOCOLS)?;
    tokio::spawn(async move {
        if let Err(error) = serve(upgrade, agreement, subject, wish).await {
            tracing::debug!(%error, "exec");
        }
    });
    Ok(response)
}

async fn serve(
    upgrade: OnUpgrade,
    agreement: Agreement,
    subject: Subject,
    wish: Wish,
) -> Result<(), BoxError> {
    let mut client = Client::open(upgrade, agreement, wish.streams).await?;
    let dir = subject.dir.as_path();
    let (result, is_attached) = if wish.command.is_empty() {
        let (streams, theirs) = Streams::pipes()?;
        let running = exec::attach(dir, &subject.container, wish.streams.stdin, theirs);
        let screen = Screen::Main(&subject);
        (
            converse(&mut client, wish.streams, streams, screen, running).await?,
            true,
        )
    } else {
        let (mut streams, theirs) = if wish.streams.terminal {
            Streams::terminal()?
        } else {
            Streams::pipes()?
        };
        let exec = Exec {
            container: subject.container.clone(),
            command: wish.command,
            terminal: wish.streams.terminal,
        };
        let screen = streams.terminal.take().map_or(Screen::None, Screen::Own);
        let running = exec::exec(dir, exec, theirs);
        (
            converse(&mut client, wish.streams, streams, screen, running).await?,
            false,
        )
    };
    match result {
        Some(result) => {
            let outcome = outcome(result, &subject.container, is_attached);
            client.finish(&outcome).await
        }
        None => Ok(()),
    }
}

/// The terminal whose size the client tells.
enum Screen<'a> {
    None,
    Own(Terminal),
    /// The main process's, which its keeper has.
    Main(&'a Subject),
}

impl Screen<'_> {
    async fn resize(&self, size: Size) {
        match self {
            Self::None => {}
            Self::Own(terminal) => terminal.resize(size),
            Self::Main(subject) => {
                if let Err(error) =
                    exec::resize(&subject.dir, &subject.container, size.height, size.width).await
                {
                    tracing::debug!(%error, "cannot change the size of a terminal");
                }
            }
        }
    }
}

/// Carries data to and fro until the process has ended; `None` if the client went away.
async fn converse(
    client: &mut Client,
    wanted: Wanted,
    streams: Streams,
    screen: Screen<'_>,
    running: impl Future<Output = io::Result<ExecResult>>,
) -> Result<Option<io::Result<ExecResult>>, BoxError> {
    let stdin = Some(streams.stdin).filter(|_| wanted.stdin);
    let Client { input, output } = client;
    // Apart from each other: a process that does not read must still be seen to write, and the other way round.
    tokio::select! {
        () = take(input, stdin, &screen) => Ok(None),
        result = show(output, wanted, streams.stdout, streams.stderr, running) => result.map(Some),
    }
}

/// Passes on what the client says, until it has gone.
async fn take(input: &mut BoxStream<'static, Input>, mut stdin: Option<pipe::Sender>, screen: &Screen<'_>) {
    while let Some(said) = input.next().await {
        match said {
            Input::Data(data) => {
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(&data).await.is_err()
                {
                    // The process reads no more.
                    stdin = None;
                }
            }
            Input::End => stdin = None,
            Input::Size(size) => screen.resize(size).await,
        }
    }
}

/// Passes on what the process writes, until it has ended and all is said.
async fn show(
    output: &mut Output,
    wanted: Wanted,
    stdout: pipe::Receiver,
    stderr: Option<pipe::Receiver>,
    running: impl Future<Output = io::Result<ExecResult>>,
) -> Result<io::Result<ExecResult>, BoxError> {
    let mut running = std::pin::pin!(running);
    let (mut stdout, mut stderr) = (Some(stdout), stderr);
    let mut result = None;
    loop {
        let is_over = result.is_some();
        tokio::select! {
            ended = &mut running, if !is_over => result = Some(ended),
            piece = read(stdout.as_mut(), STDOUT), if stdout.is_some() => match piece {
                Some(piece) if wanted.stdout => output.send(piece).await?,
                Some(_) => {}
                None => stdout = None,
            },
            piece = read(stderr.as_mut(), STDERR), if stderr.is_some() => match piece {
                Some(piece) if wanted.stderr => output.send(piece).await?,
                Some(_) => {}
                None => stderr = None,
            },
            () = tokio::time::sleep(LAST_OUTPUT), if is_over => (stdout, stderr) = (None, None),
        }
        if stdout.is_none()
            && stderr.is_none()
            && let Some(result) = result.take()
        {
            return Ok(result);
        }
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

fn no_container(name: &str) -> String {
    format!("container not found (\"{name}\")")
}

/// Whether a keeper could not be talked to because it has ended, as it does after its last container.
fn is_keepers_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof
    )
}

/// The Status that tells how a process ended. The exit code of a main process is not its client's: it is in the pod's
/// status.
fn outcome(result: io::Result<ExecResult>, container: &str, is_attached: bool) -> Value {
    let failed = |text: String| {
        let what = if is_attached {
            "error attaching to container"
        } else {
            "error executing command in container"
        };
        let message = format!("Internal error occurred: {what}: {text}");
        json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500, "message": message})
    };
    match result {
        Ok(ExecResult::Exited { code }) if code == 0 || is_attached => {
            json!({"metadata": {}, "status": "Success"})
        }
        Ok(ExecResult::Exited { code }) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Ok(ExecResult::Failed(text)) => failed(text),
        Err(error) if is_keepers_end(&error) => json!({
            "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
            "message": no_container(container),
        }),
        Err(error) => failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read() {
        let wish = Wish::parse("command=sh&command=-c&command=echo+a%26b&stdin=true&stdout=1&tty=false");
        assert_eq!(wish.command, ["sh", "-c", "echo a&b"]);
        let streams = wish.streams;
        assert!(streams.stdin && streams.stdout && !streams.stderr && !streams.terminal);
    }

    #[test]
    fn an_exit_code_is_told_as_upstream_does() {
        let status = outcome(Ok(ExecResult::Exited { code: 2 }), "c", false);
        assert_eq!(status["details"]["causes"][0]["message"], "2");
        assert_eq!(
            outcome(Ok(ExecResult::Exited { code: 0 }), "c", false)["status"],
            "Success"
        );
        assert_eq!(
            outcome(Ok(ExecResult::Exited { code: 2 }), "c", true)["status"],
            "Success"
        );
    }

    /// The keeper ends with its last container, and a client may come just then: to a socket that is gone, that refuses,
    /// or that is closed before the request is read.
    #[tokio::test]
    async fn a_container_whose_keeper_has_ended_is_not_found() {
        let folder = tempfile::TempDir::new().unwrap();
        let attach = async || {
            let (_streams, theirs) = Streams::pipes().unwrap();
            exec::attach(folder.path(), "debugger", false, theirs).await
        };
        let told = |result| outcome(result, "debugger", true);
        let missing = told(attach().await);
        assert_eq!(missing["message"], "container not found (\"debugger\")");
        assert_eq!(
            (&missing["code"], &missing["reason"]),
            (&json!(404), &json!("NotFound"))
        );

        let listener = tokio::net::UnixListener::bind(folder.path().join("keeper.sock")).unwrap();
        let (closed, ()) = tokio::join!(attach(), async {
            let (stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
        });
        let kind = |result: &io::Result<ExecResult>| result.as_ref().err().map(io::Error::kind);
        // Which of them depends on whether the request was written before the end was there.
        let broken = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(
            kind(&closed).is_some_and(|kind| broken.contains(&kind)),
            "{closed:?}"
        );
        assert_eq!(told(closed), missing);

        drop(listener);
        let refused = attach().await;
        assert_eq!(kind(&refused), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(told(refused), missing);
        let other = told(Err(io::Error::other("no descriptors are left")));
        assert_eq!(other["reason"], "InternalError");
    }
}
