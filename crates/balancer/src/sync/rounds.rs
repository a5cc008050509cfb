//! The loop: look at everything, apply, write.

use std::sync::Arc;
use std::time::Duration;

use informer::{Key, Recorder};
use jiff::Timestamp;
use kube::Client;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bind_errors::BindErrors;
use super::handover::Watcher;
use super::in_service::{InService, Write, Written};
use super::plan::{Plan, Planner};
use super::pod_events;
use super::port::Port;
use super::write::write;
use super::{BalancerError, Caches, Config, Question};
use crate::datapath::{BackendState, Datapath, RouteSpec, Settings};
use crate::status::Metrics;

/// How often addresses that could not be listened on are tried again.
const BIND_RETRY: Duration = Duration::from_secs(5);

/// Everything the loop owns.
pub struct Rounds {
    caches: Caches,
    client: Client,
    recorder: Recorder,
    tasks: TaskTracker,
    pub(super) datapath: Datapath,
    /// Where the counters can be read, if they can.
    pub(super) metrics: Option<watch::Receiver<Metrics>>,
    pub(super) config: Config,
    /// Those who are told of every listening socket.
    pub(super) watchers: Vec<Watcher>,
    /// Objects have changed.
    changed: Arc<Notify>,
    /// The datapath has news.
    drained: Arc<Notify>,
    /// How writes went.
    pub(super) results: mpsc::UnboundedReceiver<(Write, Written)>,
    report: mpsc::UnboundedSender<(Write, Written)>,
    planner: Planner,
    plan: Plan,
    pub(super) in_service: InService,
    /// The table, if there is one yet.
    applied: Option<Vec<RouteSpec>>,
    bind_errors: BindErrors,
    /// When to try again to listen where it failed.
    bind_retry: Option<Instant>,
}

impl Rounds {
    /// Starts the datapath, without any route.
    pub fn new(
        config: &Config,
        caches: Caches,
        client: Client,
        recorder: Recorder,
        tasks: TaskTracker,
    ) -> Result<Self, BalancerError> {
        let (changed, drained) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (report, results) = mpsc::unbounded_channel();
        let tell = drained.clone();
        let settings = Settings {
            threads: config.threads,
            hold: config.hold,
            ..Settings::default()
        };
        let datapath = Datapath::start(&settings, move || tell.notify_one())?;
        Ok(Self {
            caches,
            client,
            recorder,
            tasks,
            datapath,
            metrics: None,
            config: config.clone(),
            watchers: Vec::new(),
            changed,
            drained,
            results,
            report,
            planner: Planner::default(),
            plan: Plan::default(),
            in_service: InService::default(),
            applied: None,
            bind_errors: BindErrors::default(),
            bind_retry: None,
        })
    }

    /// Runs until `stop`, or until another balancer has taken over. The caches must be complete.
    pub async fn run(mut self, mut questions: mpsc::Receiver<Question>, stop: CancellationToken) {
        let changed = self.changed.clone();
        self.caches.on_change(move || changed.notify_one());
        self.replan();
        loop {
            self.settle(&stop);
            let overdue = self.in_service.next_due().map(from_now);
            let retry = [self.in_service.next_retry(), self.bind_retry, overdue]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => self.replan(),
                () = self.drained.notified() => {}
                Some((write, written)) = self.results.recv() => {
                    self.in_service.written(&write, written, Instant::now());
                    if write.value && written == (Written::Done { deleted: false }) {
                        pod_events::tell_in_service(&self.recorder, &write.pod);
                    }
                }
                Some(question) = questions.recv() => match question {
                    Question::Handover(heir) => match self.hand_over(heir).await {
                        Some(rounds) => self = rounds,
                        None => return,
                    },
                    question => self.answer(question),
                },
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {}
            }
        }
    }

    fn answer(&mut self, question: Question) {
        self.forget_counts();
        // Whoever asked may have gone.
        match question {
            Question::Status(reply) => drop(reply.send(self.status())),
            Question::Snapshot(reply) => drop(reply.send(self.snapshot())),
            // It needs the loop itself.
            Question::Handover(_) => {}
        }
    }

    /// Forgets the counters of pods that are gone for good.
    fn forget_counts(&mut self) {
        let in_service = &self.in_service;
        self.datapath
            .forget_counts(|owner| in_service.pod(owner).is_some());
    }

    /// Looks at all objects anew.
    fn replan(&mut self) {
        let caches = &self.caches;
        let slices = |key: &Key| {
            let index = format!("service/{}/{}", key.namespace, key.name);
            caches.slices.indexed(&index)
        };
        self.plan = self
            .planner
            .plan(&caches.services.list(), &caches.nodes.list(), slices);
        self.in_service
            .observe(&self.caches.pods.list(), self.plan.pods());
    }

    /// Brings the datapath and the pods' conditions in line with the plan.
    fn settle(&mut self, stop: &CancellationToken) {
        let now = Instant::now();
        for pod in self.in_service.overdue(Timestamp::now()) {
            self.datapath.set_overdue(&pod);
        }
        let pods = &self.caches.pods;
        let is_coming = |port: &Port| match &port.selector {
            Some(selector) => selector.is_expecting(|value| pods.indexed(value)),
            None => port.targets.coming,
        };
        let routes = self.plan.routes(|pod| self.in_service.admits(pod), is_coming);
        let retry = self.bind_retry.is_some_and(|at| at <= now);
        if self.applied.as_ref() != Some(&routes) || retry {
            self.datapath.apply(&routes);
            self.applied = Some(routes);
            self.tell_watchers();
            self.forget_counts();
            let listeners = self.datapath.listeners();
            self.bind_errors.tell(&self.recorder, &self.plan, &listeners);
            self.bind_retry = listeners
                .iter()
                .any(|listener| listener.error.is_some())
                .then(|| now + BIND_RETRY);
        }
        let backends = self.datapath.backends();
        for backend in backends
            .iter()
            .filter(|backend| backend.state == BackendState::Drained)
        {
            self.in_service.ended(backend);
            self.datapath.forget(backend);
        }
        let wanted = self.plan.wanted();
        for left in self.in_service.left(&wanted, &backends) {
            pod_events::tell_left(&self.recorder, &left);
        }
        for order in self.in_service.writes(&wanted, &backends, now) {
            let (client, results) = (self.client.clone(), self.report.clone());
            self.tasks
                .spawn(stop.clone().run_until_cancelled_owned(async move {
                    let written = write(client, &order).await;
                    // If the loop has ended nobody needs to know.
                    let _ = results.send((order, written));
                }));
        }
    }
}

/// A time of the API, on the clock that this process waits by.
fn from_now(at: Timestamp) -> Instant {
    let left = Duration::try_from(at.duration_since(Timestamp::now()));
    // What is past is now.
    Instant::now() + left.unwrap_or_default()
}
