//! A client of the keeper: lines in, with descriptors that came along, and lines out. Never blocks.

use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::Serialize;

/// Longest request line; the environment of a container is the bulk of it.
const LONGEST: usize = 4 << 20;
/// Descriptors that one message may carry.
const DESCRIPTORS: usize = 3;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Progress {
    /// The lines that are complete.
    pub lines: Vec<Vec<u8>>,
    /// The client has gone, or does not keep to the protocol. What it said before counts all the same.
    pub closed: bool,
}

impl Connection {
    /// Takes a connection just accepted.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            descriptors: Vec::new(),
        })
    }

    /// Reads all that is there.
    pub fn read(&mut self) -> Progress {
        let closed = loop {
            match self.receive() {
                Ok(0) => break true,
                Ok(_) if self.input.len() > LONGEST => break true,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break false,
                Err(_) => break true,
            }
        };
        let lines = self.lines();
        Progress { lines, closed }
    }

    fn receive(&mut self) -> rustix::io::Result<usize> {
        let mut data = [0; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut data)];
        let received = recvmsg(&self.stream, slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.input.extend_from_slice(&data[..received.bytes]);
        Ok(received.bytes)
    }

    fn lines(&mut self) -> Vec<Vec<u8>> {
        let Some(end) = self.input.iter().rposition(|&byte| byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.input.split_off(end + 1);
        let complete = std::mem::replace(&mut self.input, rest);
        complete
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// The descriptors that came with the lines so far: standard input, output and error.
    pub fn take_descriptors(&mut self) -> Option<[OwnedFd; DESCRIPTORS]> {
        std::mem::take(&mut self.descriptors).try_into().ok()
    }

    /// Queues one line and sends what goes out at once.
    pub fn send<T: Serialize>(&mut self, message: &T) {
        // The messages are plain structs: serialising them to memory cannot fail.
        if serde_json::to_writer(&mut self.output, message).is_ok() {
            self.output.push(b'\n');
            self.flush();
        }
    }

    /// Sends what goes out at once. A client that has gone shows at the next read.
    pub fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }

    /// Whether something waits to be sent.
    pub fn is_blocked(&self) -> bool {
        !self.output.is_empty()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Reads what a pipe holds, without waiting. `true` once its writers have all gone.
pub fn drain(pipe: &mut std::fs::File, mut take: impl FnMut(&[u8])) -> bool {
    let mut data = [0; 16 * 1024];
    // A flood is left for the next round, so that it cannot keep the keeper from its other work.
    for _ in 0..16 {
        match pipe.read(&mut data) {
            Ok(0) => return true,
            Ok(read) => take(&data[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(server).unwrap();
        let progress = |lines: &[&str], closed| Progress {
            lines: lines.iter().map(|line| line.as_bytes().to_vec()).collect(),
            closed,
        };
        client.write_all(b"one\ntw").unwrap();
        assert_eq!(connection.read(), progress(&["one"], false));
        client.write_all(b"o\n\nthree\n").unwrap();
        assert_eq!(connection.read(), progress(&["two", "three"], false));
        client.write_all(b"last\n").unwrap();
        drop(client);
        assert_eq!(connection.read(), progress(&["last"], true));
    }
}
