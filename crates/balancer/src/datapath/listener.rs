//! Listening sockets.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, accept_with, bind, ipproto, listen, shutdown,
    socket_with, sockopt,
};

use super::socket::tune;

/// Connections that may wait to be accepted; the system's own limit also applies.
const BACKLOG: i32 = 4096;

/// One listening socket, shared by all threads: with one each, closing one would lose the connections that wait in it.
pub struct Listener {
    /// Unique within a datapath.
    pub id: u32,
    pub addr: SocketAddr,
    fd: OwnedFd,
}

/// Why an address cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// A port below 1024 (or the system's setting) and no right to it.
    #[error("this user may not listen on ports below {}", first_unprivileged_port())]
    NotPermitted,
    /// Something else listens there.
    #[error("another program listens there")]
    InUse,
    /// Another route of the same table listens there.
    #[error("{0} listens there")]
    Taken(Arc<str>),
    /// The address is not one of this machine.
    #[error("the address is not one of this machine")]
    NotLocal,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<Errno> for BindError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::ACCESS => Self::NotPermitted,
            Errno::ADDRINUSE => Self::InUse,
            Errno::ADDRNOTAVAIL => Self::NotLocal,
            other => Self::Other(std::io::Error::from(other).to_string()),
        }
    }
}

/// An address and whether it is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStatus {
    /// The address.
    pub addr: SocketAddr,
    /// The route that its connections take.
    pub route: Arc<str>,
    /// Why it is not listened on.
    pub error: Option<BindError>,
}

impl Listener {
    /// Listens.
    pub fn open(id: u32, addr: SocketAddr) -> Result<Self, BindError> {
        Ok(Self {
            id,
            addr,
            fd: open(addr)?,
        })
    }

    /// A listening socket of another process.
    pub fn inherited(id: u32, addr: SocketAddr, fd: OwnedFd) -> Self {
        Self { id, addr, fd }
    }

    /// Stops listening, though threads may have it open for a while: the address can be listened on again at once.
    pub fn stop(&self) {
        // It fails only where it does not listen any more.
        let _ = shutdown(&self.fd, Shutdown::Read);
    }

    /// Takes the next waiting connection, non-blocking.
    pub fn accept(&self) -> Result<OwnedFd, Errno> {
        accept_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open(addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let fd = socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    // Accepted connections inherit it.
    tune(&fd, addr)?;
    bind(&fd, &addr)?;
    listen(&fd, BACKLOG)?;
    Ok(fd)
}

fn first_unprivileged_port() -> u16 {
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    setting
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}
