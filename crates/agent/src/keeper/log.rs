//! Log files in the format of the Container Runtime Interface: `<time> <stream> <F|P> <text>`, one line each.
//!
//! Flows in: what a container writes, in pieces of any size. Flows out: whole lines with the time they were read at.
//! Never holds more than [`LONGEST`] bytes a stream: a longer line is written in parts marked `P`. Never fails the
//! container: what cannot be written (a full disk) is dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Longest text of one log line.
const LONGEST: usize = 16 * 1024;

/// Which of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The log of one attempt.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    /// Some of it could not be written.
    is_cut: bool,
    /// Beginning of a line whose end has not come yet, for each stream.
    unfinished: [Vec<u8>; 2],
}

impl Log {
    /// Opens a new log; at `limit` bytes the file is moved to `<path>.1`, replacing an older one there.
    pub fn create(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            limit,
            is_cut: false,
            unfinished: Default::default(),
        })
    }

    /// Takes what was read from a stream.
    pub fn write(&mut self, stream: Stream, data: &[u8], now: Timestamp) {
        let mut out = Vec::with_capacity(data.len() + 64);
        let rest = &mut self.unfinished[stream as usize];
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            let mut piece = piece;
            loop {
                let room = LONGEST - rest.len();
                let (text, complete) = match piece.strip_suffix(b"\n") {
                    Some(text) if text.len() <= room => (text, true),
                    None if piece.len() < room => {
                        rest.extend_from_slice(piece);
                        break;
                    }
                    _ => (&piece[..room], false),
                };
                line(&mut out, stream, complete, &[rest, text], now);
                rest.clear();
                piece = &piece[text.len()..];
                if complete {
                    break;
                }
            }
        }
        if rest.is_empty() {
            // Memory that a burst of long lines took is given back.
            rest.shrink_to(256);
        }
        self.append(&out);
    }

    /// Writes what has no line end yet: the stream is at its end.
    pub fn finish(&mut self, now: Timestamp) {
        let mut out = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.unfinished[stream as usize]);
            if !rest.is_empty() {
                line(&mut out, stream, true, &[&rest], now);
            }
        }
        self.append(&out);
    }

    fn append(&mut self, out: &[u8]) {
        if out.is_empty() {
            return;
        }
        if self.size > 0 && self.size + out.len() as u64 > self.limit {
            self.rotate();
        }
        let mut told = Vec::new();
        if self.is_cut {
            let text = b"coracle: output is missing here: the log could not be written";
            line(&mut told, Stream::Stderr, true, &[text], Timestamp::now());
        }
        match self.file.write_all(&told).and_then(|()| self.file.write_all(out)) {
            Ok(()) => {
                self.size += (told.len() + out.len()) as u64;
                self.is_cut = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_cut, true) {
                    super::say(format_args!(
                        "output is lost: cannot write {}: {error}",
                        self.path.display()
                    ));
                }
            }
        }
    }

    fn rotate(&mut self) {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        if fs::rename(&self.path, old).is_err() {
            return;
        }
        if let Ok(file) = OpenOptions::new().create(true).append(true).open(&self.path) {
            self.file = file;
            self.size = 0;
        }
    }
}

fn line(out: &mut Vec<u8>, stream: Stream, complete: bool, parts: &[&[u8]], now: Timestamp) {
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{now:.9} {} {} ",
        stream.name(),
        if complete { "F" } else { "P" }
    );
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn log(limit: u64) -> (tempfile::TempDir, PathBuf, Log) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let log = Log::create(&path, limit).unwrap();
        (dir, path, log)
    }

    #[test]
    fn lines_have_time_stream_and_tag() {
        let (_dir, path, mut log) = log(1 << 20);
        log.write(Stream::Stdout, b"hel", now());
        log.write(Stream::Stderr, b"oops\n", now());
        log.write(Stream::Stdout, b"lo\n\nend", now());
        log.finish(now());
        let time = "2023-11-14T22:13:20.000000000Z";
        let expected =
            format!("{time} stderr F oops\n{time} stdout F hello\n{time} stdout F \n{time} stdout F end\n");
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn a_full_file_moves_aside() {
        let (_dir, path, mut log) = log(100);
        for text in ["one\n", "two\n", "three\n"] {
            log.write(Stream::Stdout, text.as_bytes(), now());
        }
        assert!(fs::read_to_string(&path).unwrap().ends_with("three\n"));
        let old = fs::read_to_string(path.with_extension("log.1")).unwrap();
        assert!(old.contains("one") && old.ends_with("two\n"));
    }

    proptest! {
        #[test]
        fn text_comes_back_whatever_the_pieces(
            lines in proptest::collection::vec("[a-z ]{0,40}", 0..20),
            long in 0usize..3,
            cut in 1usize..50,
        ) {
            let (_dir, path, mut log) = log(u64::MAX);
            let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            text.push_str(&"x".repeat(long * (LONGEST - 1)));
            text.push('\n');
            for piece in text.as_bytes().chunks(cut * 97) {
                log.write(Stream::Stdout, piece, now());
            }
            log.finish(now());
            let mut again = String::new();
            for line in fs::read_to_string(path).unwrap().lines() {
                let mut fields = line.splitn(4, ' ');
                let tag = fields.nth(2).unwrap();
                let rest = fields.next().unwrap();
                prop_assert!(rest.len() <= LONGEST);
                again.push_str(rest);
                if tag == "F" {
                    again.push('\n');
                }
            }
            prop_assert_eq!(again, text);
        }
    }
}
