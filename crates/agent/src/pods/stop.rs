//! How a pod ends.
//!
//! A deleted pod waits until the balancer has said that nothing is routed to it any more (condition
//! `coracle.dev/InService` from True to False), so that stopping it can drop no request. Then come preStop hooks and stop
//! signals, sidecars last; SIGKILL when the grace is over; the final status; the removal of the object and of the folder.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use kube::api::{DeleteParams, Preconditions};
use tokio::time::Instant;

use super::container::{Stopping, Task};
use super::worker::{RETRY, Step, Worker, instant};
use crate::hooks;
use crate::keeper::protocol::Request;
use crate::sandbox::launch;
use crate::target::Target;

/// Time that a program has after its stop signal in any case, as upstream.
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// How long a keeper may take to tell of the end of what it has killed, before it is asked whether it is well.
const TELL: Duration = Duration::from_secs(1);
/// How long a keeper whose processes are dead may take to end.
const KEEPER_END: Duration = Duration::from_secs(5);
/// Grace of a pod that does not say.
const DEFAULT_GRACE: u64 = 30;

impl Worker {
    /// The pod's grace period.
    pub(super) fn grace(&self) -> Duration {
        let spec = self.pod.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.termination_grace_period_seconds);
        let seconds = match seconds {
            None => DEFAULT_GRACE,
            // Upstream counts a negative one as 1.
            Some(seconds) => u64::try_from(seconds).unwrap_or(1),
        };
        Duration::from_secs(seconds)
    }

    /// One step of a pod that is being deleted.
    pub(super) async fn terminate(&mut self) -> Step {
        let deadline = self
            .pod
            .metadata
            .deletion_timestamp
            .as_ref()
            .map_or_else(Timestamp::now, |time| time.0);
        let drained_by = api::pods::stopped_at(&self.pod).unwrap_or(deadline);
        if self.link.is_none() || !self.is_alive() {
            return self.finish().await;
        }
        if !self.is_drained {
            let in_service = api::pods::condition(&self.pod, api::names::IN_SERVICE);
            let serves = in_service.is_some_and(|condition| condition.status == "True");
            if serves && Timestamp::now() < drained_by {
                self.watch_all();
                return Step::Wait(Some(instant(drained_by)));
            }
            if serves {
                tracing::info!(
                    "the grace period is nearly over: stopping though the balancer still routes here"
                );
            }
            self.is_drained = true;
        }
        let left = Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default();
        self.stop_in_order(left);
        let stops = self.containers.values().filter_map(|run| run.stop.as_ref());
        match stops.map(|stop| stop.ask_keeper).min() {
            Some(due) if due <= Instant::now() => self.ask_keeper().await,
            due => Step::Wait(due),
        }
    }

    /// A container should have been dead for a while. If it is the keeper that is not well, such as one that was stopped by
    /// SIGSTOP, it goes, and all of the pod with it.
    async fn ask_keeper(&mut self) -> Step {
        self.recover().await;
        if self.link.is_none() {
            let text = "error killing pod: its keeper does not answer; the keeper and all of the pod's processes were killed";
            self.notes.warning("FailedKillPod", text);
        }
        // A keeper that is well has told of all ends again; what is left then does not die, such as a process that waits for
        // a disk.
        for stop in self.containers.values_mut().filter_map(|run| run.stop.as_mut()) {
            stop.ask_keeper = Instant::now() + KEEPER_END;
        }
        Step::Wait(Some(Instant::now()))
    }

    /// Readiness goes on to be watched while the pod drains: the balancer may need it when no other is ready.
    fn watch_all(&mut self) {
        for container in self.spec().containers {
            self.watch(&container);
        }
    }

    /// Stops containers, and once they have ended the sidecars, the last one first.
    pub(super) fn stop_in_order(&mut self, left: Duration) {
        let spec = self.spec();
        let ephemeral: Vec<Container> = spec
            .ephemeral_containers
            .iter()
            .flatten()
            .map(api::pods::as_container)
            .collect();
        let is_alive = |container: &&Container| {
            self.containers
                .get(&container.name)
                .is_some_and(super::container::Run::is_alive)
        };
        let inits = || spec.init_containers.iter().flatten();
        let plain_inits = inits().filter(|init| !api::pods::is_sidecar(init));
        let mut alive: Vec<&Container> = spec
            .containers
            .iter()
            .chain(plain_inits)
            .chain(&ephemeral)
            .filter(is_alive)
            .collect();
        if alive.is_empty() {
            alive = inits()
                .filter(|init| api::pods::is_sidecar(init))
                .filter(is_alive)
                .collect();
            alive = alive.pop().into_iter().collect();
        }
        for container in alive {
            self.stop_container(container, left);
        }
    }

    /// Begins to stop a container, and says so; if that has begun already, it can only become shorter.
    pub(super) fn stop_container(&mut self, container: &Container, grace: Duration) {
        let is_new = self
            .containers
            .get(&container.name)
            .is_some_and(|run| run.stop.is_none());
        if is_new {
            let text = format!("Stopping container {}", container.name);
            self.notes
                .container(&self.pod, &container.name)
                .normal("Killing", text);
        }
        self.stop_quietly(container, grace);
    }

    /// As [`Worker::stop_container`], when the user has been told why already.
    pub(super) fn stop_quietly(&mut self, container: &Container, grace: Duration) {
        let (Some(place), Some(link)) = (self.place.clone(), &self.link) else {
            return;
        };
        let target = Target {
            dir: self.dir().into(),
            place,
            container: container.clone().into(),
        };
        let Some(run) = self.containers.get_mut(&container.name) else {
            return;
        };
        let deadline = Instant::now() + grace;
        if let Some(stop) = &mut run.stop {
            if deadline + RETRY < stop.deadline {
                stop.deadline = deadline;
                stop.ask_keeper = deadline + LEAST_GRACE + TELL;
                link.send(stop_request(&container.name, grace));
            }
            return;
        }
        let requests = link.requests();
        let notes = self.notes.container(&self.pod, &container.name);
        let hook = container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.clone());
        let task = Task::spawn(async move {
            if let Some(hook) = hook {
                let text = match tokio::time::timeout(grace, hooks::run(&target, &hook)).await {
                    Ok(Ok(())) => None,
                    Ok(Err(text)) => Some(text),
                    Err(_) => Some(format!(
                        "it did not end within the grace period of {} s",
                        grace.as_secs()
                    )),
                };
                if let Some(text) = text {
                    // The text may hold what the hook printed, which is for nobody who may only read events.
                    tracing::debug!(text, "the preStop hook failed");
                    notes.warning("FailedPreStopHook", "PreStopHook failed");
                }
            }
            let left = deadline
                .saturating_duration_since(Instant::now())
                .max(LEAST_GRACE);
            // Nobody hears it only if the keeper is gone.
            let _ = requests.send(stop_request(&target.container.name, left));
        });
        run.stop = Some(Stopping {
            deadline,
            ask_keeper: deadline + LEAST_GRACE + TELL,
            _task: task,
        });
    }

    /// Stops a pod whose time is over though it was not deleted.
    pub(super) async fn stop_all_at_once(&mut self) -> Option<Instant> {
        self.stop_in_order(self.grace());
        None
    }

    /// The last of a pod all of whose processes are dead: status, object, keeper, folder.
    async fn finish(&mut self) -> Step {
        if let Some(link) = &self.link {
            link.send(Request::Exit { grace_ms: 0 });
        }
        let again = Step::Wait(Some(Instant::now() + RETRY));
        let has_run = self.containers.values().any(|run| run.known.attempt.is_some());
        if has_run && let Err(error) = self.write_status().await {
            tracing::debug!(%error, "cannot write the pod's last status");
            return again;
        }
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(self.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api().delete(self.name(), &parameters).await {
            Ok(_) => {}
            // Gone already, or another pod of this name.
            Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => {}
            Err(error) => {
                tracing::debug!(%error, "cannot remove the pod's object");
                return again;
            }
        }
        self.tear_down().await;
        Step::Done
    }

    /// A pod whose object is gone: whatever is left of it goes at once.
    pub(super) async fn vanish(&mut self) -> Step {
        self.tear_down().await;
        Step::Done
    }

    /// Kills what is left, removes the folder, gives address and ports back.
    async fn tear_down(&mut self) {
        let Some(place) = self.place.take() else { return };
        let (dir, uid) = (self.dir(), self.uid.clone());
        self.containers.clear();
        let is_left = match self.link.take() {
            Some(mut link) => {
                link.send(Request::Exit { grace_ms: 0 });
                tokio::time::timeout(KEEPER_END, link.gone()).await.is_err()
            }
            // That of a pod that had ended before was told to end then.
            None => launch::is_kept(&dir),
        };
        if is_left {
            tracing::warn!("the keeper does not end: killing it");
            let (dir, uid) = (dir.clone(), uid.clone());
            // It only fails if it panics, and it does not.
            let _ = tokio::task::spawn_blocking(move || launch::clear(&dir, &uid)).await;
        }
        if let Err(error) = tokio::fs::remove_dir_all(&dir).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove the pod's folder");
        }
        self.node.give_back(&place);
    }
}

fn stop_request(container: &str, grace: Duration) -> Request {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    Request::Stop {
        container: container.to_owned(),
        grace_ms,
    }
}
