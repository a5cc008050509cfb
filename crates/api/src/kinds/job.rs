//! Job: pods that run to their end.

mod policies;
mod rules;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::defaults::{pod_spec, text};
use crate::duration;
use crate::kind::{Subresource, Write};
use crate::served::{Row, Served};
use crate::table::{age, column, containers, name, selector, wide};
use crate::validation::{Errors, Path, warnings};

pub(super) use self::rules::job_spec;

const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

impl Served for Job {
    const ROW: Row = Row {
        singular: "job",
        categories: &["all"],
        columns: &[
            column("Name"),
            column("Status"),
            column("Completions"),
            column("Duration"),
            column("Age"),
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        subresources: &[Subresource::Status],
        generation: true,
        inert: true,
        fields: &["status.successful"],
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if spec.parallelism.is_none() && spec.completions.is_none() {
            spec.completions = Some(1);
        }
        spec.parallelism.get_or_insert(1);
        let backoff = if spec.backoff_limit_per_index.is_some() {
            i32::MAX
        } else {
            6
        };
        spec.backoff_limit.get_or_insert(backoff);
        text(&mut spec.completion_mode, "NonIndexed");
        spec.suspend.get_or_insert(false);
        spec.manual_selector.get_or_insert(false);
        let replacement = if spec.pod_failure_policy.is_some() {
            "Failed"
        } else {
            "TerminatingOrFailed"
        };
        text(&mut spec.pod_replacement_policy, replacement);
        job_template(spec);
        let labels = spec
            .template
            .metadata
            .as_ref()
            .and_then(|meta| meta.labels.clone());
        if self.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) {
            self.metadata.labels = labels.filter(|labels| !labels.is_empty());
        }
        self.status.get_or_insert_default();
    }

    /// A new Job's pods are told from all others by its uid, unless the user takes care of that.
    fn prepare(object: &mut Value, old: Option<&Value>, _write: Write) {
        if old.is_some() {
            return;
        }
        let Ok(mut job) = serde_json::from_value::<Self>(object.clone()) else {
            return;
        };
        job.status = Some(JobStatus::default());
        if let Some(spec) = job
            .spec
            .as_mut()
            .filter(|spec| spec.manual_selector != Some(true))
        {
            let uid = job.metadata.uid.clone().unwrap_or_default();
            generate_selector(spec, &uid, job.metadata.name.as_deref().unwrap_or_default());
        }
        Served::default(&mut job);
        *object = json!(job);
    }

    fn validate(&self, old: Option<&Self>, write: Write, errors: &mut Errors) {
        if write == Write::Status {
            return rules::status(self, errors);
        }
        if old.is_none() {
            warnings::name(&self.metadata, warnings::POD_NAMES, errors);
        }
        let path = Path::ROOT.field("spec");
        let spec = self.spec.clone().unwrap_or_default();
        rules::selector(&spec, self.metadata.uid.as_deref().unwrap_or_default(), errors);
        job_spec(&spec, &path, errors);
        if old.is_none() {
            rules::hostnames(self, &spec, errors);
        }
        if let Some(old) = old {
            rules::update(&spec, old, &path, errors);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        let [names, images] = containers(Some(&spec.template));
        vec![
            name(&self.metadata),
            state(self).into(),
            completions(self).into(),
            run_time(self, now).into(),
            age(&self.metadata, now),
            names,
            images,
            selector(&spec.selector.unwrap_or_default()),
        ]
    }

    fn field(object: &Value, name: &str) -> Option<String> {
        let succeeded = object.pointer("/status/succeeded").and_then(Value::as_i64);
        (name == "status.successful").then(|| succeeded.unwrap_or(0).to_string())
    }
}

/// What a Job and a CronJob's template of Jobs share.
pub(super) fn job_template(spec: &mut JobSpec) {
    for rule in spec
        .pod_failure_policy
        .iter_mut()
        .flat_map(|policy| &mut policy.rules)
    {
        for pattern in rule.on_pod_conditions.iter_mut().flatten() {
            text(&mut pattern.status, "True");
        }
    }
    pod_spec::template(&mut spec.template);
}

fn generate_selector(spec: &mut JobSpec, uid: &str, name: &str) {
    let labels = spec
        .template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    for (label, value) in [
        ("job-name", name),
        (JOB_NAME, name),
        ("controller-uid", uid),
        (CONTROLLER_UID, uid),
    ] {
        labels.entry(label.to_owned()).or_insert_with(|| value.to_owned());
    }
    let selector = spec.selector.get_or_insert_default();
    let labels = selector.match_labels.get_or_insert_default();
    labels
        .entry(CONTROLLER_UID.to_owned())
        .or_insert_with(|| uid.to_owned());
}

/// When a condition became true.
fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a Option<Time>> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")?;
    Some(&found.last_transition_time)
}

fn state(job: &Job) -> &'static str {
    let conditions = [
        "Complete",
        "Failed",
        "Terminating",
        "Suspended",
        "FailureTarget",
        "SuccessCriteriaMet",
    ];
    let is = |state: &&&str| match **state {
        "Terminating" => job.metadata.deletion_timestamp.is_some(),
        kind => condition(job, kind).is_some(),
    };
    conditions.iter().find(is).copied().unwrap_or("Running")
}

fn completions(job: &Job) -> String {
    let spec = job.spec.clone().unwrap_or_default();
    let succeeded = job
        .status
        .as_ref()
        .and_then(|status| status.succeeded)
        .unwrap_or(0);
    match (spec.completions, spec.parallelism.unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism @ 2..) => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

/// From the start to the end, or to now.
fn run_time(job: &Job, now: i64) -> String {
    let status = job.status.clone().unwrap_or_default();
    let Some(start) = status.start_time else {
        return String::new();
    };
    let failed = condition(job, "Failed").cloned().flatten();
    let end = status
        .completion_time
        .or(failed)
        .map_or(now, |end| end.0.as_second());
    duration::human(end - start.0.as_second())
}
