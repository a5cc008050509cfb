//! A stream's two sides, as its user has them.
//!
//! Flows in: pieces of data from the connection. Flows out: frames for it. What is not read holds the connection up.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::frame::{Frame, Refusal};
use super::headers::Headers;

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
    pub(super) pieces: mpsc::Receiver<Piece>,
    pub(super) _permit: Arc<OwnedSemaphorePermit>,
}

/// Our side of a stream. To be ended with [`Writer::finish`] or [`Writer::reset`].
#[derive(Debug)]
pub struct Writer {
    pub(super) id: u32,
    pub(super) frames: mpsc::Sender<Outgoing>,
    pub(super) reset: CancellationToken,
    pub(super) _permit: Arc<OwnedSemaphorePermit>,
}

/// What a client says on a stream.
#[derive(Debug)]
pub enum Piece {
    Data(Bytes),
    End,
}

/// What the connection is to send; after `End` nothing more.
#[derive(Debug)]
pub enum Outgoing {
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
