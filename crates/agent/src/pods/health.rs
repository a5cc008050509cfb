//! Running containers: their postStart hooks and probes, and what follows from what those find.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Probe};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::container::Task;
use super::worker::{Message, Worker};
use crate::hooks;
use crate::keeper::protocol::Attempt;
use crate::notes::Notes;
use crate::probes::{self, Kind, Question, Verdict};
use crate::process::Transport;
use crate::start;
use crate::target::Target;

/// What the tasks that watch one attempt at running a container are given.
struct Watch {
    target: Target,
    attempt: Attempt,
    notes: Notes,
    verdicts: mpsc::UnboundedSender<Verdict>,
    messages: mpsc::UnboundedSender<Message>,
}

impl Watch {
    fn probe(&self, kind: Kind, probe: &Probe, before: Option<bool>) -> Task {
        let started = Timestamp::from_millisecond(self.attempt.started_ms).unwrap_or_default();
        let ran = Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default();
        let since = Instant::now().checked_sub(ran).unwrap_or_else(Instant::now);
        let question = Question {
            run: self.attempt.clone(),
            kind,
            probe: probe.clone(),
            before,
            since,
        };
        Task::spawn(probes::watch(
            self.target.clone(),
            question,
            self.notes.clone(),
            self.verdicts.clone(),
        ))
    }

    fn ports(&self, ports: Vec<(Transport, u16)>) -> Task {
        let (target, notes, verdicts) = (self.target.clone(), self.notes.clone(), self.verdicts.clone());
        let Attempt { attempt, pid, .. } = self.attempt;
        Task::spawn(probes::wait_for_ports(
            target, attempt, pid, ports, notes, verdicts,
        ))
    }

    fn post_start(&self, hook: &LifecycleHandler) -> Task {
        let (target, hook, messages) = (self.target.clone(), hook.clone(), self.messages.clone());
        let attempt = self.attempt.attempt;
        Task::spawn(async move {
            let result = hooks::run(&target, &hook).await;
            let container = target.container.name.clone();
            // Nobody is there to be told only when the pod has ended.
            let _ = messages.send(Message::PostStarted {
                container,
                attempt,
                result,
            });
        })
    }
}

impl Worker {
    /// Sees to it that a running container is probed, its postStart hook run.
    pub(super) fn watch(&mut self, container: &Container) {
        let (Some(place), dir) = (self.place.clone(), Arc::new(self.dir())) else {
            return;
        };
        let Some(run) = self.containers.get_mut(&container.name) else {
            return;
        };
        let Some(attempt) = run.known.attempt.clone().filter(|attempt| attempt.exit.is_none()) else {
            return;
        };
        let watch = Watch {
            target: Target {
                dir,
                place,
                container: Arc::new(container.clone()),
            },
            attempt,
            notes: self.notes.container(&self.pod, &container.name),
            verdicts: self.verdicts.0.clone(),
            messages: self.messages.0.clone(),
        };
        if !run.is_post_started {
            let hook = container
                .lifecycle
                .as_ref()
                .and_then(|lifecycle| lifecycle.post_start.as_ref());
            if let Some(hook) = hook {
                if run.watchers.is_empty() {
                    run.watchers.push(watch.post_start(hook));
                }
                return;
            }
            run.is_post_started = true;
        }
        if !run.known.is_started {
            if let Some(startup) = &container.startup_probe {
                if run.watchers.is_empty() {
                    run.watchers.push(watch.probe(Kind::Startup, startup, None));
                }
                return;
            }
            run.known.is_started = true;
        }
        if std::mem::replace(&mut run.is_watched, true) {
            return;
        }
        if let Some(liveness) = &container.liveness_probe {
            run.watchers
                .push(watch.probe(Kind::Liveness, liveness, Some(true)));
        }
        if let Some(readiness) = &container.readiness_probe {
            run.watchers
                .push(watch.probe(Kind::Readiness, readiness, Some(run.known.is_ready)));
            return;
        }
        let image = container.image.as_deref().unwrap_or_default();
        let implied = self.node.config.images.implies_port_80(image);
        let place = &watch.target.place;
        let streams = start::listen_ports(place, container, implied).into_iter();
        let datagrams = start::datagram_ports(place, container).into_iter();
        let streams = streams.map(|port| (Transport::Tcp, port));
        let ports: Vec<_> = streams
            .chain(datagrams.map(|port| (Transport::Udp, port)))
            .collect();
        if ports.is_empty() || run.known.is_ready {
            run.known.is_ready = true;
        } else {
            run.watchers.push(watch.ports(ports));
        }
    }

    /// Takes a probe's verdict.
    pub(super) fn take_verdict(&mut self, verdict: &Verdict) {
        let Some(container) = self.container(&verdict.container) else {
            return;
        };
        let is_terminating = self.pod.metadata.deletion_timestamp.is_some();
        let Some(run) = self.containers.get_mut(&verdict.container) else {
            return;
        };
        let is_current = run
            .known
            .attempt
            .as_ref()
            .is_some_and(|a| a.attempt == verdict.attempt && a.exit.is_none());
        if !is_current {
            return;
        }
        let probe = match (verdict.kind, verdict.good) {
            (Kind::Readiness, good) => {
                run.known.is_ready = good;
                return;
            }
            (Kind::Startup, true) => {
                run.known.is_started = true;
                run.watchers.clear();
                return;
            }
            (Kind::Liveness, true) => return,
            (Kind::Startup, false) => &container.startup_probe,
            (Kind::Liveness, false) => &container.liveness_probe,
        };
        if is_terminating {
            return;
        }
        let own = probe
            .as_ref()
            .and_then(|probe| probe.termination_grace_period_seconds);
        let grace = own
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs);
        let (name, word) = (&container.name, verdict.kind.name().to_lowercase());
        let text = format!("Container {name} failed {word} probe, will be restarted");
        self.notes.container(&self.pod, name).normal("Killing", text);
        let grace = grace.unwrap_or_else(|| self.grace());
        self.stop_quietly(&container, grace);
    }

    /// Takes what a task told.
    pub(super) fn take_message(&mut self, message: Message) {
        let Message::PostStarted {
            container,
            attempt,
            result,
        } = message;
        let Some(spec) = self.container(&container) else {
            return;
        };
        let Some(run) = self.containers.get_mut(&container) else {
            return;
        };
        let is_current = run
            .known
            .attempt
            .as_ref()
            .is_some_and(|a| a.attempt == attempt && a.exit.is_none());
        if !is_current {
            return;
        }
        run.watchers.clear();
        run.is_post_started = true;
        if let Err(text) = result {
            let notes = self.notes.container(&self.pod, &container);
            // The text may hold what the hook printed, which is for nobody who may only read events.
            tracing::debug!(container, text, "the postStart hook failed");
            notes.warning("FailedPostStartHook", "PostStartHook failed");
            notes.normal("Killing", "FailedPostStartHook");
            self.stop_quietly(&spec, self.grace());
        }
    }
}
