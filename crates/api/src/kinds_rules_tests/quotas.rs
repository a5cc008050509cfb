//! How much a namespace may have, and how much one pod of it.

use serde_json::{Value, json};

use super::*;

#[test]
fn quotas_and_limits() {
    let quota = |hard: Value| created("v1", "ResourceQuota", json!({ "spec": { "hard": hard } }));
    let mut object = good(quota(json!({ "pods": "10", "limits.cpu": "2" })));
    assert_eq!(row(&object), ["a", "", ""]);
    assert_eq!(object["status"], json!({}));
    object["status"] = json!({ "hard": { "pods": "10", "limits.cpu": "2" }, "used": { "pods": "3" } });
    assert_eq!(row(&object), ["a", "pods: 3/10", "limits.cpu: 0/2"]);
    assert_eq!(
        quota(json!({ "pods": "1.5", "apples": "1" })).1,
        [
            "spec.hard[apples]: Invalid value: \"apples\": must be a standard resource type or fully qualified",
            "spec.hard[apples]: Invalid value: \"apples\": must be a standard resource for quota",
            "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
        ]
    );
    let limits = |item: Value| created("v1", "LimitRange", json!({ "spec": { "limits": [item] } }));
    let object = good(limits(
        json!({ "type": "Container", "max": { "cpu": "2" }, "min": { "memory": "1Mi" } }),
    ));
    let item = &object["spec"]["limits"][0];
    assert_eq!(item["default"], json!({ "cpu": "2" }));
    assert_eq!(item["defaultRequest"], json!({ "cpu": "2", "memory": "1Mi" }));
    assert_eq!(
        limits(json!({ "type": "Pod", "max": { "cpu": "1" }, "min": { "cpu": "2" } })).1,
        ["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"]
    );
}

#[test]
fn scopes_of_quotas() {
    let quota = |spec: Value| created("v1", "ResourceQuota", json!({ "spec": spec })).1;
    assert_eq!(
        quota(json!({ "hard": { "cpu": "1", "pods": "1" }, "scopes": ["BestEffort"] })),
        ["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"]
    );
    let list = "spec.scopeSelector.matchExpressions";
    let expressions = json!([{ "scopeName": "x", "operator": "In" },
        { "scopeName": "PriorityClass", "operator": "Exists", "values": ["a"] }, { "scopeName": "Terminating", "operator": "y" }]);
    assert_eq!(
        quota(json!({ "hard": { "pods": "1" }, "scopeSelector": { "matchExpressions": expressions } })),
        [
            format!("{list}.scopeName: Invalid value: \"x\": unsupported scope"),
            format!(
                "{list}.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            ),
            format!(
                "{list}.values: Invalid value: [\"a\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            ),
            format!(
                "{list}.operator: Invalid value: \"y\": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            ),
            format!("{list}.operator: Invalid value: \"y\": not a valid selector operator"),
        ]
    );
}

#[test]
fn limit_ranges() {
    let path = "spec.limits[0]";
    for (item, wanted) in [
        (
            json!({ "type": "x" }),
            vec!["type: Invalid value: \"x\": must be a standard limit type or fully qualified"],
        ),
        (
            json!({ "type": "PersistentVolumeClaim" }),
            vec![
                "limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ],
        ),
        (
            json!({ "type": "Container", "max": { "pods": "1" } }),
            vec![
                "max[pods]: Invalid value: \"pods\": must be a standard resource for containers",
                "default[pods]: Invalid value: \"pods\": must be a standard resource for containers",
                "defaultRequest[pods]: Invalid value: \"pods\": must be a standard resource for containers",
            ],
        ),
        (
            json!({ "type": "Container", "max": { "cpu": "1" }, "default": { "cpu": "2" }, "defaultRequest": { "cpu": "1" } }),
            vec!["default[cpu]: Invalid value: \"1\": default value 2 is greater than max value 1"],
        ),
        (
            json!({ "type": "Container", "min": { "cpu": "3" }, "default": { "cpu": "2" } }),
            vec![
                "defaultRequest[cpu]: Invalid value: \"2\": min value 3 is greater than default request value 2",
                "default[cpu]: Invalid value: \"3\": min value 3 is greater than default value 2",
            ],
        ),
        (
            json!({ "type": "Pod", "min": { "cpu": "500m" }, "max": { "cpu": "1" }, "maxLimitRequestRatio": { "cpu": "3" } }),
            vec![
                "maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ],
        ),
    ] {
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|wanted| format!("{path}.{wanted}"))
            .collect();
        let spec = json!({ "limits": [item] });
        assert_eq!(
            created("v1", "LimitRange", json!({ "spec": spec })).1,
            wanted,
            "{spec}"
        );
    }
}
