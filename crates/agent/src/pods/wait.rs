//! Why a container that is due is not started yet: a back-off, or an image that is unknown. The texts are upstream's.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;
use tokio::time::Instant;

use super::container::PullFailure;
use super::worker::{Worker, instant};
use crate::images::{Image, ImageError, Program};

/// How often an unknown image is looked for without a word to the user, who may just have added it.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long the state ErrImagePull shows before ImagePullBackOff does.
const SHOW_ERROR: SignedDuration = SignedDuration::from_secs(2);

impl Worker {
    /// Tells that a container waits before it is restarted.
    pub(super) fn back_off(
        &mut self,
        name: &str,
        attempt: u32,
        finished: Timestamp,
        due: Timestamp,
    ) -> Instant {
        let notes = self.notes.container(&self.pod, name);
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
    pub(super) fn find_image(&mut self, container: &Container) -> Result<Image, Instant> {
        let name = container.image.as_deref().unwrap_or_default();
        let notes = self.notes.container(&self.pod, &container.name);
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
