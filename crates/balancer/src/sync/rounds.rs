//! The loop: look at everything, apply, write.

use std::sync::Arc;
use std::time::Duration;

use informer::{Key, Recorder};
use kube::Client;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bind_errors::BindErrors;
use super::in_service::{InService, Write, Written};
use super::plan::{Plan, Planner};
use super::port::Port;
use super::status_socket::Request;
use super::write::write;
use super::{BalancerError, Caches};
use crate::datapath::{BackendState, Datapath, RouteSpec, Settings};
use crate::status::{Backend, Listener, Status};

/// How often addresses that could not be listened on are tried again.
const BIND_RETRY: Duration = Duration::from_secs(5);

/// Everything the loop owns.
pub struct Rounds {
    caches: Caches,
    client: Client,
    recorder: Recorder,
    tasks: TaskTracker,
    datapath: Datapath,
    /// Objects have changed.
    changed: Arc<Notify>,
    /// The datapath has news.
    drained: Arc<Notify>,
    /// How writes went.
    results: mpsc::UnboundedReceiver<(Write, Written)>,
    report: mpsc::UnboundedSender<(Write, Written)>,
    planner: Planner,
    plan: Plan,
    in_service: InService,
    applied: Vec<RouteSpec>,
    bind_errors: BindErrors,
    /// When to try again to listen where it failed.
    bind_retry: Option<Instant>,
}

impl Rounds {
    /// Starts the datapath, without any route.
    pub fn new(
        settings: &Settings,
        caches: Caches,
        client: Client,
        recorder: Recorder,
        tasks: TaskTracker,
    ) -> Result<Self, BalancerError> {
        let (changed, drained) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (report, results) = mpsc::unbounded_channel();
        let tell = drained.clone();
        let datapath = Datapath::start(settings, move || tell.notify_one())?;
        Ok(Self {
            caches,
            client,
            recorder,
            tasks,
            datapath,
            changed,
            drained,
            results,
            report,
            planner: Planner::default(),
            plan: Plan::default(),
            in_service: InService::default(),
            applied: Vec::new(),
            bind_errors: BindErrors::default(),
            bind_retry: None,
        })
    }

    /// Runs until `stop`. The caches must be complete.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Request>, stop: CancellationToken) {
        let changed = self.changed.clone();
        self.caches.on_change(move || changed.notify_one());
        self.replan();
        loop {
            self.settle(&stop);
            let retry = [self.in_service.next_retry(), self.bind_retry]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => self.replan(),
                () = self.drained.notified() => {}
                Some((write, written)) = self.results.recv() => {
                    self.in_service.written(&write, written, Instant::now());
                }
                Some(request) = requests.recv() => {
                    // Whoever asked may have gone.
                    let _ = request.send(self.status());
                }
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {}
            }
        }
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
        let pods = &self.caches.pods;
        let is_coming = |port: &Port| match &port.selector {
            Some(selector) => selector.is_expecting(|value| pods.indexed(value)),
            None => port.targets.coming,
        };
        let routes = self.plan.routes(|pod| self.in_service.admits(pod), is_coming);
        let retry = self.bind_retry.is_some_and(|at| at <= now);
        if routes != self.applied || retry {
            self.datapath.apply(&routes);
            self.applied = routes;
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
        for order in self.in_service.writes(&self.plan.wanted(), &backends, now) {
            let (client, results) = (self.client.clone(), self.report.clone());
            self.tasks
                .spawn(stop.clone().run_until_cancelled_owned(async move {
                    let written = write(client, &order).await;
                    // If the loop has ended nobody needs to know.
                    let _ = results.send((order, written));
                }));
        }
    }

    fn status(&self) -> Status {
        let listeners = self.datapath.listeners().into_iter().map(|listener| Listener {
            addr: listener.addr,
            route: listener.route.to_string(),
            error: listener.error.map(|error| error.to_string()),
        });
        let backends = self.datapath.backends().into_iter().map(|backend| Backend {
            addr: backend.addr,
            pod: self
                .in_service
                .pod(&backend.owner)
                .map(|pod| format!("{}/{}", pod.namespace, pod.name)),
            state: backend.state,
            open: backend.open,
        });
        let mut backends: Vec<_> = backends.collect();
        backends.sort_by(|a, b| (&a.pod, a.addr).cmp(&(&b.pod, b.addr)));
        let connections = self.datapath.connections();
        Status {
            pid: std::process::id(),
            connections,
            listeners: listeners.collect(),
            backends,
        }
    }
}
