//! Which policies a Job may have: when the failure of a pod fails or spares the Job, and when it has succeeded early.

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule, SuccessPolicyRule,
};

use crate::validation::{Errors, Path, names};

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
const MAX_RULES: usize = 20;
const MAX_CONDITIONS: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_INDEXES: usize = 64 * 1024;

/// Checks both policies.
pub(super) fn validate(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(policy) = &spec.pod_failure_policy {
        let path = path.field("podFailurePolicy");
        let path = path.field("rules");
        at_most(policy.rules.len(), MAX_RULES, &path, errors);
        for (index, rule) in policy.rules.iter().enumerate() {
            failure_rule(spec, rule, &path.index(index), errors);
        }
    }
    let Some(policy) = &spec.success_policy else {
        return;
    };
    let path = path.field("successPolicy");
    if spec.completion_mode.as_deref() != Some("Indexed") {
        return errors.invalid(&path, policy, "requires indexed completion mode");
    }
    let path = path.field("rules");
    if policy.rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.required(&path, detail);
    }
    at_most(policy.rules.len(), MAX_RULES, &path, errors);
    for (index, rule) in policy.rules.iter().enumerate() {
        success_rule(spec.completions.unwrap_or(0), rule, &path.index(index), errors);
    }
}

fn at_most(count: usize, max: usize, path: &Path<'_>, errors: &mut Errors) {
    if count > max {
        errors.too_many(path, count, max);
    }
}

/// Upstream lists what is valid in its own way when nothing is given.
fn one_of(path: &Path<'_>, value: &str, supported: &[&str], errors: &mut Errors) {
    let quoted: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
    match value {
        "" => errors.required(path, &format!("valid values: [{}]", quoted.join(" "))),
        value if supported.contains(&value) => {}
        value => errors.not_supported(path, value, supported),
    }
}

fn failure_rule(spec: &JobSpec, rule: &PodFailurePolicyRule, path: &Path<'_>, errors: &mut Errors) {
    let action = path.field("action");
    one_of(&action, &rule.action, &ACTIONS, errors);
    if rule.action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
        errors.invalid(
            &action,
            &rule.action,
            "requires the backoffLimitPerIndex to be set",
        );
    }
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(spec, codes, &path.field("onExitCodes"), errors);
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    conditions(patterns, &path.field("onPodConditions"), errors);
    match (rule.on_exit_codes.is_some(), patterns.is_empty()) {
        (true, false) => {
            errors.invalid_whole(
                path,
                "specifying both OnExitCodes and OnPodConditions is not supported",
            );
        }
        (false, true) => {
            errors.invalid_whole(
                path,
                "specifying one of OnExitCodes and OnPodConditions is required",
            );
        }
        _ => {}
    }
}

fn exit_codes(
    spec: &JobSpec,
    codes: &PodFailurePolicyOnExitCodesRequirement,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    one_of(&path.field("operator"), &codes.operator, &OPERATORS, errors);
    let pod = spec.template.spec.as_ref();
    let mut containers = pod.into_iter().flat_map(|pod| {
        let init = pod.init_containers.iter().flatten();
        pod.containers.iter().chain(init)
    });
    if let Some(name) = &codes.container_name
        && !containers.any(|container| container.name == *name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&path.field("containerName"), name, detail);
    }
    let path = path.field("values");
    let values = codes.values.as_slice();
    if values.is_empty() {
        errors.invalid(&path, values, "at least one value is required");
    }
    at_most(values.len(), MAX_EXIT_CODES, &path, errors);
    for (index, value) in values.iter().enumerate() {
        let path = path.index(index);
        if codes.operator == "In" && *value == 0 {
            errors.invalid(&path, value, "must not be 0 for the In operator");
        }
        if values[..index].contains(value) {
            errors.duplicate(&path, value);
        }
    }
    if !values.is_sorted() {
        errors.invalid(&path, values, "must be ordered");
    }
}

fn conditions(patterns: &[PodFailurePolicyOnPodConditionsPattern], path: &Path<'_>, errors: &mut Errors) {
    at_most(patterns.len(), MAX_CONDITIONS, path, errors);
    for (index, pattern) in patterns.iter().enumerate() {
        let path = path.index(index);
        let problems = names::qualified_name(&pattern.type_);
        errors.problems(&path.field("type"), &pattern.type_, &problems);
        let status = pattern.status.as_deref().unwrap_or_default();
        one_of(&path.field("status"), status, &STATUSES, errors);
    }
}

