//! wrk as a second witness, where it is installed: started, ended, and its four kinds of errors read from its report.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A running wrk; killed if it is dropped.
pub struct Wrk(Child);

/// What wrk counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered requests.
    pub requests: u64,
    /// Connects that failed.
    pub connect: u64,
    /// Reads that failed: connections that ended where an answer was due.
    pub read: u64,
    /// Writes that failed.
    pub write: u64,
    /// Answers that took longer than two seconds.
    pub timeout: u64,
    /// Answers that were neither 2xx nor 3xx.
    pub non_2xx: u64,
}

impl Wrk {
    /// Starts wrk against `target`; `None` if it is not installed.
    ///
    /// # Errors
    /// When it is installed but does not start.
    pub fn start(target: SocketAddr, connections: u16) -> anyhow::Result<Option<Self>> {
        let child = Command::new("wrk")
            .args(["--threads", "1", "--duration", "120s"])
            .args(["--connections", &connections.to_string()])
            .arg(format!("http://{target}/"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        match child {
            Ok(child) => Ok(Some(Self(child))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("cannot start wrk"),
        }
    }

    /// Ends wrk as Ctrl-C does and reads its report.
    ///
    /// # Errors
    /// When it had ended before, does not end now, or its report cannot be understood.
    pub async fn finish(self) -> anyhow::Result<Counts> {
        let id = self.0.id().context("wrk had ended before")?;
        kill(Pid::from_raw(id.try_into()?), Signal::SIGINT).context("cannot end wrk")?;
        let output = timeout(Duration::from_secs(5), self.0.wait_with_output())
            .await
            .context("wrk does not end")??;
        Counts::parse(&String::from_utf8_lossy(&output.stdout))
    }
}

impl Counts {
    /// Reads wrk's report. Kinds of errors that it does not list did not happen.
    fn parse(report: &str) -> anyhow::Result<Self> {
        let mut counts = Self::default();
        let mut complete = false;
        for line in report.lines().map(str::trim) {
            if let Some(errors) = line.strip_prefix("Socket errors: ") {
                counts.read_errors(errors)?;
            } else if let Some(number) = line.strip_prefix("Non-2xx or 3xx responses: ") {
                counts.non_2xx = number.parse()?;
            } else if let Some((number, _)) = line.split_once(" requests in ") {
                counts.requests = number.parse()?;
                complete = true;
            }
        }
        if !complete {
            bail!("wrk's report cannot be understood: {report}");
        }
        Ok(counts)
    }

    fn read_errors(&mut self, errors: &str) -> anyhow::Result<()> {
        for pair in errors.split(", ") {
            let number = |number: &str| number.parse().with_context(|| format!("in wrk's report: {pair}"));
            match pair.split_once(' ') {
                Some(("connect", count)) => self.connect = number(count)?,
                Some(("read", count)) => self.read = number(count)?,
                Some(("write", count)) => self.write = number(count)?,
                Some(("timeout", count)) => self.timeout = number(count)?,
                _ => bail!("wrk's report names errors of an unknown kind: {pair}"),
            }
        }
        Ok(())
    }

    /// All errors together.
    pub fn errors(&self) -> u64 {
        self.connect + self.read + self.write + self.timeout + self.non_2xx
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPORT: &str = "Running 2m test @ http://127.0.0.1:8080/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   635.91us    0.89ms  12.92ms   93.69%
    Req/Sec    56.20k     8.07k   62.00k    86.54%
  1680000 requests in 30.00s, 1.36GB read
Requests/sec:  56000.00
Transfer/sec:     46.00MB
";

    #[test]
    fn a_clean_report_lists_no_errors() {
        let counts = Counts::parse(REPORT).expect("a report");
        assert_eq!(
            counts,
            Counts {
                requests: 1_680_000,
                ..Counts::default()
            }
        );
        assert_eq!(counts.errors(), 0);
    }

    #[test]
    fn every_kind_of_error_is_read() {
        let errors = "  Socket errors: connect 1, read 20, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\nRequests/sec";
        let counts = Counts::parse(&REPORT.replace("Requests/sec", errors)).expect("a report");
        assert_eq!(
            (
                counts.connect,
                counts.read,
                counts.write,
                counts.timeout,
                counts.non_2xx
            ),
            (1, 20, 3, 4, 5)
        );
        assert_eq!(counts.errors(), 33);
    }

    #[test]
    fn anything_else_is_refused_and_not_taken_for_zero() {
        assert!(Counts::parse("").is_err());
        assert!(Counts::parse("unable to connect to 127.0.0.1:8080 Connection refused").is_err());
        assert!(Counts::parse(&format!("{REPORT}  Socket errors: teleport 1\n")).is_err());
    }
    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([a-zA-Z0-9 :,/-]{0,40}\n){0,6}") {
            let _ = Counts::parse(&text);
        }
    }
}
