//! Event: what happened to an object. Two kinds, `v1` and `events.k8s.io/v1`, are views of the same stored objects,
//! which have the core group's form.

use k8s_openapi::api::core::v1::{Event, ObjectReference};
use k8s_openapi::api::events;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use serde_json::{Map, Value};

use crate::duration;
use crate::kind::{Column, StoredAs, Write};
use crate::served::{Row, Served};
use crate::table::{column, name, wide};
use crate::validation::{Errors, Path};

/// The wide columns SUBOBJECT and SOURCE stand before MESSAGE, as upstream has them.
const COLUMNS: &[Column] = &[
    column("Last Seen"),
    column("Type"),
    column("Reason"),
    column("Object"),
    wide("Subobject"),
    wide("Source"),
    column("Message"),
    wide("First Seen"),
    wide("Count"),
    wide("Name"),
];

/// Fields that the two forms call differently: `v1`, `events.k8s.io/v1`.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

impl Served for Event {
    const ROW: Row = Row {
        singular: "event",
        short_names: &["ev"],
        columns: COLUMNS,
        fields: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        self.source.get_or_insert_default();
    }

    fn validate(&self, _old: Option<&Self>, _write: Write, errors: &mut Errors) {
        scope(&self.metadata, &self.involved_object, "involvedObject", errors);
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let facts = Facts {
            metadata: &self.metadata,
            first: self.first_timestamp.as_ref(),
            last: self.last_timestamp.as_ref(),
            event_time: self.event_time.as_ref(),
            series: self
                .series
                .as_ref()
                .map(|s| (s.count.unwrap_or(0), s.last_observed_time.as_ref())),
            count: self.count.unwrap_or(0),
            kind: self.type_.as_deref(),
            reason: self.reason.as_deref(),
            object: &self.involved_object,
            source: source_text(
                self.source
                    .as_ref()
                    .and_then(|s| s.component.as_deref())
                    .or(self.reporting_component.as_deref()),
                self.source
                    .as_ref()
                    .and_then(|s| s.host.as_deref())
                    .or(self.reporting_instance.as_deref()),
            ),
            message: self.message.as_deref(),
        };
        facts.cells(now)
    }

    /// Who reported the event, in the old way or the new one.
    fn field(object: &Value, name: &str) -> Option<String> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let source = || {
            text("/source/component")
                .or_else(|| text("/reportingComponent"))
                .unwrap_or_default()
        };
        (name == "source").then(|| source().to_owned())
    }
}

impl Served for events::v1::Event {
    const ROW: Row = Row {
        singular: "event",
        short_names: &["ev"],
        columns: COLUMNS,
        fields: &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        stored_as: Some(StoredAs {
            group: "",
            version: "v1",
            plural: "events",
            to_stored,
            from_stored,
        }),
        ..Row::NAMESPACED
    };

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let empty = ObjectReference::default();
        scope(
            &self.metadata,
            self.regarding.as_ref().unwrap_or(&empty),
            "regarding",
            errors,
        );
        let required = [
            ("reportingController", self.reporting_controller.as_deref()),
            ("reportingInstance", self.reporting_instance.as_deref()),
            ("action", self.action.as_deref()),
            ("reason", self.reason.as_deref()),
        ];
        // Events of the old API, seen through this one, need not have what this one asks for.
        if old.is_none() {
            if self.event_time.is_none() {
                errors.required(&Path::ROOT.field("eventTime"), "");
            }
            for (field, _) in required.iter().filter(|(_, text)| text.is_none_or(str::is_empty)) {
                errors.required(&Path::ROOT.field(field), "");
            }
            errors.one_of(
                &Path::ROOT.field("type"),
                self.type_.as_deref(),
                &["Normal", "Warning"],
            );
        }
        if self.note.as_deref().is_some_and(|note| note.len() > 1024) {
            errors.too_long(&Path::ROOT.field("note"), 1024);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let empty = ObjectReference::default();
        let facts = Facts {
            metadata: &self.metadata,
            first: self.deprecated_first_timestamp.as_ref(),
            last: self.deprecated_last_timestamp.as_ref(),
            event_time: self.event_time.as_ref(),
            series: self
                .series
                .as_ref()
                .map(|s| (s.count, Some(&s.last_observed_time))),
            count: self.deprecated_count.unwrap_or(0),
            kind: self.type_.as_deref(),
            reason: self.reason.as_deref(),
            object: self.regarding.as_ref().unwrap_or(&empty),
            source: source_text(
                self.reporting_controller.as_deref(),
                self.reporting_instance.as_deref(),
            ),
            message: self.note.as_deref(),
        };
        facts.cells(now)
    }
}

