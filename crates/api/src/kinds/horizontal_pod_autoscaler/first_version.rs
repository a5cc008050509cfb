//! `autoscaling/v1`: the view of an autoscaler that knows of CPU alone, as kubectl up to 1.32 makes it.
//!
//! What this version has no field for is in annotations, so that writing the view back loses nothing.

use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler as Stored;
use serde_json::{Map, Value, json};

use super::{COLUMNS, UTILIZATION, cpu_utilization};
use crate::kind::{StoredAs, Subresource, Write};
use crate::served::{Row, Served};
use crate::validation::Errors;

/// Annotation, and the path of what it holds in the stored object.
const KEPT: [(&str, &str, &str); 4] = [
    ("autoscaling.alpha.kubernetes.io/metrics", "spec", "metrics"),
    ("autoscaling.alpha.kubernetes.io/behavior", "spec", "behavior"),
    (
        "autoscaling.alpha.kubernetes.io/current-metrics",
        "status",
        "currentMetrics",
    ),
    (
        "autoscaling.alpha.kubernetes.io/conditions",
        "status",
        "conditions",
    ),
];
/// Field of this version, path of the list that it is a metric of, path of the percentage within the metric.
const PERCENTAGES: [(&str, &str, &str, &str); 2] = [
    ("spec", "targetCPUUtilizationPercentage", "metrics", "target"),
    (
        "status",
        "currentCPUUtilizationPercentage",
        "currentMetrics",
        "current",
    ),
];

impl Served for HorizontalPodAutoscaler {
    const ROW: Row = Row {
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: &["all"],
        columns: COLUMNS,
        subresources: &[Subresource::Status],
        stored_as: Some(StoredAs {
            group: "autoscaling",
            version: "v2",
            plural: "horizontalpodautoscalers",
            to_stored,
            from_stored,
        }),
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = &mut self.spec;
        spec.min_replicas.get_or_insert(1);
        let annotations = self.metadata.annotations.as_ref();
        if !annotations.is_some_and(|all| all.contains_key(KEPT[0].0)) {
            spec.target_cpu_utilization_percentage.get_or_insert(UTILIZATION);
        }
        self.status.get_or_insert_default();
    }

    fn validate(&self, _old: Option<&Self>, write: Write, errors: &mut Errors) {
        if let Some(stored) = stored(self) {
            Served::validate(&stored, None, write, errors);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        match stored(self) {
            Some(stored) => Served::cells(&stored, now),
            None => vec![Value::Null; COLUMNS.len()],
        }
    }
}

/// The whole autoscaler.
fn stored(view: &HorizontalPodAutoscaler) -> Option<Stored> {
    let mut value = json!(view);
    to_stored(&mut value);
    value["apiVersion"] = "autoscaling/v2".into();
    serde_json::from_value(value).ok()
}

fn to_stored(object: &mut Value) {
    for (annotation, part, field) in KEPT {
        let annotations = object.pointer_mut("/metadata/annotations");
        let Some(annotations) = annotations.and_then(Value::as_object_mut) else {
            break;
        };
        let Some(kept) = annotations.remove(annotation) else {
            continue;
        };
        if annotations.is_empty() {
            remove(object, "metadata", "annotations");
        }
        if let Some(kept) = kept.as_str().and_then(|text| serde_json::from_str(text).ok()) {
            crate::prepare::set(object, part, field, kept);
        }
    }
    for (part, field, list, place) in PERCENTAGES {
        let Some(percent) = remove(object, part, field) else {
            continue;
        };
        let metric = match part {
            "spec" => cpu_metric(percent),
            _ => {
                json!({ "type": "Resource", "resource": { "name": "cpu", place: { "averageUtilization": percent } } })
            }
        };
        if let Some(part) = object[part].as_object_mut() {
            let metrics = part.entry(list).or_insert_with(|| json!([]));
            if let Some(metrics) = metrics.as_array_mut() {
                metrics.insert(0, metric);
            }
        }
    }
}

fn cpu_metric(percent: Value) -> Value {
    let mut metric = json!(cpu_utilization(0));
    metric["resource"]["target"]["averageUtilization"] = percent;
    metric
}

fn from_stored(object: &mut Value) {
    for (part, field, list, place) in PERCENTAGES {
        let pointer = format!("/{part}/{list}");
        let Some(metrics) = object.pointer_mut(&pointer).and_then(Value::as_array_mut) else {
            continue;
        };
        let path = format!("/resource/{place}/averageUtilization");
        let percent = |metric: &Value| match metric.pointer("/resource/name") {
            Some(name) if name == "cpu" => metric.pointer(&path).cloned(),
            _ => None,
        };
        let found = metrics.iter().position(|metric| percent(metric).is_some());
        let Some(found) = found.map(|at| metrics.remove(at)) else {
            continue;
        };
        if metrics.is_empty() {
            remove(object, part, list);
        }
        if let Some(percent) = percent(&found) {
            crate::prepare::set(object, part, field, percent);
        }
    }
    for (annotation, part, field) in KEPT {
        if let Some(kept) = remove(object, part, field) {
            let metadata = &mut object["metadata"];
            if !metadata["annotations"].is_object() {
                metadata["annotations"] = Value::Object(Map::new());
            }
            metadata["annotations"][annotation] = kept.to_string().into();
        }
    }
}

fn remove(object: &mut Value, part: &str, field: &str) -> Option<Value> {
    object.get_mut(part)?.as_object_mut()?.remove(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_back() {
        let memory = json!({ "type": "Resource", "resource": { "name": "memory", "target": { "type": "AverageValue", "averageValue": "1Gi" } } });
        let whole = json!({
            "metadata": { "name": "web" },
            "spec": { "maxReplicas": 3, "metrics": [cpu_metric(50.into()), memory], "behavior": { "scaleUp": {} } },
            "status": { "conditions": [{ "type": "ScalingActive" }] },
        });
        let mut object = whole.clone();
        from_stored(&mut object);
        assert_eq!(
            object["spec"],
            json!({ "maxReplicas": 3, "targetCPUUtilizationPercentage": 50 })
        );
        to_stored(&mut object);
        assert_eq!(object, whole);
    }
}
