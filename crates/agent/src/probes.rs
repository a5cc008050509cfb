//! Probes: is a container up, can it serve, is it well.
//!
//! Flows in: a container that runs. Flows out: a [`Verdict`] whenever one changes. Thresholds, periods and events are
//! upstream's (`pkg/kubelet/prober`), with one difference: until a container is up for the first time, its startup and
//! readiness probes run more often than their period, so that a rollout does not wait for the clock; failures then
//! count, and are told, no more often than the period says. A container with ports and no readiness probe can serve
//! when its program accepts connections, or takes datagrams, at all of them.

use std::net::SocketAddrV4;
use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::keeper::protocol::Attempt;
use crate::notes::Notes;
use crate::process::{self, Transport};
use crate::target::Target;

/// How often a container that is coming up is looked at, at first.
const EAGER_FIRST: Duration = Duration::from_millis(10);
/// How often it is looked at in the end.
const EAGER_LAST: Duration = Duration::from_millis(250);
/// How long a program may take to listen before the user is told that it does not.
const START_UP: Duration = Duration::from_secs(10);

/// How long a program may take to react to a connection before it is taken to be one that does not.
const REACTION: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Is it up? Until then nothing else is asked.
    Startup,
    /// Can it serve?
    Readiness,
    /// Is it well, or to be restarted?
    Liveness,
}

impl Kind {
    /// The word for it in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// A changed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The container.
    pub container: String,
    /// Which attempt at running it.
    pub attempt: u32,
    /// The question.
    pub kind: Kind,
    /// The answer.
    pub good: bool,
}

/// When to ask, and how many answers in a row count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timing {
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: u32,
    failures: u32,
}

impl Timing {
    fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u32, least: u32| {
            let value = value
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(default);
            Duration::from_secs(value.max(least).into())
        };
        let count = |value: Option<i32>, default| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .unwrap_or(default)
                .max(1)
        };
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0, 0),
            period: seconds(probe.period_seconds, 10, 1),
            timeout: seconds(probe.timeout_seconds, 1, 1),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
        }
    }
}

/// Counts answers in a row, and says when they change the verdict.
#[derive(Clone, Copy, Debug)]
struct Tally {
    timing: Timing,
    good: Option<bool>,
    row: (bool, u32),
}

impl Tally {
    /// `good`: the verdict before the first answer; `None` if there is none.
    fn new(timing: Timing, good: Option<bool>) -> Self {
        Self {
            timing,
            good,
            row: (false, 0),
        }
    }

    /// Takes an answer; the new verdict if it is another one now.
    fn take(&mut self, answer: bool) -> Option<bool> {
        self.row = if self.row.0 == answer {
            (answer, self.row.1.saturating_add(1))
        } else {
            (answer, 1)
        };
        let needed = if answer {
            self.timing.successes
        } else {
            self.timing.failures
        };
        if self.row.1 < needed || self.good == Some(answer) {
            return None;
        }
        self.good = Some(answer);
        self.good
    }
}

/// What is asked of one attempt at running a container, and since when.
#[derive(Clone, Debug)]
pub struct Question {
    /// That attempt.
    pub run: Attempt,
    /// What.
    pub kind: Kind,
    /// How.
    pub probe: Probe,
    /// The answer so far, if there is one.
    pub before: Option<bool>,
    /// When the container started.
    pub since: Instant,
}

