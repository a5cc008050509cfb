//! A connection's two directions, and the streams in it.
//!
//! One task reads and hands out, one writes. What a stream's user does not take holds up the reading task, and so the
//! client; what the client does not take holds up all writers. So memory is bounded by the number of streams.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Sink, SinkExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::frame::{Decoder, Encoder, Frame, Refusal};
use super::headers::Headers;

/// Streams of a connection at a time; a forwarded connection takes two.
const STREAMS: usize = 2048;
/// Pieces of data that wait for a stream's user.
const BACKLOG: usize = 16;
/// Frames that wait to be sent.
const OUTGOING: usize = 32;
/// Bytes that are gathered into one write.
const WRITE: usize = 64 * 1024;
/// How long a client may take to close its side after we have closed ours.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes both ways: a socket, or a tunnel through something else.
pub struct Transport {
    /// What the client sends.
    pub input: BoxStream<'static, io::Result<Bytes>>,
    /// What is sent to the client.
    pub output: Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>,
}

/// The server's side of a connection. Dropping it ends it at once.
#[derive(Debug)]
pub struct Connection {
    streams: mpsc::Receiver<Stream>,
    frames: mpsc::Sender<Outgoing>,
    task: JoinHandle<()>,
}

/// A stream that the client has opened.
#[derive(Debug)]
pub struct Stream {
    /// What it is for.
    pub headers: Headers,
    /// What the client sends.
    pub reader: Reader,
    /// What is sent to the client.
    pub writer: Writer,
}

/// The stream was given up by the client, or its connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has given the stream up")]
pub struct Reset;

/// The client's side of a stream.
#[derive(Debug)]
pub struct Reader {
    pieces: mpsc::Receiver<Piece>,
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Our side of a stream. To be ended with [`Writer::finish`] or [`Writer::reset`].
#[derive(Debug)]
pub struct Writer {
    id: u32,
    frames: mpsc::Sender<Outgoing>,
    reset: CancellationToken,
    _permit: Arc<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End,
}

#[derive(Debug)]
enum Outgoing {
    Frame(Frame),
    End,
}

impl Reader {
    /// The next piece of data; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Reset> {
        match self.pieces.recv().await {
            Some(Piece::Data(data)) => Ok(Some(data)),
            Some(Piece::End) => Ok(None),
            None => Err(Reset),
        }
    }
}

impl Writer {
    /// Sends data; waits while the client is slow.
    pub async fn send(&mut self, data: Bytes) -> Result<(), Reset> {
        self.frame(data, false).await
    }

    /// Sends nothing more.
    pub async fn finish(self) -> Result<(), Reset> {
        self.frame(Bytes::new(), true).await
    }

    /// Gives the stream up, both ways.
    pub async fn reset(self) {
        let status = Refusal::Cancel as u32;
        // Where there is no connection any more, there is no stream to give up.
        let _ = self
            .frames
            .send(Outgoing::Frame(Frame::Reset { id: self.id, status }))
            .await;
    }

    async fn frame(&self, data: Bytes, fin: bool) -> Result<(), Reset> {
        let frame = Frame::Data {
            id: self.id,
            fin,
            data,
        };
        tokio::select! {
            biased;
            () = self.reset.cancelled() => Err(Reset),
            sent = self.frames.send(Outgoing::Frame(frame)) => sent.map_err(|_| Reset),
        }
    }

    /// Resolves when the client has given the stream up, or its connection has ended.
    pub async fn gone(&self) {
        self.reset.cancelled().await;
    }

    /// The same, to be kept apart from the stream.
    pub fn ending(&self) -> CancellationToken {
        self.reset.clone()
    }
}

