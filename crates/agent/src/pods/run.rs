//! Containers of a pod that is to run: started, restarted after their back-off, watched.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;
use tokio::time::Instant;

use super::container::{PullFailure, Task};
use super::plan::plan;
use super::worker::{Message, RETRY, Worker, earliest, instant};
use crate::hooks;
use crate::images::{Image, ImageError, Program};
use crate::keeper::protocol::{Attempt, Failure, Request};
use crate::probes::{self, Kind, Verdict};
use crate::start::{self, Objects, Site};
use crate::status::CutShort;
use crate::target::Target;

/// How soon a container that lacks a ConfigMap or the like is tried again.
const RETRY_CONFIG: Duration = Duration::from_secs(2);
/// How often an unknown image is looked for without a word to the user, who may just have added it.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long the state ErrImagePull shows before ImagePullBackOff does.
const SHOW_ERROR: SignedDuration = SignedDuration::from_secs(2);

impl Worker {
    /// One step of a pod that is to run. Returns when the next is due.
    pub(super) async fn sync(&mut self) -> Option<Instant> {
        let deadline = self.check_deadline();
        if self.cut_short.is_some() {
            return self.stop_all_at_once().await;
        }
        if self.is_final() {
            // Only its logs are of use now.
            if let Some(link) = self.link.take() {
                link.send(Request::Exit { grace_ms: 0 });
            }
            return None;
        }
        if let Err(error) = self.set_up().await {
            self.notes.warning(
                "FailedCreatePodSandBox",
                format!("Failed to create pod sandbox: {error}"),
            );
            return Some(Instant::now() + 5 * RETRY);
        }
        let spec = self.spec();
        let known = self
            .containers
            .iter()
            .map(|(name, run)| (name.clone(), run.known.clone()))
            .collect();
        let plan = plan(&spec, &known);
        let mut wake = deadline;
        for container in plan.stop {
            self.stop_container(container, self.grace());
        }
        for container in plan.start {
            wake = earliest(wake, self.start(container).await);
        }
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            self.watch(container);
        }
        wake
    }

    /// Applies `activeDeadlineSeconds`; returns when it is due.
    fn check_deadline(&mut self) -> Option<Instant> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let due = self.seen.checked_add(SignedDuration::from_secs(seconds)).ok()?;
        if due <= Timestamp::now() && self.cut_short.is_none() && !self.is_final() {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.notes.warning("DeadlineExceeded", message.clone());
            self.cut_short = Some(CutShort {
                reason: "DeadlineExceeded",
                message,
            });
        }
        Some(instant(due)).filter(|due| *due > Instant::now())
    }

    /// Starts a container unless it has to wait; returns until when.
    async fn start(&mut self, container: &Container) -> Option<Instant> {
        let name = &container.name;
        let now = Timestamp::now();
        let run = self.containers.entry(name.clone()).or_default();
        if run.starting.is_some() {
            return None;
        }
        let ended = run
            .known
            .attempt
            .as_ref()
            .and_then(|attempt| Some((attempt.attempt, attempt.exit.as_ref()?)));
        if let Some((attempt, exit)) = ended {
            let finished = Timestamp::from_millisecond(exit.finished_ms).unwrap_or(now);
            let due = run.crashes.due(finished);
            if due > now {
                return Some(self.back_off(name, attempt, finished, due));
            }
        }
        if let Some(retry) = run.retry.filter(|retry| *retry > Instant::now()) {
            return Some(retry);
        }
        let image = match self.find_image(container) {
            Ok(image) => image,
            Err(wake) => return Some(wake),
        };
        self.launch(container, &image).await
    }

    /// Tells that a container waits before it is restarted.
    fn back_off(&mut self, name: &str, attempt: u32, finished: Timestamp, due: Timestamp) -> Instant {
        let notes = self.notes.container(name);
        let place = self.place.clone();
        let run = self.containers.entry(name.to_owned()).or_default();
        let pod = place
            .map(|place| format!("{}_{}({})", place.name, place.namespace, place.uid))
            .unwrap_or_default();
        let delay = due.duration_since(finished).as_secs();
        let text = format!(
            "back-off {} restarting failed container={name} pod={pod}",
            go_duration(delay)
        );
        run.wait("CrashLoopBackOff", Some(text));
        if run.told_backoff != Some(attempt) {
            run.told_backoff = Some(attempt);
            notes.warning(
                "BackOff",
                format!("Back-off restarting failed container {name} in pod {pod}"),
            );
        }
        instant(due)
    }

    /// Looks the image up; if it is unknown, tells so as upstream does and returns when to look again.
    fn find_image(&mut self, container: &Container) -> Result<Image, Instant> {
        let name = container.image.as_deref().unwrap_or_default();
        let notes = self.notes.container(&container.name);
        let run = self.containers.entry(container.name.clone()).or_default();
        let error = match self.node.config.images.resolve(name) {
            Ok(image) => {
                run.pull = None;
                run.known.image_id = image_id(name, &image);
                return Ok(image);
            }
            Err(error) => error,
        };
        let now = Timestamp::now();
        let again = Instant::now() + LOOK_AGAIN;
        let text = match &error {
            ImageError::InvalidName(_) => {
                if run.wait("InvalidImageName", Some(error.to_string())) {
                    notes.warning("InspectFailed", error.to_string());
                    notes.warning("Failed", "Error: InvalidImageName");
                }
                return Err(again);
            }
            _ if container.image_pull_policy.as_deref() == Some("Never") => {
                let text = format!("Container image \"{name}\" is not present with pull policy of Never");
                if run.wait("ErrImageNeverPull", Some(text.clone())) {
                    notes.warning("ErrImageNeverPull", text);
                    notes.warning("Failed", "Error: ErrImageNeverPull");
                }
                return Err(again);
            }
            error => error.to_string(),
        };
        let mut pull = run.pull.clone();
        match &mut pull {
            Some(pull) if now < pull.backoff.due(pull.at) => {
                if now >= pull.at + SHOW_ERROR && !pull.was_told {
                    pull.was_told = true;
                    run.wait(
                        "ImagePullBackOff",
                        Some(format!("Back-off pulling image \"{name}\": ErrImagePull: {text}")),
                    );
                    notes.normal("BackOff", format!("Back-off pulling image \"{name}\""));
                    notes.warning("Failed", "Error: ImagePullBackOff");
                }
            }
            _ => {
                notes.normal("Pulling", format!("Pulling image \"{name}\""));
                notes.warning("Failed", format!("Failed to pull image \"{name}\": {text}"));
                notes.warning("Failed", "Error: ErrImagePull");
                run.wait("ErrImagePull", Some(text));
                let mut backoff = pull.as_ref().map(|pull| pull.backoff).unwrap_or_default();
                backoff.again(now);
                pull = Some(PullFailure {
                    at: now,
                    backoff,
                    was_told: false,
                });
            }
        }
        run.pull = pull;
        Err(again)
    }

    async fn launch(&mut self, container: &Container, image: &Image) -> Option<Instant> {
        let attempt = self
            .containers
            .get(&container.name)
            .and_then(|run| run.known.attempt.as_ref());
        let attempt = attempt.map_or(0, |attempt| attempt.attempt + 1);
        let prepared = match (&self.place, &self.pod.spec) {
            (Some(place), Some(spec)) => {
                match Objects::fetch(&self.node.client, &place.namespace, spec).await {
                    Ok(objects) => {
                        let site = Site {
                            pod: &self.pod,
                            dir: &self.dir(),
                            place,
                            node: &self.node.config.node_name,
                            node_ip: self.node.ip,
                            program: &self.node.config.program,
                            machine: self.node.machine,
                        };
                        start::prepare(&site, container, attempt, image, &objects)
                    }
                    Err(error) => Err(error),
                }
            }
            _ => return None,
        };
        let notes = self.notes.container(&container.name);
        let run = self.containers.entry(container.name.clone()).or_default();
        let start = match prepared {
            Ok(start) => start,
            Err(error) => {
                if run.wait(error.reason(), Some(error.to_string())) {
                    notes.warning("Failed", format!("Error: {error}"));
                }
                run.retry = Some(Instant::now() + RETRY_CONFIG);
                return run.retry;
            }
        };
        run.retry = None;
        run.starting = Some(attempt);
        if attempt > 0 {
            run.crashes.again(Timestamp::now());
        }
        let name = container.image.as_deref().unwrap_or_default();
        notes.normal(
            "Pulled",
            format!("Container image \"{name}\" already present on machine"),
        );
        if image.program == Program::Webserver(true) {
            let text = "nginx is not installed on this machine: the built-in web server stands in for it";
            notes.normal("StandIn", text);
        }
        notes.normal("Created", "Container created");
        self.link.as_ref()?.send(Request::Start(start));
        None
    }

    /// Tells the user how a start went.
    pub(super) fn tell_start(&self, attempt: &Attempt, was_starting: bool) {
        let notes = self.notes.container(&attempt.container);
        match attempt.exit.as_ref().and_then(|exit| exit.failure.as_ref()) {
            Some(Failure::Start(text)) if was_starting => notes.warning("Failed", format!("Error: {text}")),
            None if was_starting => notes.normal("Started", "Container started"),
            _ => {}
        }
    }

    /// Sees to it that a running container is probed, its postStart hook run.
    pub(super) fn watch(&mut self, container: &Container) {
        let (Some(place), dir) = (self.place.clone(), self.dir()) else {
            return;
        };
        let notes = self.notes.container(&container.name);
        let Some(run) = self.containers.get_mut(&container.name) else {
            return;
        };
        let Some(attempt) = run.known.attempt.clone().filter(|attempt| attempt.exit.is_none()) else {
            return;
        };
        let target = Target {
            dir: Arc::new(dir),
            place,
            container: Arc::new(container.clone()),
        };
        let started = Timestamp::from_millisecond(attempt.started_ms).unwrap_or_default();
        let ran = Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default();
        let since = Instant::now().checked_sub(ran).unwrap_or_else(Instant::now);
        let probe = |kind, probe: &k8s_openapi::api::core::v1::Probe| {
            let verdicts = self.verdicts.0.clone();
            Task::spawn(probes::watch(
                target.clone(),
                attempt.attempt,
                kind,
                probe.clone(),
                since,
                notes.clone(),
                verdicts,
            ))
        };
        if !run.is_post_started {
            let hook = container
                .lifecycle
                .as_ref()
                .and_then(|lifecycle| lifecycle.post_start.clone());
            let Some(hook) = hook else {
                run.is_post_started = true;
                return self.watch(container);
            };
            if run.watchers.is_empty() {
                let messages = self.messages.0.clone();
                run.watchers.push(Task::spawn(async move {
                    let result = hooks::run(&target, &hook).await;
                    let (container, attempt) = (target.container.name.clone(), attempt.attempt);
                    // Nobody is there to be told only when the pod has ended.
                    let _ = messages.send(Message::PostStarted {
                        container,
                        attempt,
                        result,
                    });
                }));
            }
            return;
        }
        if !run.known.is_started {
            match &container.startup_probe {
                Some(startup) if run.watchers.is_empty() => run.watchers.push(probe(Kind::Startup, startup)),
                Some(_) => {}
                None => run.known.is_started = true,
            }
        }
        if !run.known.is_started || run.is_watched {
            return;
        }
        run.is_watched = true;
        if let Some(liveness) = &container.liveness_probe {
            run.watchers.push(probe(Kind::Liveness, liveness));
        }
        if let Some(readiness) = &container.readiness_probe {
            run.watchers.push(probe(Kind::Readiness, readiness));
            return;
        }
        let implied = self
            .node
            .config
            .images
            .implies_port_80(container.image.as_deref().unwrap_or_default());
        let ports = start::listen_ports(&target.place, container, implied);
        if ports.is_empty() {
            run.known.is_ready = true;
        } else {
            let verdicts = self.verdicts.0.clone();
            let wait = probes::wait_for_ports(target, attempt.attempt, attempt.pid, ports, notes, verdicts);
            run.watchers.push(Task::spawn(wait));
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
        self.notes.container(name).normal("Killing", text);
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
            let notes = self.notes.container(&container);
            notes.warning("FailedPostStartHook", format!("PostStartHook failed: {text}"));
            notes.normal("Killing", "FailedPostStartHook");
            self.stop_quietly(&spec, self.grace());
        }
    }
}

/// What an image was found to be, as `imageID`.
fn image_id(name: &str, image: &Image) -> String {
    match &image.program {
        Program::Nginx(path) => format!("file://{}", path.display()),
        Program::User { program, .. } => format!("file://{program}"),
        Program::Webserver(_) => "coracle://webserver".to_owned(),
        Program::Host => format!("coracle://{name}"),
    }
}

/// Seconds as Go prints a duration.
fn go_duration(seconds: i64) -> String {
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m{}s", seconds / 60, seconds % 60)
    }
}
