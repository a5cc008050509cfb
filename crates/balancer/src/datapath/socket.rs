//! A non-blocking socket, edge-triggered: it remembers what epoll said until the socket says otherwise.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, connect, getpeername, ipproto,
    recv, send, shutdown, socket_with, sockopt,
};
use serde::{Deserialize, Serialize};

/// One end of a connection.
pub struct Socket {
    fd: OwnedFd,
    /// It may have bytes or an end of stream.
    readable: bool,
    /// It may take bytes.
    writable: bool,
    /// The peer has closed or reset: a short read does not mean that there is nothing more.
    hung_up: bool,
    /// epoll has reported that it takes bytes: if it was connecting, it is connected.
    established: bool,
    /// epoll has reported an error on it.
    failed: bool,
    /// The end of the peer's stream has been read.
    eof: bool,
    /// The end of ours has been sent.
    shut: bool,
    /// Large bodies pass: it has been given a large buffer.
    wide: bool,
    /// The system asks the peer whether it is there still.
    probed: bool,
}

/// What another process that takes a socket over cannot learn from the socket itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SocketEstate {
    eof: bool,
    shut: bool,
}

/// What reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The peer will send no more; said once.
    End,
    /// The connection is broken.
    Broken,
}

/// So many bytes in one read are part of a large body.
const BULK: usize = 64 * 1024;
/// The receive buffer of a socket through which large bodies pass, in bytes.
const WIDE: usize = 1024 * 1024;
/// How often a peer that has ended its stream is asked whether it is there still.
const PROBE: Duration = Duration::from_secs(2);
/// So many questions in a row without an answer mean that it is not.
const PROBES: u32 = 15;

/// What every socket is registered for.
pub const INTEREST: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// Sets what every socket wants, the listening ones for those that they accept.
///
/// # Errors
/// It is no TCP socket.
pub fn tune(fd: &OwnedFd, addr: SocketAddr) -> Result<(), Errno> {
    sockopt::set_tcp_nodelay(fd, true)?;
    if addr.ip().is_loopback() {
        // There is no path to be probed, and pacing by a model of one (BBR may be the system's default) costs half of
        // the throughput. Reno may be had without privileges; where it may not, the default has to do.
        let _ = sockopt::set_tcp_congestion(fd, "reno");
    }
    Ok(())
}

impl Socket {
    /// A socket that a listener accepted.
    pub fn accepted(fd: OwnedFd) -> Self {
        Self {
            fd,
            readable: false,
            writable: true,
            hung_up: false,
            established: false,
            failed: false,
            eof: false,
            shut: false,
            wide: false,
            probed: false,
        }
    }

    /// A socket of another process, in this state.
    pub fn inherited(fd: OwnedFd, estate: SocketEstate) -> Self {
        Self {
            eof: estate.eof,
            shut: estate.shut,
            ..Self::accepted(fd)
        }
    }

