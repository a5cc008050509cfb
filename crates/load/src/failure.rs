//! Why a request failed.

use std::fmt;
use std::io;
use std::time::Duration;

/// The cause of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The connect was refused.
    Refused,
    /// The connect took too long.
    ConnectTimeout,
    /// The connect failed in another way, for instance because no local port was free.
    ConnectFailed,
    /// The connection was reset, or broke while the request was being written.
    Reset,
    /// The connection was closed before the first byte of the answer.
    ClosedBeforeResponse,
    /// The connection was closed within the answer.
    ClosedWithinResponse,
    /// The answer cannot be parsed, its length is unknown or stated in two ways, or more bytes than the answer arrived.
    BadFraming,
    /// The body has another length than it must have.
    WrongLength,
    /// The status is not 2xx.
    Status(u16),
    /// The server echoed another request's id, or another message.
    WrongId,
    /// A session broke, or was ended by the other side.
    Broken,
    /// The answer took too long.
    Timeout,
}

impl Cause {
    /// Sorts an error of a read or write by its kind.
    pub(crate) fn of(error: &io::Error, bytes: u64) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof if bytes == 0 => Self::ClosedBeforeResponse,
            io::ErrorKind::UnexpectedEof => Self::ClosedWithinResponse,
            _ => Self::Reset,
        }
    }

    /// Whether it means that the other side ended the connection.
    pub(crate) fn is_close(self) -> bool {
        matches!(
            self,
            Self::Reset | Self::ClosedBeforeResponse | Self::ClosedWithinResponse
        )
    }

    /// Sorts an error of a connect by its kind.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            io::ErrorKind::ConnectionReset => Self::Reset,
            _ => Self::ConnectFailed,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::ConnectTimeout => f.write_str("connect timed out"),
            Self::ConnectFailed => f.write_str("connect failed"),
            Self::Reset => f.write_str("connection reset"),
            Self::ClosedBeforeResponse => f.write_str("closed before the response"),
            Self::ClosedWithinResponse => f.write_str("closed within the response"),
            Self::BadFraming => f.write_str("bad framing"),
            Self::WrongLength => f.write_str("wrong length"),
            Self::Status(code) => write!(f, "status {code}"),
            Self::WrongId => f.write_str("answer to another request"),
            Self::Broken => f.write_str("broken"),
            Self::Timeout => f.write_str("response timed out"),
        }
    }
}

/// One failed request.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it failed, since the start of the run.
    pub at: Duration,
    /// Why.
    pub cause: Cause,
    /// The cause in detail: the system's error, or what was wrong with the answer.
    pub detail: String,
    /// Local port of its connection; `None` if there was none.
    pub local_port: Option<u16>,
    /// How many requests that connection had answered before.
    pub answered_before: u64,
    /// How many bytes of the answer arrived.
    pub bytes: u64,
    /// The pod that gave the connection's last answer, if it said so.
    pub last_pod: Option<String>,
    /// The request's method.
    pub method: &'static str,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.3}s {} {}",
            self.at.as_secs_f64(),
            self.method,
            self.cause
        )?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        match self.local_port {
            Some(port) => write!(f, ", local port {port}, {} answered before", self.answered_before)?,
            None => write!(f, ", not connected")?,
        }
        write!(f, ", {} bytes of the answer", self.bytes)?;
        match &self.last_pod {
            Some(pod) => write!(f, ", last answer from {pod}"),
            None => Ok(()),
        }
    }
}
