//! A connection's two directions, and the streams that the client opens in it.
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
use super::stream::{Outgoing, Piece, Reader, Stream, Writer};

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
mod tests;
