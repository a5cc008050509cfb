//! Writing to standard output so that a reader that leaves early (`coracle get pods | head -1`) is no error.

use std::fmt;
use std::io::{self, Write as _};

/// Prints a line.
///
/// # Errors
/// When standard output cannot be written, for example because its reader has gone.
pub fn line(text: impl fmt::Display) -> io::Result<()> {
    text_of(format_args!("{text}\n"))
}

/// Prints text as it is and flushes it, so that a follower sees it at once.
///
/// # Errors
/// When standard output cannot be written.
pub fn text_of(text: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Whether `error` only says that nobody reads our output any more.
pub fn reader_left(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
