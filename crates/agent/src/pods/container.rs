//! What a worker remembers of one container.

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backoff::Backoff;
use crate::keeper::protocol::Attempt;
use crate::status::{ContainerKnown, Waiting};

/// A task that ends with what it is part of.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Task {
    /// Starts it.
    pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One container of a pod.
#[derive(Debug, Default)]
pub struct Run {
    /// What its status is made of.
    pub known: ContainerKnown,
    /// An attempt that the keeper was asked to start and has not told of yet.
    pub starting: Option<u32>,
    /// Waits between restarts.
    pub crashes: Backoff,
    /// The attempt whose back-off the user was told of.
    pub told_backoff: Option<u32>,
    /// Its image was not found.
    pub pull: Option<PullFailure>,
    /// It could not be started for another reason; when to try again.
    pub retry: Option<Instant>,
    /// Probes and the postStart hook of the running attempt.
    pub watchers: Vec<Task>,
    /// Whether the liveness and readiness probes have been started.
    pub is_watched: bool,
    /// The postStart hook of the running attempt has been run, or there is none.
    pub is_post_started: bool,
    /// It is being stopped.
    pub stop: Option<Stopping>,
}

/// An image that was not found.
#[derive(Clone, Debug)]
pub struct PullFailure {
    /// When it was last looked for.
    pub at: Timestamp,
    /// Waits between looks.
    pub backoff: Backoff,
    /// The user was told that it is waited now.
    pub was_told: bool,
}

/// A container that is being stopped.
#[derive(Debug)]
pub struct Stopping {
    /// When it is killed.
    pub deadline: Instant,
    /// When the keeper, should it not have told of the end by then, is asked whether it is well.
    pub ask_keeper: Instant,
    /// The preStop hook, then the word to the keeper. Held so that it ends with the attempt.
    pub _task: Task,
}

impl Run {
    /// Whether it runs, or is about to.
    pub fn is_alive(&self) -> bool {
        self.starting.is_some() || self.known.is_running()
    }

    /// Takes what is known of an attempt. `true` if the attempt, or its end, is news.
    pub fn take(&mut self, attempt: &Attempt) -> bool {
        match &self.known.attempt {
            Some(known) if known.attempt > attempt.attempt => return false,
            Some(known) if known == attempt => return false,
            Some(known) if known.attempt < attempt.attempt => {
                self.known.previous = self.known.attempt.take();
            }
            _ => {}
        }
        let is_new = self
            .known
            .attempt
            .as_ref()
            .is_none_or(|known| known.attempt != attempt.attempt);
        if is_new {
            self.stop = None;
            self.known.waiting = None;
        }
        if is_new || attempt.exit.is_some() {
            self.watchers.clear();
            self.known.is_started = false;
            self.known.is_ready = false;
            self.is_watched = false;
            self.is_post_started = false;
        }
        if attempt.exit.is_some() {
            self.stop = None;
        }
        if self.starting.is_some_and(|starting| starting <= attempt.attempt) {
            self.starting = None;
        }
        self.known.attempt = Some(attempt.clone());
        true
    }

    /// It waits for this reason. `true` if that is news.
    pub fn wait(&mut self, reason: &str, message: Option<String>) -> bool {
        let waiting = Some(Waiting {
            reason: reason.to_owned(),
            message,
        });
        let is_news = self.known.waiting != waiting;
        self.known.waiting = waiting;
        is_news
    }
}
