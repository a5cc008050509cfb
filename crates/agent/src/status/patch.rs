//! The one write that carries a pod's status.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Value, json};

/// A strategic merge patch of `pods/status` that leaves conditions of others alone and takes away what is no longer so.
/// `ports` goes with it, so that nobody sees a ready pod whose ports are unknown. The uid makes it fail where the pod is
/// another by now.
pub fn patch(uid: &str, status: &PodStatus, ports: &BTreeMap<String, u16>) -> Value {
    // Plain data: it always serialises.
    let mut status = serde_json::to_value(status).unwrap_or_default();
    // Conditions are merged one by one, so a reason that is gone must be said to be.
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        nulls(condition, &["reason", "message"]);
    }
    nulls(&mut status, &["reason", "message"]);
    let mut metadata = json!({"uid": uid});
    if !ports.is_empty() {
        let text = serde_json::to_string(ports).unwrap_or_default();
        metadata["annotations"] = json!({api::names::POD_PORTS: text});
    }
    json!({"metadata": metadata, "status": status})
}

fn nulls(object: &mut Value, fields: &[&str]) {
    for field in fields {
        if object.get(field).is_none() {
            object[field] = Value::Null;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodCondition;

    #[test]
    fn what_is_gone_is_said_to_be() {
        let ready = PodCondition {
            type_: "Ready".into(),
            status: "True".into(),
            ..Default::default()
        };
        let status = PodStatus {
            phase: Some("Running".into()),
            conditions: Some(vec![ready]),
            ..Default::default()
        };
        let patch = patch("u", &status, &[("80/TCP".to_owned(), 20_001)].into());
        assert_eq!(patch["status"]["conditions"][0]["reason"], Value::Null);
        assert!(patch["status"].as_object().unwrap().contains_key("message"));
        assert_eq!(
            patch["metadata"]["annotations"]["coracle.dev/ports"],
            "{\"80/TCP\":20001}"
        );
        assert_eq!(patch["metadata"]["uid"], "u");
    }
}
