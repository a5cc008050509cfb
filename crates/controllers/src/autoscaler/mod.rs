//! The autoscaler: keeps as many pods as their usage asks for.
//!
//! Flows in: HorizontalPodAutoscalers, their targets' `/scale`, pods, and what those use (`metrics.k8s.io`). Flows out: the
//! target's number of replicas, the autoscaler's status, Events. What was recommended lately is kept in memory: after a
//! restart nothing is scaled down for a while. Only Resource and ContainerResource metrics exist here.

mod limits;
mod pods;
mod replicas;
mod resource;
mod status;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use api::labels::Selector;
use informer::{Informer, Key, Next, Queue, Recorder, Type};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Resource};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::RequestError;
use crate::context::{Context, attempt};
use limits::{Held, History, Rules};
use pods::Measurements;
use status::Report;
use target::Scale;

const WORKERS: usize = 2;

/// How often usage is looked at; upstream's.
const PERIOD: Duration = Duration::from_secs(15);

/// Runs the controller until the context's stop.
pub async fn run(context: Context) {
    let tasks = TaskTracker::new();
    let all = Api::all(context.client.clone());
    let autoscalers: Informer<HorizontalPodAutoscaler> =
        Informer::start(all, |_| Vec::new(), &tasks, context.stop.clone());
    let queue = Queue::new("autoscaler");
    let changed = queue.clone();
    autoscalers.on_change(Box::new(move |old, new| {
        // Its own status is no reason to look again.
        let is_new = match (old, new) {
            (Some(old), Some(new)) => old.spec != new.spec,
            _ => true,
        };
        let object = new.or(old).filter(|_| is_new);
        object
            .into_iter()
            .for_each(|object| changed.add(Key::of(&**object)));
    }));
    let recorder = Recorder::new(context.client.clone(), "horizontal-pod-autoscaler", "");
    let stop = context.stop.clone();
    let controller = Arc::new(Controller {
        context,
        autoscalers,
        recorder,
        histories: Mutex::default(),
        selectors: Mutex::default(),
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { attempt(controller.sync(&key)).await }
    };
    queue.run(WORKERS, stop, reconcile).await;
    tasks.close();
    tasks.wait().await;
}

/// What the syncs share.
struct Controller {
    context: Context,
    autoscalers: Informer<HorizontalPodAutoscaler>,
    recorder: Recorder,
    histories: Mutex<HashMap<Key, History>>,
    /// Which pods each autoscaler scales, as of its last look.
    selectors: Mutex<HashMap<Key, Selector>>,
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(autoscaler) = self.autoscalers.get(key) else {
            self.histories.lock().remove(key);
            self.selectors.lock().remove(key);
            return Ok(Next::Wait);
        };
        let now = Timestamp::now();
        let mut report = Report::new(&autoscaler, now);
        self.look(key, &autoscaler, &mut report, now).await;
        let wanted = report.finish();
        if autoscaler.status.as_ref() != Some(&wanted) {
            let mut changed = (*autoscaler).clone();
            changed.status = Some(wanted);
            self.context.replace_status(&self.autoscalers, &changed).await?;
        }
        Ok(Next::After(PERIOD))
    }

    /// Measures, decides, scales; what goes wrong is in the report.
    async fn look(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        report: &mut Report,
        now: Timestamp,
    ) {
        let scale = match Scale::read(
            &self.context.client,
            &key.namespace,
            &autoscaler.spec.scale_target_ref,
        )
        .await
        {
            Ok(scale) => scale,
            Err(why) => {
                let message =
                    format!("the HPA controller was unable to get the target's current scale: {why}");
                report.condition("AbleToScale", false, "FailedGetScale", &message);
                return self.event(autoscaler, Type::Warning, "FailedGetScale", why);
            }
        };
        let got = "the HPA controller was able to get the target's current scale";
        report.condition("AbleToScale", true, "SucceededGetScale", got);
        report.status.current_replicas = Some(scale.replicas);
        report.status.desired_replicas = scale.replicas;
        if scale.replicas == 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            return report.condition("ScalingActive", false, "ScalingDisabled", message);
        }
        let rules = Rules::of(&autoscaler.spec);
        let (min, max) = (
            autoscaler.spec.min_replicas.unwrap_or(1),
            autoscaler.spec.max_replicas,
        );
        let (wanted, why) = if scale.replicas > max {
            (
                max,
                "Current number of replicas above Spec.MaxReplicas".to_owned(),
            )
        } else if scale.replicas < min {
            (
                min,
                "Current number of replicas below Spec.MinReplicas".to_owned(),
            )
        } else {
            let Some((recommended, why)) = self.recommend(key, autoscaler, &scale, report, now).await else {
                return;
            };
            let mut histories = self.histories.lock();
            let history = histories.entry(key.clone()).or_default();
            let (wanted, held) = history.decide(&rules, scale.replicas, recommended, now);
            report.held(held);
            if recommended < scale.replicas && history.is_steadied(&rules, recommended, now) {
                report.steadied();
            } else {
                report.ready();
            }
            (wanted, why)
        };
        report.status.desired_replicas = wanted;
        if wanted != scale.replicas {
            self.rescale(key, autoscaler, (&scale, wanted), (&rules, &why), report)
                .await;
        }
    }

    /// The most that any metric asks for, and why. Fewer pods only if all metrics are known.
    async fn recommend(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        scale: &Scale,
        report: &mut Report,
        now: Timestamp,
    ) -> Option<(i32, String)> {
        let selector = Selector::parse(&scale.selector).unwrap_or_default();
        let there = self.context.caches.pods.in_namespace(&key.namespace);
        let empty = BTreeMap::new();
        let mine = there
            .into_iter()
            .filter(|pod| selector.matches(pod.metadata.labels.as_ref().unwrap_or(&empty)));
        let mine: Vec<_> = mine.collect();
        self.selectors.lock().insert(key.clone(), selector);
        if let Some(message) = self.rivals(key, &scale.selector, &mine) {
            report.condition("ScalingActive", false, "AmbiguousSelector", &message);
            self.event(autoscaler, Type::Warning, "AmbiguousSelector", message.clone());
            self.event(autoscaler, Type::Warning, "FailedComputeMetricsReplicas", message);
            return None;
        }
        let measured = Measurements::read(&self.context.client, &key.namespace, &scale.selector).await;
        let measured = measured.as_ref().map_err(String::as_str);
        let metrics = autoscaler.spec.metrics.as_deref().unwrap_or_default();
        let (mut best, mut failures) = (None::<(i32, String)>, Vec::new());
        for metric in metrics {
            match pods::read_metric(metric, measured, &mine, &autoscaler.spec, (scale.replicas, now)) {
                Ok(reading) => {
                    report.metric(reading.status);
                    if best
                        .as_ref()
                        .is_none_or(|(replicas, _)| reading.replicas > *replicas)
                    {
                        best = Some((reading.replicas, reading.name));
                    }
                }
                Err(failure) => {
                    self.event(autoscaler, Type::Warning, failure.reason, failure.why.clone());
                    failures.push(failure);
                }
            }
        }
        let first = failures.first();
        match best {
            Some((replicas, name)) if first.is_none() || replicas >= scale.replicas => {
                let message =
                    format!("the HPA was able to successfully calculate a replica count from {name}");
                report.condition("ScalingActive", true, "ValidMetricFound", &message);
                let why = if replicas > scale.replicas {
                    format!("{name} above target")
                } else {
                    "All metrics below target".to_owned()
                };
                Some((replicas, why))
            }
            _ => {
                // The API gives an autoscaler without metrics one.
                let first = first?;
                let message = format!("the HPA was unable to compute the replica count: {}", first.why);
                report.condition("ScalingActive", false, first.reason, &message);
                let (failed, of, first) = (failures.len(), metrics.len(), &first.of_metric);
                let message =
                    format!("invalid metrics ({failed} invalid out of {of}), first error is: {first}");
                self.event(autoscaler, Type::Warning, "FailedComputeMetricsReplicas", message);
                None
            }
        }
    }

    /// A sentence, upstream's, if more than one autoscaler would scale these pods: then none of them does.
    fn rivals(&self, key: &Key, selector: &str, mine: &[Arc<Pod>]) -> Option<String> {
        let selectors = self.selectors.lock();
        let empty = BTreeMap::new();
        let scales = |selector: &Selector| {
            mine.iter()
                .any(|pod| selector.matches(pod.metadata.labels.as_ref().unwrap_or(&empty)))
        };
        let mut all: Vec<_> = selectors
            .iter()
            .filter(|(other, selector)| other.namespace == key.namespace && scales(selector))
            .map(|(other, _)| format!("{}/{}", other.namespace, other.name))
            .collect();
        all.sort_unstable();
        (all.len() > 1).then(|| {
            let all = all.join(" ");
            format!("pods by selector {selector} are controlled by multiple HPAs: [{all}]")
        })
    }

    async fn rescale(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        (scale, wanted): (&Scale, i32),
        (rules, why): (&Rules, &str),
        report: &mut Report,
    ) {
        if let Err(error) = scale.write(&self.context.client, wanted).await {
            let message = format!("the HPA controller was unable to update the target scale: {error}");
            report.condition("AbleToScale", false, "FailedUpdateScale", &message);
            report.status.desired_replicas = scale.replicas;
            let message = format!("New size: {wanted}; reason: {why}; error: {error}");
            return self.event(autoscaler, Type::Warning, "FailedRescale", message);
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        report.condition("AbleToScale", true, "SucceededRescale", &message);
        report.status.last_scale_time = Some(Time(report.now()));
        let mut histories = self.histories.lock();
        let history = histories.entry(key.clone()).or_default();
        history.changed(rules, scale.replicas, wanted, Timestamp::now());
        let message = format!("New size: {wanted}; reason: {why}");
        self.event(autoscaler, Type::Normal, "SuccessfulRescale", message);
    }

    fn event(&self, autoscaler: &HorizontalPodAutoscaler, type_: Type, reason: &str, message: String) {
        self.recorder
            .event(&autoscaler.object_ref(&()), type_, reason, message);
    }
}
