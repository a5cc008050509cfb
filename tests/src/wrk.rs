//! wrk, with all the numbers in which it admits failures.

use std::net::SocketAddr;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::{Background, programs};

/// A wrk under way.
pub struct Wrk(Background);

/// What a wrk counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered requests.
    pub requests: u64,
    /// Connects that failed.
    pub connect: u64,
    /// Reads that failed, closes without announcement among them.
    pub read: u64,
    /// Writes that failed.
    pub write: u64,
    /// Answers that took over 2 s.
    pub timeout: u64,
    /// Answers with a status of neither 2xx nor 3xx.
    pub status: u64,
}

impl Counts {
    /// All that is not a good answer in time.
    pub fn failed(&self) -> u64 {
        self.connect + self.read + self.write + self.timeout + self.status
    }
}

impl Wrk {
    /// Starts one thread with `connections` connections; without `keep_alive` each request has its own.
    pub fn start(target: SocketAddr, connections: usize, keep_alive: bool) -> Self {
        let mut command = Command::new(programs::find("wrk"));
        command.args([
            "--threads=1",
            "--duration=600s",
            &format!("--connections={connections}"),
        ]);
        if !keep_alive {
            command.args(["--header", "Connection: close"]);
        }
        command.arg(format!("http://{target}/"));
        Self(Background::start(&mut command))
    }

    /// Ends it and returns its counts.
    pub fn finish(self) -> Counts {
        let (_, lines) = self.0.end(Signal::SIGINT);
        parse(&lines)
    }
}

fn parse(lines: &[String]) -> Counts {
    let mut counts = Counts::default();
    let number = |text: &str| {
        text.trim()
            .parse()
            .unwrap_or_else(|_| panic!("wrk said {lines:#?}"))
    };
    for line in lines {
        let line = line.trim();
        if let Some((requests, _)) = line.split_once(" requests in ") {
            counts.requests = number(requests);
        } else if let Some(errors) = line.strip_prefix("Socket errors: ") {
            for error in errors.split(", ") {
                match error.split_once(' ') {
                    Some(("connect", count)) => counts.connect = number(count),
                    Some(("read", count)) => counts.read = number(count),
                    Some(("write", count)) => counts.write = number(count),
                    Some(("timeout", count)) => counts.timeout = number(count),
                    _ => panic!("wrk said {lines:#?}"),
                }
            }
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses: ") {
            counts.status = number(count);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_are_read() {
        let text = "Running 10m test @ http://127.0.0.1:80/\n  1 threads and 16 connections\n  \
            1234 requests in 2.10s, 1.00MB read\n  Socket errors: connect 1, read 20, write 300, timeout 4000\n  \
            Non-2xx or 3xx responses: 50000\nRequests/sec:   587.62";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let counts = parse(&lines);
        assert_eq!(
            counts,
            Counts {
                requests: 1234,
                connect: 1,
                read: 20,
                write: 300,
                timeout: 4000,
                status: 50000
            }
        );
        assert_eq!(counts.failed(), 54321);
    }
}
