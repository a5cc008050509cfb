//! Messages with open files, over a Unix stream socket.
//!
//! A message is a length of eight bytes, to which its open files are attached, and so many bytes of JSON. A message of a
//! later program may have more fields than are known here.

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::status::Near;

/// Open files of one message.
const FILES: usize = 2;
/// Longest message, in bytes: a connection has at most two buffers of 256 KiB and two heads of 64 KiB.
const LONGEST: u64 = 16 * 1024 * 1024;
/// Between attempts while the system has too many open files on their way.
const CROWDED: Duration = Duration::from_millis(1);

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Nobody listens there.
    #[error("nobody answers")]
    Connect(#[source] std::io::Error),
    /// The other side has ended or broken off.
    #[error("the other process has ended or broken off")]
    Ended,
    /// The other side took or gave nothing for too long.
    #[error("the other process does not answer in time")]
    TimedOut,
    /// Anything else of the socket.
    #[error("the connection to the other process failed")]
    Socket(#[source] std::io::Error),
    /// What came is no message that is known here.
    #[error("the other process speaks another language")]
    Decode(#[source] serde_json::Error),
    /// What came is longer than any message.
    #[error("the other process sent a message of {0} bytes")]
    TooLong(u64),
}

impl From<std::io::Error> for ChannelError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Self::Ended,
            _ => Self::Socket(error),
        }
    }
}

/// One end of a connection between two processes.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    /// When all of it must be over.
    deadline: Option<Instant>,
}

