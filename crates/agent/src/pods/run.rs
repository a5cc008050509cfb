//! Containers of a pod that is to run: started, and restarted after their back-off.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use tokio::time::Instant;

use super::plan::plan;
use super::worker::{RETRY, Worker, earliest, instant};
use crate::images::{Image, Program};
use crate::keeper::protocol::{Attempt, Failure, Request};
use crate::start::{self, Objects, Site, StartError};
use crate::status::CutShort;

/// How soon a container that lacks a ConfigMap or the like is tried again.
const RETRY_CONFIG: Duration = Duration::from_secs(2);

impl Worker {
    /// One step of a pod that is to run. Returns when the next is due.
    pub(super) async fn sync(&mut self) -> Option<Instant> {
        let deadline = self.check_deadline();
        if self.cut_short.is_some() {
            return self.stop_all_at_once().await;
        }
        if self.is_final() {
            self.come_to_rest();
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
        for ephemeral in plan.ephemeral {
            wake = earliest(wake, self.start(&api::pods::as_container(ephemeral)).await);
        }
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            self.watch(container);
        }
        wake
    }

    /// A pod that has ended for good: what runs beside its containers ends too, and then only its logs are of use.
    fn come_to_rest(&mut self) {
        if self.link.is_some() && self.is_alive() {
            self.stop_in_order(self.grace());
        } else if let Some(link) = self.link.take() {
            link.send(Request::Exit { grace_ms: 0 });
        }
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
                        let services = start::services_of_pod(&self.node.services, &place.namespace, spec);
                        let site = Site {
                            pod: &self.pod,
                            dir: &self.dir(),
                            place,
                            services: &services,
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
        let notes = self.notes.container(&self.pod, &container.name);
        let run = self.containers.entry(container.name.clone()).or_default();
        let start = match prepared {
            Ok(start) => start,
            Err(error) => {
                if run.wait(error.reason(), Some(error.to_string())) {
                    match &error {
                        // It is the pod's, not the container's.
                        StartError::Mount { .. } => self.notes.warning("FailedMount", error.to_string()),
                        _ => {
                            notes.normal("Pulled", pulled(container));
                            notes.warning("Failed", format!("Error: {error}"));
                        }
                    }
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
        self.tell_launch(container, image);
        self.link.as_ref()?.send(Request::Start(Box::new(start)));
        None
    }

    /// Tells the user what is about to be started.
    fn tell_launch(&self, container: &Container, image: &Image) {
        let notes = self.notes.container(&self.pod, &container.name);
        notes.normal("Pulled", pulled(container));
        if image.program == Program::Webserver(true) {
            let text = "nginx is not installed on this machine: the built-in web server stands in for it";
            notes.normal("StandIn", text);
        }
        notes.normal("Created", "Container created");
        let spec = self.pod.spec.as_ref();
        let mut ephemeral = spec
            .into_iter()
            .flat_map(|spec| spec.ephemeral_containers.iter().flatten());
        // Of the others this was said when the pod got its place.
        if ephemeral.any(|other| other.name == container.name)
            && let Some(text) = start::not_enforced(&PodSpec {
                containers: vec![container.clone()],
                ..PodSpec::default()
            })
        {
            notes.warning("NotEnforced", text);
        }
    }

    /// Tells the user how a start went.
    pub(super) fn tell_start(&self, attempt: &Attempt, was_starting: bool) {
        let notes = self.notes.container(&self.pod, &attempt.container);
        match attempt.exit.as_ref().and_then(|exit| exit.failure.as_ref()) {
            Some(Failure::Start(text)) if was_starting => notes.warning("Failed", format!("Error: {text}")),
            None if was_starting => notes.normal("Started", "Container started"),
            _ => {}
        }
    }
}

/// Images are programs of this machine.
fn pulled(container: &Container) -> String {
    let name = container.image.as_deref().unwrap_or_default();
    format!("Container image \"{name}\" already present on machine")
}