/// Asks a question until it is dropped, or for a startup probe until it is answered.
pub async fn watch(
    target: Target,
    question: Question,
    notes: Notes,
    verdicts: mpsc::UnboundedSender<Verdict>,
) {
    let Question {
        run,
        kind,
        probe,
        before,
        since,
    } = question;
    let timing = Timing::of(&probe);
    let mut tally = Tally::new(timing, before);
    let mut is_eager = before != Some(true);
    let mut pause = EAGER_FIRST;
    let mut counted: Option<Instant> = None;
    tokio::time::sleep_until(since + timing.initial_delay).await;
    loop {
        let begun = Instant::now();
        let result = tokio::time::timeout(timing.timeout, ask(&target, &probe)).await;
        let result = result.unwrap_or_else(|_| Err(format!("probe timed out after {:?}", timing.timeout)));
        let counts = !is_eager || result.is_ok() || counted.is_none_or(|last| begun - last >= timing.period);
        if let Err(text) = &result
            && counts
        {
            counted = Some(begun);
            // What has ended, its keeper is about to tell of, in better words.
            if process::is_alive(run.pid, run.started) {
                notes.warning("Unhealthy", format!("{} probe failed: {text}", kind.name()));
            }
        }
        if counts && let Some(good) = tally.take(result.is_ok()) {
            let container = target.container.name.clone();
            let told = verdicts.send(Verdict {
                container,
                attempt: run.attempt,
                kind,
                good,
            });
            is_eager &= !good;
            if kind == Kind::Startup || told.is_err() {
                return;
            }
        }
        let next = if is_eager {
            pause.min(timing.period)
        } else {
            timing.period
        };
        pause = (pause * 2).min(EAGER_LAST);
        tokio::time::sleep_until(begun + next).await;
    }
}

async fn ask(target: &Target, probe: &Probe) -> Result<(), String> {
    if let Some(exec) = &probe.exec {
        target.exec(exec.command.as_deref().unwrap_or_default()).await
    } else if let Some(action) = &probe.http_get {
        target.http(action).await
    } else if let Some(action) = &probe.tcp_socket {
        target.tcp(action.host.as_deref(), &action.port).await
    } else if probe.grpc.is_some() {
        Err("gRPC probes are not supported: use httpGet, tcpSocket or exec".to_owned())
    } else {
        Err("it has no handler".to_owned())
    }
}

/// Waits until the program takes what comes at all these ports, and tells the user when that takes too long.
pub async fn wait_for_ports(
    target: Target,
    attempt: u32,
    pid: i32,
    ports: Vec<(Transport, u16)>,
    notes: Notes,
    verdicts: mpsc::UnboundedSender<Verdict>,
) {
    let deadline = Instant::now() + START_UP;
    let mut pause = EAGER_FIRST;
    let mut was_told = false;
    for (transport, port) in ports {
        let address = SocketAddrV4::new(target.place.ip, port);
        let listens = async || match transport {
            Transport::Tcp => accepts(address).await,
            // There is no way to ask that the program would not notice.
            Transport::Udp => process::is_bound(pid, address),
        };
        while !listens().await {
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(EAGER_LAST);
            if !was_told && Instant::now() >= deadline {
                was_told = true;
                notes.warning("NotListening", not_listening(&target, transport, address, pid));
            }
        }
    }
    let container = target.container.name.clone();
    // Nobody is there to be told only when the pod has ended.
    let _ = verdicts.send(Verdict {
        container,
        attempt,
        kind: Kind::Readiness,
        good: true,
    });
}

/// Whether a program, and not only the system on its behalf, accepts connections: one that ends at once is answered,
/// ended or reset by whoever takes it. Programs that listen first and load later (nginx's master, gunicorn's) would
/// otherwise be sent requests that wait until they have loaded.
async fn accepts(address: SocketAddrV4) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    // An error shows below.
    let _ = stream.shutdown().await;
    // Whoever leaves such a connection open, unanswered, has to be taken for ready all the same.
    let _ = tokio::time::timeout(REACTION, stream.read(&mut [0; 1])).await;
    true
}