impl Connection {
    /// Serves a transport.
    pub fn new(transport: Transport) -> Self {
        let (opened, streams) = mpsc::channel(OUTGOING);
        let (frames, outgoing) = mpsc::channel(OUTGOING);
        let Transport { mut input, output } = transport;
        let mut inbound = Inbound {
            opened,
            frames: frames.clone(),
            streams: HashMap::new(),
            last: 0,
            free: Arc::new(Semaphore::new(STREAMS)),
            ended: CancellationToken::new(),
        };
        let task = tokio::spawn(async move {
            let ended = inbound.ended.clone().drop_guard();
            let mut writing = std::pin::pin!(write(output, outgoing));
            let result = tokio::select! {
                result = inbound.read(&mut input) => result,
                result = writing.as_mut() => match result {
                    // Closing with input unread would make the system drop what the client has not read yet.
                    Ok(()) => {
                        let rest = async { while input.next().await.is_some_and(|piece| piece.is_ok()) {} };
                        // A client that stays is left behind.
                        let _ = tokio::time::timeout(LINGER, rest).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            drop(ended);
            if let Err(error) = result {
                tracing::debug!(%error, "SPDY connection");
            }
        });
        Self {
            streams,
            frames,
            task,
        }
    }

    /// The next stream that the client opens; `None` when the client has gone.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// Ends the connection when all that was sent has gone out.
    pub async fn finish(mut self) {
        // Where there is no connection any more, there is nothing to end.
        if self.frames.send(Outgoing::End).await.is_ok() {
            let _ = (&mut self.task).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(
    mut output: Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let (mut encoder, mut bytes) = (Encoder::default(), BytesMut::new());
    let mut next = outgoing.recv().await;
    loop {
        match next {
            Some(Outgoing::Frame(frame)) => encoder.write(&frame, &mut bytes).map_err(io::Error::other)?,
            Some(Outgoing::End) | None => break,
        }
        next = match outgoing.try_recv() {
            Ok(more) if bytes.len() < WRITE => Some(more),
            more => {
                output.send(bytes.split().freeze()).await?;
                match more {
                    Ok(more) => Some(more),
                    Err(_) => outgoing.recv().await,
                }
            }
        };
    }
    encoder
        .write(&Frame::GoAway, &mut bytes)
        .map_err(io::Error::other)?;
    output.send(bytes.freeze()).await?;
    output.close().await
}

/// The streams that the client may still say something about.
struct Inbound {
    opened: mpsc::Sender<Stream>,
    frames: mpsc::Sender<Outgoing>,
    streams: HashMap<u32, Receiving>,
    /// The stream opened last.
    last: u32,
    free: Arc<Semaphore>,
    ended: CancellationToken,
}

struct Receiving {
    pieces: mpsc::Sender<Piece>,
    reset: CancellationToken,
    /// Held by the stream's two sides.
    permit: Weak<OwnedSemaphorePermit>,
}

impl Inbound {
    async fn read(&mut self, input: &mut BoxStream<'static, io::Result<Bytes>>) -> io::Result<()> {
        let mut decoder = Decoder::default();
        while let Some(bytes) = input.next().await {
            decoder.feed(&bytes?);
            while let Some(frame) = decoder.next().map_err(io::Error::other)? {
                self.take(frame).await;
            }
        }
        Ok(())
    }

    async fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Open { id, fin, headers } => self.open(id, fin, headers).await,
            Frame::Data { id, fin, data } => {
                let Some(stream) = self.streams.get(&id) else {
                    // It was given up while this was on its way.
                    return;
                };
                // Whoever does not read on does not want it.
                if !data.is_empty() {
                    let _ = stream.pieces.send(Piece::Data(data)).await;
                }
                // It stays known: the client may give it up still.
                if fin {
                    let _ = stream.pieces.send(Piece::End).await;
                }
            }
            Frame::Reset { id, .. } => {
                if let Some(stream) = self.streams.remove(&id) {
                    stream.reset.cancel();
                }
            }
            // Ours are even, and we send none.
            Frame::Ping(id) if id % 2 == 1 => self.send(Frame::Ping(id)).await,
            Frame::Ping(_) | Frame::GoAway | Frame::Accept { .. } => {}
        }
    }

    async fn open(&mut self, id: u32, fin: bool, headers: Headers) {
        let refuse = |refusal| Frame::Reset {
            id,
            status: refusal as u32,
        };
        if id.is_multiple_of(2) || id <= self.last {
            return self.send(refuse(Refusal::Protocol)).await;
        }
        self.last = id;
        self.streams.retain(|_, stream| stream.permit.strong_count() > 0);
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            return self.send(refuse(Refusal::Refused)).await;
        };
        let permit = Arc::new(permit);
        let held = Arc::downgrade(&permit);
        let (sender, pieces) = mpsc::channel(BACKLOG);
        let reset = self.ended.child_token();
        let stream = Stream {
            headers,
            reader: Reader {
                pieces,
                _permit: permit.clone(),
            },
            writer: Writer {
                id,
                frames: self.frames.clone(),
                reset: reset.clone(),
                _permit: permit,
            },
        };
        if fin {
            // There is room: it is the first piece.
            let _ = sender.try_send(Piece::End);
        }
        self.streams.insert(
            id,
            Receiving {
                pieces: sender,
                reset,
                permit: held,
            },
        );
        self.send(Frame::Accept { id }).await;
        // Nobody takes streams any more: the connection is about to end.
        let _ = self.opened.send(stream).await;
    }

    async fn send(&self, frame: Frame) {
        // It fails where the connection is about to end.
        let _ = self.frames.send(Outgoing::Frame(frame)).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::PollSender;

    use super::*;

    /// A client that speaks frames.
    struct Client {
        out: mpsc::Sender<Bytes>,
        input: mpsc::Receiver<Bytes>,
        encoder: Encoder,
        decoder: Decoder,
    }

    fn connect() -> (Client, Connection) {
        let (out, theirs) = mpsc::channel(4);
        let (to_client, input) = mpsc::channel(4);
        let stream = futures::stream::unfold(theirs, |mut theirs| async {
            let bytes: Bytes = theirs.recv().await?;
            Some((Ok(bytes), theirs))
        });
        let transport = Transport {
            input: stream.boxed(),
            output: Box::pin(PollSender::new(to_client).sink_map_err(io::Error::other)),
        };
        let client = Client {
            out,
            input,
            encoder: Encoder::default(),
            decoder: Decoder::default(),
        };
        (client, Connection::new(transport))
    }

    impl Client {
        async fn send(&mut self, frame: Frame) {
            let mut bytes = BytesMut::new();
            self.encoder.write(&frame, &mut bytes).unwrap();
            self.out.send(bytes.freeze()).await.unwrap();
        }

        async fn open(&mut self, id: u32) {
            let headers = Headers(vec![("streamtype".into(), "data".into())]);
            self.send(Frame::Open {
                id,
                fin: false,
                headers,
            })
            .await;
        }

        async fn data(&mut self, id: u32, data: &str, fin: bool) {
            let data = Bytes::copy_from_slice(data.as_bytes());
            self.send(Frame::Data { id, fin, data }).await;
        }

        async fn next(&mut self) -> Option<Frame> {
            loop {
                if let Some(frame) = self.decoder.next().unwrap() {
                    return Some(frame);
                }
                self.decoder.feed(&self.input.recv().await?);
            }
        }
    }

    #[tokio::test]
    async fn a_stream_goes_both_ways_and_ends_twice() {
        let (mut client, mut connection) = connect();
        client.open(1).await;
        let mut stream = connection.accept().await.unwrap();
        assert_eq!(stream.headers.get("streamType"), Some("data"));
        assert_eq!(client.next().await, Some(Frame::Accept { id: 1 }));
        client.data(1, "ping", true).await;
        assert_eq!(stream.reader.next().await, Ok(Some("ping".into())));
        assert_eq!(stream.reader.next().await, Ok(None));
        stream.writer.send("pong".into()).await.unwrap();
        stream.writer.finish().await.unwrap();
        let pong = |data: &'static str, fin| Frame::Data {
            id: 1,
            fin,
            data: data.into(),
        };
        assert_eq!(client.next().await, Some(pong("pong", false)));
        assert_eq!(client.next().await, Some(pong("", true)));
        client.send(Frame::Ping(3)).await;
        assert_eq!(client.next().await, Some(Frame::Ping(3)));
        drop(client.out);
        assert!(connection.accept().await.is_none());
    }

    #[tokio::test]
    async fn giving_up_reaches_both_sides_even_after_the_end() {
        let (mut client, mut connection) = connect();
        client.open(1).await;
        let Stream {
            mut reader,
            mut writer,
            ..
        } = connection.accept().await.unwrap();
        client.data(1, "", true).await;
        assert_eq!(reader.next().await, Ok(None));
        client.send(Frame::Reset { id: 1, status: 5 }).await;
        writer.gone().await;
        assert_eq!(writer.send("late".into()).await, Err(Reset));
        client.open(3).await;
        let mut stream = connection.accept().await.unwrap();
        drop(client.out);
        assert_eq!(stream.reader.next().await, Err(Reset));
        stream.writer.gone().await;
    }

    #[tokio::test]
    async fn streams_are_bounded_and_numbered_upwards() {
        let (mut client, mut connection) = connect();
        let mut held = Vec::new();
        for number in 0..=STREAMS {
            let id = u32::try_from(number).unwrap() * 2 + 1;
            client.open(id).await;
            let expected = if number < STREAMS {
                held.push(connection.accept().await.unwrap());
                Frame::Accept { id }
            } else {
                Frame::Reset { id, status: 3 }
            };
            assert_eq!(client.next().await, Some(expected));
        }
        held.pop();
        let next = u32::try_from(STREAMS).unwrap() * 2 + 3;
        client.open(next).await;
        assert_eq!(client.next().await, Some(Frame::Accept { id: next }));
        client.open(next).await;
        assert_eq!(client.next().await, Some(Frame::Reset { id: next, status: 1 }));
    }

    #[tokio::test]
    async fn what_is_not_read_is_not_buffered() {
        let (mut client, mut connection) = connect();
        client.open(1).await;
        let mut stream = connection.accept().await.unwrap();
        let mut sent = 0usize;
        let flood = async {
            loop {
                client.data(1, "x", false).await;
                sent += 1;
            }
        };
        let limit = tokio::time::timeout(Duration::from_millis(300), flood);
        assert!(limit.await.is_err());
        assert!(sent < 2 * (BACKLOG + OUTGOING), "{sent} pieces were taken");
        for _ in 0..sent {
            assert_eq!(stream.reader.next().await, Ok(Some("x".into())));
        }
    }

    #[tokio::test]
    async fn what_was_sent_goes_out_before_the_end() {
        let (mut client, mut connection) = connect();
        client.open(1).await;
        let mut stream = connection.accept().await.unwrap();
        stream.writer.send("last words".into()).await.unwrap();
        stream.writer.finish().await.unwrap();
        let read = async move {
            let mut frames = Vec::new();
            while let Some(frame) = client.next().await {
                frames.push(frame);
            }
            drop(client.out);
            frames
        };
        let (frames, ()) = tokio::join!(read, connection.finish());
        assert_eq!(frames.len(), 4, "{frames:?}");
        assert_eq!(frames.last(), Some(&Frame::GoAway));
    }
}
