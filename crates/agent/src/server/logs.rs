//! A container's log, and how it goes on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::{Response, header};
use jiff::Timestamp;
use rustix::fs::inotify;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::line::{render, take_lines};
use super::log_query::LogQuery;
use super::{Body, BoxError, Refusal, Subject, full};
use crate::keeper::protocol::Attempt;
use crate::keeper::record;

/// Pieces of a followed log that wait for a slow client.
const BACKLOG: usize = 16;

/// Answers `GET /containerLogs/{namespace}/{pod}/{container}`.
pub fn answer(subject: &Subject, query: &str) -> Result<Response<Body>, Refusal> {
    let query = LogQuery::parse(query, Timestamp::now())?;
    let attempt = attempt(subject, query.previous)?;
    let body = if query.follow && attempt.exit.is_none() {
        follow(subject.dir.clone(), attempt, query).map_err(Refusal::internal)?
    } else {
        full(read(&subject.dir, &attempt, &query).map_err(Refusal::internal)?)
    };
    let mut response = Response::new(body);
    let text = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Ok(response)
}

fn attempt(subject: &Subject, previous: bool) -> Result<Attempt, Refusal> {
    let (container, pod) = (&subject.container, subject.pod_name());
    let mut attempts = subject.attempts();
    let latest = attempts.pop();
    if previous {
        let text = format!("previous terminated container \"{container}\" in pod \"{pod}\" not found");
        // A container that waits for its restart has ended: its latest attempt is the previous one.
        let waits = subject
            .status()
            .and_then(|s| s.state.as_ref())
            .is_some_and(|state| state.waiting.is_some());
        let ended = latest.filter(|attempt| waits && attempt.exit.is_some());
        return attempts.pop().or(ended).ok_or_else(|| Refusal::bad_request(text));
    }
    latest.ok_or_else(|| {
        let state = subject.status().and_then(|status| status.state.as_ref());
        let reason = state.and_then(|state| state.waiting.as_ref()?.reason.clone());
        let reason = reason.unwrap_or_else(|| "ContainerCreating".to_owned());
        let what = match reason.as_str() {
            "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image".to_owned(),
            "InvalidImageName" => "image can't be pulled: InvalidImageName".to_owned(),
            _ => reason,
        };
        Refusal::bad_request(format!(
            "container \"{container}\" in pod \"{pod}\" is waiting to start: {what}"
        ))
    })
}

/// The files of an attempt's log, oldest first.
fn files(dir: &Path, attempt: &Attempt) -> [PathBuf; 2] {
    ["log.1", "log"].map(|extension| record::file(dir, &attempt.container, attempt.attempt, extension))
}

/// Cuts what is sent to the bytes that are wanted.
struct Limit(Option<usize>);

impl Limit {
    fn cut(&mut self, mut line: Vec<u8>) -> Vec<u8> {
        if let Some(left) = &mut self.0 {
            line.truncate(*left);
            *left -= line.len();
        }
        line
    }

    fn is_reached(&self) -> bool {
        self.0 == Some(0)
    }
}

/// What there is of a log by now.
fn read(dir: &Path, attempt: &Attempt, query: &LogQuery) -> io::Result<Vec<u8>> {
    let mut limit = Limit(query.limit);
    let mut lines = tail(&mut Reader::new(files(dir, attempt)), query)?;
    Ok(lines.drain(..).flat_map(|line| limit.cut(line)).collect())
}

/// The wanted lines that there are by now, no more than the wanted last ones.
fn tail(reader: &mut Reader, query: &LogQuery) -> io::Result<VecDeque<Vec<u8>>> {
    let mut lines = VecDeque::new();
    loop {
        let read = reader.read()?;
        if read.is_empty() {
            return Ok(lines);
        }
        for line in read {
            if let Some(line) = render(&line, query) {
                lines.push_back(line);
                if query.tail.is_some_and(|tail| lines.len() > tail) {
                    lines.pop_front();
                }
            }
        }
    }
}