    /// Its state, for another process.
    pub fn estate(&self) -> SocketEstate {
        SocketEstate {
            eof: self.eof,
            shut: self.shut,
        }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// The address refuses at once, or there are no descriptors or ports left.
    pub fn connect(addr: SocketAddr) -> Result<Self, Errno> {
        let family = if addr.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        tune(&fd, addr)?;
        match connect(&fd, &addr) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self::accepted(fd)),
            Err(error) => Err(error),
        }
    }

    /// Takes note of what epoll reported.
    pub fn reported(&mut self, flags: EventFlags) {
        let over = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        self.readable |= over || flags.intersects(EventFlags::IN | EventFlags::RDHUP);
        self.writable |= over || flags.contains(EventFlags::OUT);
        self.hung_up |= over || flags.contains(EventFlags::RDHUP);
        self.failed |= flags.contains(EventFlags::ERR);
        self.established |= flags.contains(EventFlags::OUT) && !self.failed;
    }

    /// Reads into the buffer.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if !self.readable || self.eof {
            return Received::Nothing;
        }
        loop {
            match recv(&self.fd, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => {
                    self.eof = true;
                    return Received::End;
                }
                Ok((count, _)) => {
                    if count >= BULK && !self.wide {
                        self.widen();
                    }
                    // A read that does not fill the buffer has emptied the socket; what comes later is a new edge.
                    self.readable = count == buffer.len() || self.hung_up;
                    return Received::Bytes(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return Received::Nothing;
                }
                Err(_) => {
                    self.eof = true;
                    self.failed = true;
                    return Received::Broken;
                }
            }
        }
    }

    /// Gives the peer room for a large body: its window grows by itself only as the bytes of many round trips are read,
    /// and until then both sides wake up for each small piece.
    fn widen(&mut self) {
        self.wide = true;
        // The system's limit applies; where it is low, the buffer is as large as may be.
        let _ = sockopt::set_socket_recv_buffer_size(&self.fd, WIDE);
    }

    /// Sends what the socket takes, and returns how many bytes that was.
    ///
    /// # Errors
    /// The peer takes no more, or the connection never came to be.
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.send_with(bytes, SendFlags::NOSIGNAL)
    }

    /// The same for bytes behind which the end of our stream, [`Socket::shut`] or the closing of the socket, follows at
    /// once: it goes in one segment with the last of them, which spares the peer a packet and a wake-up.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_last(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.send_with(bytes, SendFlags::NOSIGNAL | SendFlags::MORE)
    }

    fn send_with(&mut self, bytes: &[u8], flags: SendFlags) -> Result<usize, Errno> {
        if !self.writable {
            return Ok(0);
        }
        loop {
            match send(&self.fd, bytes, flags) {
                Ok(count) => {
                    self.writable = count == bytes.len();
                    return Ok(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.writable = false;
                    return Ok(0);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends our stream.
    pub fn shut(&mut self) {
        if !self.shut {
            self.shut = true;
            // An error means that the connection is gone, which reading will tell.
            let _ = shutdown(&self.fd, Shutdown::Write);
        }
    }

    /// Has the system ask a peer that has ended its stream whether it is there still, for one that has closed looks the same
    /// as one that waits. Where a closed socket is forgotten (Linux: after a minute), the answer is a reset.
    pub fn probe(&mut self) {
        if !std::mem::replace(&mut self.probed, true) {
            // A socket that will not have it is gone, which shows by itself.
            let _ = sockopt::set_tcp_keepidle(&self.fd, PROBE);
            let _ = sockopt::set_tcp_keepintvl(&self.fd, PROBE);
            let _ = sockopt::set_tcp_keepcnt(&self.fd, PROBES);
            let _ = sockopt::set_socket_keepalive(&self.fd, true);
        }
    }

    /// Makes closing reset the connection instead of ending it in good order.
    pub fn reset_on_close(&self) {
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    /// The address of the other end; `None` if it has gone.
    pub fn peer(&self) -> Option<IpAddr> {
        let peer = getpeername(&self.fd).ok()??;
        SocketAddr::try_from(peer).ok().map(|addr| addr.ip())
    }

    /// Whether bytes, an end or an error wait to be read, asking the system if epoll has reported none.
    pub fn has_news(&self) -> bool {
        let mut byte = [0; 1];
        self.readable
            || !matches!(
                recv(&self.fd, &mut byte, RecvFlags::PEEK),
                Err(Errno::AGAIN | Errno::INTR)
            )
    }

    /// Whether epoll has reported bytes, an end or an error that have not been read.
    pub fn is_readable(&self) -> bool {
        self.readable && !self.eof
    }

    /// Whether it may take bytes.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether epoll has reported that a connection under way has been established.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether epoll has reported an error.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// Whether a peer that had ended its stream has gone for good: nobody is there to be answered.
    pub fn has_gone(&self) -> bool {
        self.eof && self.failed
    }

    /// Whether epoll has reported the end of the peer's stream: what is read from now on has nothing behind it but that.
    pub fn is_ending(&self) -> bool {
        self.hung_up && !self.failed
    }

    /// Whether the peer will send no more.
    pub fn is_ended(&self) -> bool {
        self.eof
    }

    /// Whether we will send no more.
    pub fn is_shut(&self) -> bool {
        self.shut
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