fn not_listening(target: &Target, transport: Transport, address: SocketAddrV4, pid: i32) -> String {
    let found = process::listening(&process::tree(pid), transport);
    let kind = match transport {
        Transport::Tcp => "",
        Transport::Udp => "UDP ",
    };
    let instead = if found.is_empty() {
        "it listens nowhere".to_owned()
    } else {
        let list: Vec<String> = found.iter().map(ToString::to_string).collect();
        format!("it listens on {} instead", list.join(", "))
    };
    format!(
        "container {} does not listen on {kind}{address} after {} s: {instead}. A pod is told its address and ports by the \
         variables HOST and PORT, also as $(HOST) and $(PORT) in command and args",
        target.container.name,
        START_UP.as_secs(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::{Pod, TCPSocketAction};
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    use super::*;
    use crate::sandbox::Place;

    fn timing() -> Timing {
        Timing::of(&Probe {
            success_threshold: Some(2),
            ..Probe::default()
        })
    }

    #[tokio::test]
    async fn what_only_the_system_accepts_is_not_accepted_yet() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            panic!("an IPv4 address")
        };
        let asking = tokio::spawn(accepts(address));
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "it says nothing");
        assert!(!asking.is_finished());
        drop(stream);
        assert!(asking.await.unwrap());
        drop(listener);
        assert!(!accepts(address).await);
    }

    /// Asks one question of a container with this main process, which does not answer; waits for the verdict.
    async fn ask_in_vain(kind: Kind, pid: u32, started: u64, recorder: &informer::Recorder) {
        let nobody = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = nobody.local_addr().unwrap().port();
        drop(nobody);
        let place = Place {
            namespace: String::new(),
            name: String::new(),
            uid: String::new(),
            ip: Ipv4Addr::LOCALHOST,
            host_network: false,
            ports: BTreeMap::new(),
        };
        let target = Target {
            dir: Arc::default(),
            place: Arc::new(place),
            container: Arc::default(),
        };
        let question = Question {
            run: Attempt {
                container: String::new(),
                attempt: 0,
                pid: pid.try_into().unwrap(),
                started,
                started_ms: 0,
                exit: None,
            },
            kind,
            probe: Probe {
                tcp_socket: Some(TCPSocketAction {
                    port: IntOrString::Int(port.into()),
                    ..TCPSocketAction::default()
                }),
                failure_threshold: Some(1),
                ..Probe::default()
            },
            before: Some(true),
            since: Instant::now(),
        };
        let (told, mut verdicts) = mpsc::unbounded_channel();
        let notes = Notes::new(recorder.clone(), &Pod::default());
        tokio::select! {
            () = watch(target, question, notes, told) => panic!("nobody has told it to end"),
            verdict = verdicts.recv() => assert!(!verdict.unwrap().good),
        }
    }

    #[tokio::test]
    async fn what_a_container_that_has_ended_did_not_answer_counts_and_is_no_news() {
        let api = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let address = api.local_addr().unwrap();
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let recorder = informer::Recorder::new(kube::Client::try_from(config).unwrap(), "kubelet", "");
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let own = std::process::id();
        let started = process::stat(own.try_into().unwrap()).unwrap().started;
        ask_in_vain(Kind::Liveness, ended.id(), started, &recorder).await;
        ask_in_vain(Kind::Readiness, own, started, &recorder).await;
        let (mut stream, _) = api.accept().await.unwrap();
        let mut event = String::new();
        while !event.contains(" probe failed: ") {
            let mut chunk = [0; 1024];
            let read = stream.read(&mut chunk).await.unwrap();
            assert!(read > 0, "{event}");
            event.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        assert!(event.contains("Readiness probe failed: "), "{event}");
    }

    #[test]
    fn defaults_are_upstreams() {
        let timing = Timing::of(&Probe::default());
        assert_eq!(
            (timing.period, timing.timeout),
            (Duration::from_secs(10), Duration::from_secs(1))
        );
        assert_eq!(
            (timing.successes, timing.failures, timing.initial_delay),
            (1, 3, Duration::ZERO)
        );
    }

    #[test]
    fn verdicts_change_after_enough_answers_in_a_row() {
        let mut tally = Tally::new(timing(), Some(false));
        let answers = [
            true, false, true, true, true, false, false, true, false, false, false, false,
        ];
        let verdicts: Vec<_> = answers.iter().map(|&answer| tally.take(answer)).collect();
        let mut expected = vec![None; answers.len()];
        expected[3] = Some(true);
        expected[10] = Some(false);
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn a_startup_probe_that_never_succeeds_fails() {
        let mut tally = Tally::new(timing(), None);
        let verdicts: Vec<_> = (0..4).map(|_| tally.take(false)).collect();
        assert_eq!(verdicts, [None, None, Some(false), None]);
    }
}
