//! Clients that are attached to a container's main process: its output goes to them too, and what they type to it.
//!
//! Flows in: output, and descriptors of clients. Flows out: bytes, without ever blocking the keeper. A client that does not
//! read holds up the container's output, as a full pipe would: nothing is lost, and little is buffered.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::poll::PollFlags;

use super::log::Stream;
use super::protocol::Input;

/// Bytes moved from a client at a time.
const PIECE: usize = 16 * 1024;

/// A pipe or terminal that is written to, and what it has not taken yet.
#[derive(Debug)]
pub struct Outlet {
    file: File,
    pending: Vec<u8>,
}

impl Outlet {
    /// Writes to this descriptor from now on, without blocking.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        Ok(Self {
            file: File::from(descriptor),
            pending: Vec::new(),
        })
    }

    /// Writes, now or when it can be taken; `false`: nobody reads any more.
    fn write(&mut self, data: &[u8]) -> bool {
        self.pending.extend_from_slice(data);
        self.flush()
    }

    fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(0) => return false,
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[derive(Debug)]
struct Client {
    connection: u64,
    stdin: Option<File>,
    outputs: [Option<Outlet>; 2],
}

impl Client {
    fn is_blocked(&self) -> bool {
        self.outputs.iter().flatten().any(Outlet::is_blocked)
    }
}

/// The clients of one container.
#[derive(Debug, Default)]
pub struct Attached {
    /// The main process's standard input.
    stdin: Option<Outlet>,
    /// Whether that ends with the first client that types.
    once: bool,
    clients: Vec<Client>,
}

impl Attached {
    /// Nobody yet. `stdin`: where the main process's input goes.
    pub fn new(stdin: Option<Outlet>, input: Input) -> Self {
        Self {
            stdin,
            once: input == Input::Once,
            clients: Vec::new(),
        }
    }

    /// Attaches a client with its standard input (if it types), output and error.
    pub fn add(&mut self, connection: u64, types: bool, descriptors: [OwnedFd; 3]) -> io::Result<()> {
        let [stdin, stdout, stderr] = descriptors;
        let stdin = if types {
            rustix::io::ioctl_fionbio(&stdin, true)?;
            Some(File::from(stdin))
        } else {
            None
        };
        let outputs = [Some(Outlet::new(stdout)?), Some(Outlet::new(stderr)?)];
        self.clients.push(Client {
            connection,
            stdin,
            outputs,
        });
        Ok(())
    }

    /// The client of a connection has gone.
    pub fn remove(&mut self, connection: u64) {
        let gone = self
            .clients
            .extract_if(.., |client| client.connection == connection);
        let typed = gone.fold(false, |typed, client| typed | client.stdin.is_some());
        if typed && self.once {
            self.stdin = None;
        }
    }

    /// What is waited for.
    pub fn awaited(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let is_full = self.stdin.as_ref().is_some_and(Outlet::is_blocked);
        let typed = self.clients.iter().filter_map(|client| client.stdin.as_ref());
        let typed = typed
            .filter(move |_| !is_full)
            .map(|stdin| (stdin.as_fd(), PollFlags::POLLIN));
        let outlets = self
            .clients
            .iter()
            .flat_map(|client| client.outputs.iter().flatten());
        let full = outlets
            .chain(&self.stdin)
            .filter(|outlet| outlet.is_blocked())
            .map(|outlet| (outlet.file.as_fd(), PollFlags::POLLOUT));
        typed.chain(full)
    }

    /// Whether output of this stream has to wait.
    pub fn is_blocked(&self, stream: Stream) -> bool {
        let mut clients = self.clients.iter();
        clients.any(|client| {
            client.outputs[stream as usize]
                .as_ref()
                .is_some_and(Outlet::is_blocked)
        })
    }

    /// Shows output to all clients.
    pub fn show(&mut self, stream: Stream, data: &[u8]) {
        for client in &mut self.clients {
            let slot = &mut client.outputs[stream as usize];
            if slot.as_mut().is_some_and(|outlet| !outlet.write(data)) {
                *slot = None;
            }
        }
    }

    /// Moves what can be moved.
    pub fn carry(&mut self) {
        for client in &mut self.clients {
            for slot in &mut client.outputs {
                if slot.as_mut().is_some_and(|outlet| !outlet.flush()) {
                    *slot = None;
                }
            }
        }
        if self.stdin.as_mut().is_some_and(|stdin| !stdin.flush()) {
            self.stdin = None;
        }
        let mut has_ended = false;
        for client in &mut self.clients {
            if self.stdin.as_ref().is_some_and(Outlet::is_blocked) {
                return;
            }
            let Some(typed) = &mut client.stdin else { continue };
            let mut data = [0; PIECE];
            match typed.read(&mut data) {
                Ok(0) => {
                    client.stdin = None;
                    has_ended |= self.once;
                }
                // What nobody reads is dropped.
                Ok(read) => {
                    if self
                        .stdin
                        .as_mut()
                        .is_some_and(|stdin| !stdin.write(&data[..read]))
                    {
                        self.stdin = None;
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(_) => client.stdin = None,
            }
        }
        if has_ended {
            self.stdin = None;
        }
    }

    /// The main process has ended: the connections of the clients that have been shown everything, which are let go.
    pub fn satisfied(&mut self) -> Vec<u64> {
        self.stdin = None;
        let satisfied = self.clients.extract_if(.., |client| !client.is_blocked());
        satisfied.map(|client| client.connection).collect()
    }

    /// Lets all clients go: their connections.
    pub fn abandon(&mut self) -> Vec<u64> {
        self.clients.drain(..).map(|client| client.connection).collect()
    }

    /// Whether a client has not been shown everything.
    pub fn has_blocked(&self) -> bool {
        self.clients.iter().any(Client::is_blocked)
    }
}
