//! A body that comes slowly.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// How often a piece comes.
const STEP: Duration = Duration::from_millis(20);
/// The largest piece: all pieces are views of this.
static DOTS: [u8; 64 * 1024] = [b'.'; 64 * 1024];

/// So many bytes, evenly over so long a time. Its length is known, so a client can tell whether it got all of it.
pub(crate) struct Drip {
    bytes: u64,
    sent: u64,
    time: Duration,
    begin: Instant,
    pause: Pin<Box<Sleep>>,
}

impl Drip {
    pub fn new(bytes: u64, time: Duration) -> Self {
        Self {
            bytes,
            sent: 0,
            time,
            begin: Instant::now(),
            pause: Box::pin(sleep(STEP.min(time))),
        }
    }

    /// Bytes that should have been sent by now.
    fn due(&self) -> u64 {
        let elapsed = self.begin.elapsed().as_micros();
        match self.time.as_micros() {
            time if elapsed >= time => self.bytes,
            // Less than `bytes`, because `elapsed` is less than `time`.
            time => u64::try_from(u128::from(self.bytes) * elapsed / time).unwrap_or(self.bytes),
        }
    }
}

impl Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while self.sent < self.bytes {
            let due = usize::try_from(self.due() - self.sent)
                .unwrap_or(usize::MAX)
                .min(DOTS.len());
            if due > 0 {
                self.sent += due as u64;
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&DOTS[..due])))));
            }
            ready!(self.pause.as_mut().poll(context));
            let next = (Instant::now() + STEP).min(self.begin + self.time);
            self.pause.as_mut().reset(next);
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.bytes
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes - self.sent)
    }
}
