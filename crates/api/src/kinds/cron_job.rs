//! CronJob: Jobs at certain times.

use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};
use serde_json::Value;

use super::job::{job_spec, job_template};
use crate::defaults::text;
use crate::duration;
use crate::kind::{Subresource, Write};
use crate::schedule;
use crate::served::{Row, Served};
use crate::table::{NONE, age, boolean, column, containers, name, number, or_none, selector, wide};
use crate::validation::{Errors, Path, warnings};

/// A Job's name is the CronJob's with 11 characters more, and is a label of its pods.
const MAX_NAME: usize = 52;

impl Served for CronJob {
    const ROW: Row = Row {
        singular: "cronjob",
        short_names: &["cj"],
        categories: &["all"],
        columns: &[
            column("Name"),
            column("Schedule"),
            column("Timezone"),
            boolean("Suspend"),
            number("Active"),
            column("Last Schedule"),
            column("Age"),
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        subresources: &[Subresource::Status],
        generation: true,
        inert: true,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = &mut self.spec;
        text(&mut spec.concurrency_policy, "Allow");
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(3);
        spec.failed_jobs_history_limit.get_or_insert(1);
        spec.job_template.metadata.get_or_insert_default();
        job_template(spec.job_template.spec.get_or_insert_default());
        self.status.get_or_insert_default();
    }

    fn validate(&self, old: Option<&Self>, write: Write, errors: &mut Errors) {
        if write == Write::Status {
            return;
        }
        if old.is_none() {
            warnings::name(&self.metadata, warnings::POD_NAMES, errors);
        }
        let object_name = self.metadata.name.as_deref().unwrap_or_default();
        if old.is_none() && object_name.len() > MAX_NAME {
            let detail = format!("must be no more than {MAX_NAME} characters");
            errors.invalid(&Path::ROOT.field("metadata").field("name"), object_name, &detail);
        }
        let spec = self.spec.clone();
        let path = Path::ROOT.field("spec");
        times(&spec, &path, errors);
        for (field, limit) in [
            ("startingDeadlineSeconds", spec.starting_deadline_seconds),
            (
                "successfulJobsHistoryLimit",
                spec.successful_jobs_history_limit.map(i64::from),
            ),
            (
                "failedJobsHistoryLimit",
                spec.failed_jobs_history_limit.map(i64::from),
            ),
        ] {
            errors.non_negative(&path.field(field), limit);
        }
        let policies = ["Allow", "Forbid", "Replace"];
        let policy = spec.concurrency_policy.as_deref();
        errors.one_of(&path.field("concurrencyPolicy"), policy, &policies);
        let template = path.field("jobTemplate");
        let job = spec.job_template.spec.unwrap_or_default();
        let path = template.field("spec");
        job_spec(&completed(job.clone()), &path, errors);
        if job.manual_selector == Some(true) {
            errors.not_supported(&path.field("manualSelector"), "true", &["nil", "false"]);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let (spec, status) = (self.spec.clone(), self.status.clone().unwrap_or_default());
        let last = status
            .last_schedule_time
            .map_or_else(|| NONE.to_owned(), |time| duration::since(Some(time.0), now));
        let suspend = match spec.suspend {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        let job = spec.job_template.spec.unwrap_or_default();
        let [names, images] = containers(Some(&job.template));
        vec![
            name(&self.metadata),
            spec.schedule.into(),
            or_none(spec.time_zone.as_deref()).into(),
            suspend.into(),
            status.active.unwrap_or_default().len().into(),
            last.into(),
            age(&self.metadata, now),
            names,
            images,
            selector(&job.selector.unwrap_or_default()),
        ]
    }
}

/// A template of Jobs has no defaults of its own, but its mode is checked as if it had.
fn completed(mut job: k8s_openapi::api::batch::v1::JobSpec) -> k8s_openapi::api::batch::v1::JobSpec {
    text(&mut job.completion_mode, "NonIndexed");
    job
}

fn times(spec: &CronJobSpec, path: &Path<'_>, errors: &mut Errors) {
    let schedule = spec.schedule.as_str();
    let schedule_path = path.field("schedule");
    if schedule.is_empty() {
        errors.required(&schedule_path, "");
    } else if schedule.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.invalid(&schedule_path, schedule, detail);
    } else if let Err(error) = schedule::check(schedule) {
        errors.invalid(&schedule_path, schedule, &error.to_string());
    }
    let Some(zone) = spec.time_zone.as_deref() else {
        return;
    };
    let path = path.field("timeZone");
    if zone.is_empty() {
        errors.invalid(&path, zone, "timeZone must be nil or non-empty string");
    } else if zone.eq_ignore_ascii_case("local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(&path, zone, detail);
    } else if TimeZone::get(zone).is_err() {
        errors.invalid(&path, zone, &format!("unknown time zone {zone}"));
    }
}