/// What a row shows, whichever form the event has.
struct Facts<'a> {
    metadata: &'a ObjectMeta,
    first: Option<&'a Time>,
    last: Option<&'a Time>,
    event_time: Option<&'a MicroTime>,
    series: Option<(i32, Option<&'a MicroTime>)>,
    count: i32,
    kind: Option<&'a str>,
    reason: Option<&'a str>,
    object: &'a ObjectReference,
    source: String,
    message: Option<&'a str>,
}

impl Facts<'_> {
    fn cells(&self, now: i64) -> Vec<Value> {
        let event_time = self.event_time.map(|time| time.0);
        let ago = |time| duration::since(time, now);
        let first = self.first.map(|time| time.0).or(event_time);
        let mut last = self.last.map(|time| time.0).or(first);
        let mut count = self.count;
        if let Some((series_count, series_last)) = self.series {
            count = series_count;
            last = series_last.map(|time| time.0).or(last);
        }
        let object = format!(
            "{}/{}",
            self.object.kind.as_deref().unwrap_or_default().to_lowercase(),
            self.object.name.as_deref().unwrap_or_default()
        );
        vec![
            ago(last).into(),
            self.kind.unwrap_or_default().into(),
            self.reason.unwrap_or_default().into(),
            object.into(),
            self.object.field_path.clone().unwrap_or_default().into(),
            self.source.clone().into(),
            self.message.unwrap_or_default().trim().into(),
            ago(first).into(),
            // An event that does not count happened once.
            count.max(1).into(),
            name(self.metadata),
        ]
    }
}

fn source_text(component: Option<&str>, host: Option<&str>) -> String {
    let parts = [component, host]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}

/// An event lives in its object's namespace; those of cluster-scoped objects in `default`.
fn scope(metadata: &ObjectMeta, object: &ObjectReference, field: &str, errors: &mut Errors) {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let path = Path::ROOT.field(field);
    match object.namespace.as_deref().unwrap_or_default() {
        "" if !matches!(namespace, "default" | "kube-system") => {
            errors.invalid(&path.field("namespace"), "", "does not match event.namespace");
        }
        other if !other.is_empty() && other != namespace => {
            errors.invalid(&path.field("namespace"), other, "does not match event.namespace");
        }
        _ => {}
    }
}

fn to_stored(object: &mut Value) {
    rename(object, "v1", |(core, new)| (new, core));
}

fn from_stored(object: &mut Value) {
    rename(object, "events.k8s.io/v1", |(core, new)| (core, new));
}

fn rename(
    object: &mut Value,
    api_version: &str,
    from_to: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(fields): Option<&mut Map<String, Value>> = object.as_object_mut() else {
        return;
    };
    for (from, to) in RENAMED.map(from_to) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
    fields.insert("apiVersion".to_owned(), api_version.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_two_forms_convert_into_each_other() {
        let stored = json!({"apiVersion": "v1", "involvedObject": {"name": "p"}, "message": "m", "count": 3,
            "source": {"component": "kubelet"}, "type": "Normal"});
        let mut object = stored.clone();
        from_stored(&mut object);
        assert_eq!(object["regarding"]["name"], "p");
        assert_eq!(object["deprecatedCount"], 3);
        assert_eq!(object["note"], "m");
        to_stored(&mut object);
        assert_eq!(object, stored);
    }

    #[test]
    fn rows_prefer_the_series() {
        let event: Event = serde_json::from_value(json!({
            "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "R", "type": "Normal",
            "eventTime": "2024-01-01T00:00:00.000000Z", "reportingComponent": "sched", "message": " m\n",
            "series": {"count": 4, "lastObservedTime": "2024-01-01T00:01:00.000000Z"},
        }))
        .unwrap_or_default();
        let texts = event.cells(1_704_067_200 + 90);
        assert_eq!(
            json!(texts),
            json!(["30s", "Normal", "R", "pod/p", "", "sched", "m", "90s", 4, "e"])
        );
    }
}