fn success_rule(completions: i32, rule: &SuccessPolicyRule, path: &Path<'_>, errors: &mut Errors) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.required(path, detail);
    }
    let mut listed = 0;
    if let Some(indexes) = &rule.succeeded_indexes {
        let path = path.field("succeededIndexes");
        if indexes.len() > MAX_INDEXES {
            errors.too_long(&path, MAX_INDEXES);
        }
        match count_indexes(indexes, completions) {
            Ok(count) => listed = count,
            Err(why) => errors.invalid(&path, indexes, &format!("error parsing succeededIndexes: {why}")),
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    let path = path.field("succeededCount");
    errors.non_negative(&path, Some(count.into()));
    if count > completions {
        let detail =
            format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&path, &count, &detail);
    }
    if rule.succeeded_indexes.is_some() && count > listed {
        let detail = format!(
            "must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(&path, &count, &detail);
    }
}

/// How many indexes a list like `1,3-5` has, or why it is none.
fn count_indexes(text: &str, completions: i32) -> Result<i32, String> {
    let (mut count, mut previous) = (0, None);
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = interval_of(interval, completions)?;
        if let Some(previous) = previous.filter(|previous| *previous >= first) {
            return Err(format!(
                "non-increasing order, previous: {previous}, current: {first}"
            ));
        }
        count += last - first + 1;
        previous = Some(last);
    }
    Ok(count)
}

fn interval_of(text: &str, completions: i32) -> Result<(i32, i32), String> {
    let index = |text: &str| match text.parse::<i32>() {
        Err(_) => Err(format!("cannot convert string to integer for index: {text:?}")),
        Ok(index) if index >= completions => Err(format!("too large index: {text:?}")),
        Ok(index) => Ok(index),
    };
    let parts: Vec<_> = text.split('-').collect();
    match parts[..] {
        [one] => index(one).map(|one| (one, one)),
        [first, last] => match (index(first)?, index(last)?) {
            (first, last) if first >= last => Err(format!(
                "non-increasing order, previous: {first}, current: {last}"
            )),
            interval => Ok(interval),
        },
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(fields: Value) -> Vec<String> {
        let mut spec = json!({ "template": { "spec": { "containers": [{ "name": "c" }] } } });
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let spec = serde_json::from_value(spec).unwrap();
        let mut errors = Errors::default();
        validate(&spec, &Path::ROOT, &mut errors);
        let causes = errors.into_verdict().causes;
        let said = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message));
        said.collect()
    }

    #[test]
    fn failures() {
        let rules = json!([
            { "action": "" },
            { "action": "FailIndex", "onPodConditions": [{ "type": "a b", "status": "x" }] },
            { "action": "Ignore", "onExitCodes": { "operator": "In", "containerName": "d", "values": [2, 0, 2] },
                "onPodConditions": [{ "type": "Ready", "status": "True" }] },
        ]);
        let path = "podFailurePolicy.rules";
        assert_eq!(
            refused(json!({ "podFailurePolicy": { "rules": rules } }))
                .into_iter()
                .filter(|cause| !cause.contains("[1].onPodConditions[0].type"))
                .collect::<Vec<_>>(),
            [
                format!(
                    "{path}[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"
                ),
                format!(
                    "{path}[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"
                ),
                format!(
                    "{path}[1].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"
                ),
                format!(
                    "{path}[1].onPodConditions[0].status: Unsupported value: \"x\": supported values: \"False\", \"True\", \"Unknown\""
                ),
                format!(
                    "{path}[2].onExitCodes.containerName: Invalid value: \"d\": must be one of the container or initContainer names in the pod template"
                ),
                format!(
                    "{path}[2].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator"
                ),
                format!("{path}[2].onExitCodes.values[2]: Duplicate value: 2"),
                format!("{path}[2].onExitCodes.values: Invalid value: [2,0,2]: must be ordered"),
                format!(
                    "{path}[2]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"
                ),
            ]
        );
    }

    #[test]
    fn successes() {
        let policy = |rules: Value| {
            refused(
                json!({ "completionMode": "Indexed", "completions": 5, "successPolicy": { "rules": rules } }),
            )
        };
        assert_eq!(policy(json!([{ "succeededIndexes": "0,2-4" }])), [""; 0]);
        let path = "successPolicy.rules[0]";
        for (rule, wanted) in [
            (
                json!({}),
                ": Required value: at least one of succeededCount or succeededIndexes must be specified",
            ),
            (
                json!({ "succeededIndexes": "3,1" }),
                ".succeededIndexes: Invalid value: \"3,1\": error parsing succeededIndexes: non-increasing order, previous: 3, current: 1",
            ),
            (
                json!({ "succeededIndexes": "1-9" }),
                ".succeededIndexes: Invalid value: \"1-9\": error parsing succeededIndexes: too large index: \"9\"",
            ),
            (
                json!({ "succeededIndexes": "1-2", "succeededCount": 3 }),
                ".succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
            ),
        ] {
            assert_eq!(policy(json!([rule])), [format!("{path}{wanted}")]);
        }
        let plain = refused(json!({ "successPolicy": { "rules": [{ "succeededCount": 1 }] } }));
        assert!(
            plain[0].ends_with(": requires indexed completion mode"),
            "{plain:?}"
        );
    }
}