impl Channel {
    /// Connects to whoever listens at this path. All that follows must be over after `limit`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(path: &Path, limit: Duration) -> Result<Self, ChannelError> {
        let near = Near::to(path).map_err(ChannelError::Connect)?;
        let stream = UnixStream::connect(near.path()).map_err(ChannelError::Connect)?;
        Self::over(stream, limit)
    }

    /// Speaks over this socket; all of it must be over after `limit`.
    ///
    /// # Errors
    /// The socket is not one.
    pub fn over(stream: UnixStream, limit: Duration) -> Result<Self, ChannelError> {
        stream.set_nonblocking(false)?;
        let deadline = None;
        Self { stream, deadline }.within(limit)
    }

    /// All that follows must be over after `limit`, from now on.
    ///
    /// # Errors
    /// The socket is not one.
    pub fn within(mut self, limit: Duration) -> Result<Self, ChannelError> {
        self.stream.set_read_timeout(Some(limit))?;
        self.stream.set_write_timeout(Some(limit))?;
        self.deadline = Some(Instant::now() + limit);
        Ok(self)
    }

    /// From now on waits for messages without limit, and for nobody to take one.
    ///
    /// # Errors
    /// The socket is not one.
    pub fn patient(mut self) -> Result<Self, ChannelError> {
        self.stream.set_read_timeout(None)?;
        self.stream.set_write_timeout(Some(Duration::from_millis(1)))?;
        self.deadline = None;
        Ok(self)
    }

    /// Sends a message and open files, which the receiver has then, too.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn send<T: Serialize>(&self, message: &T, files: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let body = serde_json::to_vec(message).map_err(ChannelError::Decode)?;
        let length = (body.len() as u64).to_ne_bytes();
        let parts = [IoSlice::new(&length), IoSlice::new(&body)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            attached.push(SendAncillaryMessage::ScmRights(files));
        }
        let sent = loop {
            self.in_time()?;
            match sendmsg(&self.stream, &parts, &mut attached, SendFlags::NOSIGNAL) {
                Ok(sent) => break sent,
                Err(Errno::INTR) => {}
                // As many open files are under way as the process may have: the receiver is taking them.
                Err(Errno::TOOMANYREFS) if self.deadline.is_some() => std::thread::sleep(CROWDED),
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        };
        // The length went out whole: a socket takes all of so few bytes or none.
        let rest = body.get(sent.saturating_sub(length.len())..).unwrap_or_default();
        Ok((&self.stream).write_all(rest)?)
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn receive<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        self.in_time()?;
        self.read()
    }

    fn read<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        let mut length = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut attached = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut length)];
            match recvmsg(&self.stream, &mut parts, &mut attached, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received.bytes,
                Err(Errno::INTR) => {}
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        };
        if received == 0 {
            return Err(ChannelError::Ended);
        }
        let mut files = Vec::new();
        for message in attached.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                files.extend(received);
            }
        }
        (&self.stream).read_exact(&mut length[received..])?;
        let length = u64::from_ne_bytes(length);
        if length > LONGEST {
            return Err(ChannelError::TooLong(length));
        }
        let mut body = vec![0; usize::try_from(length).map_err(|_| ChannelError::TooLong(length))?];
        (&self.stream).read_exact(&mut body)?;
        let message = serde_json::from_slice(&body).map_err(ChannelError::Decode)?;
        Ok((message, files))
    }

    /// Refuses what the other side might send from now on, which gets an error, and receives what it has sent before, if
    /// it has: whoever finds nothing can be sure that nothing was said and nothing will be.
    ///
    /// # Errors
    /// Nothing was said: [`ChannelError::Ended`]. Else see [`ChannelError`].
    pub fn last_word<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        // It fails only if there is no other side.
        let _ = self.stream.shutdown(std::net::Shutdown::Read);
        self.read()
    }

    fn in_time(&self) -> Result<(), ChannelError> {
        match self.deadline {
            Some(deadline) if Instant::now() > deadline => Err(ChannelError::TimedOut),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn pair() -> (Channel, Channel) {
        let (a, b) = UnixStream::pair().unwrap();
        (Channel::over(a, LIMIT).unwrap(), Channel::over(b, LIMIT).unwrap())
    }

    #[test]
    fn open_files_come_with_their_message() {
        let (a, b) = pair();
        let (file, other) = UnixStream::pair().unwrap();
        let long = "x".repeat(1_000_000);
        let sender = std::thread::spawn(move || {
            a.send(&"none", &[]).unwrap();
            a.send(&long, &[file.as_fd(), file.as_fd()]).unwrap();
            a.send(&"one", &[file.as_fd()]).unwrap();
        });
        assert_eq!(b.receive::<String>().unwrap().1.len(), 0);
        let (message, files) = b.receive::<String>().unwrap();
        assert_eq!((message.len(), files.len()), (1_000_000, 2));
        let (message, mut files) = b.receive::<String>().unwrap();
        assert_eq!((message.as_str(), files.len()), ("one", 1));
        sender.join().unwrap();
        // Not a copy of its number, but the file itself.
        let mut file = UnixStream::from(files.pop().unwrap());
        file.write_all(b"!").unwrap();
        let mut heard = [0];
        (&other).read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"!");
        assert!(matches!(b.receive::<String>(), Err(ChannelError::Ended)));
    }

    #[test]
    fn the_last_word_is_heard_and_nothing_after_it() {
        let (a, b) = pair();
        a.send(&1, &[]).unwrap();
        assert_eq!(b.last_word::<u32>().unwrap().0, 1);
        assert!(matches!(a.send(&2, &[]), Err(ChannelError::Ended)));
        assert!(matches!(b.last_word::<u32>(), Err(ChannelError::Ended)));
    }

    #[test]
    fn whoever_keeps_silent_is_not_waited_for() {
        let (a, b) = UnixStream::pair().unwrap();
        let channel = Channel::over(a, Duration::from_millis(20)).unwrap();
        assert!(matches!(channel.receive::<u32>(), Err(ChannelError::TimedOut)));
        assert!(matches!(channel.send(&1, &[]), Err(ChannelError::TimedOut)));
        drop(b);
    }

    #[test]
    fn nonsense_is_an_error() {
        let (a, b) = UnixStream::pair().unwrap();
        let channel = Channel::over(a, LIMIT).unwrap();
        (&b).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(matches!(channel.receive::<u32>(), Err(ChannelError::TooLong(_))));
    }
}