/// Reads an attempt's log from its beginning and on, over rotations.
struct Reader {
    /// The current file's path.
    path: PathBuf,
    /// Files that are to be read to their ends.
    open: VecDeque<File>,
    unfinished: Vec<u8>,
}

impl Reader {
    fn new([old, current]: [PathBuf; 2]) -> Self {
        let open = [&old, &current]
            .into_iter()
            .filter_map(|path| File::open(path).ok())
            .collect();
        Self {
            path: current,
            open,
            unfinished: Vec::new(),
        }
    }

    /// The next complete lines; none if there are none now.
    fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut data = [0; 64 * 1024];
        loop {
            if self.open.is_empty() {
                match File::open(&self.path) {
                    Ok(file) => self.open.push_back(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                    Err(error) => return Err(error),
                }
            }
            let Some(file) = self.open.front_mut() else {
                return Ok(Vec::new());
            };
            let read = file.read(&mut data)?;
            if read > 0 {
                self.unfinished.extend_from_slice(&data[..read]);
                let lines = take_lines(&mut self.unfinished);
                if !lines.is_empty() {
                    return Ok(lines);
                }
                continue;
            }
            let is_current = is_same(file, &self.path);
            if is_current && self.open.len() == 1 {
                return Ok(Vec::new());
            }
            self.open.pop_front();
        }
    }
}

/// Whether an open file is the one at this path: it is not any more once it has been rotated.
fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => open.ino() == there.ino(),
        _ => true,
    }
}

fn follow(dir: PathBuf, attempt: Attempt, query: LogQuery) -> io::Result<Body> {
    let changes = Changes::of(&dir.join(&attempt.container))?;
    let (pieces, receiver) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(BACKLOG);
    tokio::spawn(async move {
        let followed = send(&dir, &attempt, &query, changes, &pieces);
        tokio::select! {
            result = followed => if let Err(error) = result {
                // A client that is not there any more does not mind.
                let _ = pieces.send(Err(error.into())).await;
            },
            () = pieces.closed() => {}
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    Ok(StreamBody::new(stream.boxed()).boxed_unsync())
}

async fn send(
    dir: &Path,
    attempt: &Attempt,
    query: &LogQuery,
    mut changes: Changes,
    pieces: &mpsc::Sender<Result<Frame<Bytes>, BoxError>>,
) -> io::Result<()> {
    let mut limit = Limit(query.limit);
    let mut reader = Reader::new(files(dir, attempt));
    let record = record::file(dir, &attempt.container, attempt.attempt, "json");
    let mut lines = tail(&mut reader, query)?;
    loop {
        // Looked at before the log is read to its end: what is written after its last line cannot be missed then.
        let has_ended = record::read::<Attempt>(&record).is_none_or(|attempt| attempt.exit.is_some());
        loop {
            let piece: Vec<u8> = lines.drain(..).flat_map(|line| limit.cut(line)).collect();
            if !piece.is_empty() && pieces.send(Ok(Frame::data(piece.into()))).await.is_err() {
                return Ok(());
            }
            let read = reader.read()?;
            if read.is_empty() {
                break;
            }
            lines.extend(read.iter().filter_map(|line| render(line, query)));
        }
        if has_ended || limit.is_reached() {
            return Ok(());
        }
        changes.wait().await?;
    }
}

/// Changes in a folder, by inotify.
struct Changes(pipe::Receiver);

impl Changes {
    fn of(dir: &Path) -> io::Result<Self> {
        let watched = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let flags =
            inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE_SELF;
        inotify::add_watch(&watched, dir, flags)?;
        // It is read like a pipe.
        pipe::Receiver::from_owned_fd_unchecked(watched).map(Self)
    }

    /// Resolves when something has changed since the last look.
    async fn wait(&mut self) -> io::Result<()> {
        // What has changed does not matter: all is looked at again.
        self.0.read(&mut [0; 4096]).await.map(drop)
    }
}
