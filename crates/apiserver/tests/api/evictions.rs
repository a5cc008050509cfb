//! Eviction: as far as a pod's budget has room.

use http::StatusCode;
use serde_json::{Value, json};

use crate::door::{Door, PODS, bind, pod};

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A pod that is on a node and runs.
async fn running(door: &Door, name: &str, ready: bool) {
    door.make(PODS, &pod(name)).await;
    bind(door, name).await;
    let ready = if ready { "True" } else { "False" };
    let status =
        json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] } });
    let (code, _) = door
        .patch(&format!("{PODS}/{name}/status"), "merge", &status)
        .await;
    assert_eq!(code, StatusCode::OK);
}

/// A budget over all pods, as the controller would have counted it.
async fn budget(door: &Door, name: &str, spec: Value, status: Value) {
    let mut spec = spec;
    spec["selector"] = json!({});
    let object = json!({ "metadata": { "name": name }, "spec": spec });
    door.make(BUDGETS, &object).await;
    let (code, _) = door
        .patch(
            &format!("{BUDGETS}/{name}/status"),
            "merge",
            &json!({ "status": status }),
        )
        .await;
    assert_eq!(code, StatusCode::OK);
}

async fn evict(door: &Door, name: &str, options: Value) -> (StatusCode, Value) {
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name }, "deleteOptions": options });
    door.post(&format!("{PODS}/{name}/eviction"), &eviction).await
}

#[tokio::test]
async fn a_pod_without_a_budget_goes() {
    let door = Door::open().await;
    running(&door, "a", true).await;
    let (code, answer) = evict(&door, "a", json!({ "gracePeriodSeconds": 7 })).await;
    assert_eq!(
        (code, &answer["status"]),
        (StatusCode::CREATED, &json!("Success"))
    );
    let (_, pod) = door.get(&format!("{PODS}/a")).await;
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 7);
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let target = conditions
        .iter()
        .find(|condition| condition["type"] == "DisruptionTarget");
    assert_eq!(target.unwrap()["reason"], "EvictionByEvictionAPI");
    assert_eq!(evict(&door, "b", json!(null)).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_budget_is_spent_once() {
    let door = Door::open().await;
    let status =
        json!({ "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1 });
    budget(&door, "b", json!({ "minAvailable": 1 }), status).await;
    running(&door, "one", true).await;
    running(&door, "two", true).await;
    let (code, _) = door
        .post(
            &format!("{PODS}/one/eviction?dryRun=All"),
            &json!({ "metadata": { "name": "one" } }),
        )
        .await;
    assert_eq!(code, StatusCode::CREATED);
    let (_, pod) = door.get(&format!("{PODS}/one")).await;
    assert!(pod["metadata"]["deletionTimestamp"].is_null());

    assert_eq!(evict(&door, "one", json!(null)).await.0, StatusCode::CREATED);
    let (_, spent) = door.get(&format!("{BUDGETS}/b")).await;
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    assert!(spent["status"]["disruptedPods"]["one"].is_string());
    let (code, refused) = evict(&door, "two", json!(null)).await;
    assert_eq!(code, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused["reason"], "TooManyRequests");
    assert_eq!(
        refused["message"],
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(
        refused["details"],
        json!({ "causes": [{ "reason": "DisruptionBudget",
            "message": "The disruption budget b needs 1 healthy pods and has 2 currently" }] })
    );
    // It is on its way out already: no loss.
    assert_eq!(evict(&door, "one", json!(null)).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn a_budget_that_is_not_counted_yet_is_asked_again() {
    let door = Door::open().await;
    budget(
        &door,
        "b",
        json!({ "minAvailable": 1 }),
        json!({ "observedGeneration": 0, "disruptionsAllowed": 1 }),
    )
    .await;
    running(&door, "a", true).await;
    let (code, refused) = evict(&door, "a", json!(null)).await;
    assert_eq!(code, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        refused["details"]["causes"][0]["message"],
        "The disruption budget b is still being processed by the server."
    );
    assert_eq!(refused["details"]["retryAfterSeconds"], 1);
}

#[tokio::test]
async fn unready_pods_follow_the_policy() {
    let door = Door::open().await;
    let status =
        json!({ "observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 1 });
    budget(&door, "b", json!({ "minAvailable": 1 }), status).await;
    running(&door, "a", false).await;
    assert_eq!(
        evict(&door, "a", json!(null)).await.0,
        StatusCode::TOO_MANY_REQUESTS
    );
    let always = json!({ "spec": { "unhealthyPodEvictionPolicy": "AlwaysAllow" } });
    door.patch(&format!("{BUDGETS}/b"), "merge", &always).await;
    assert_eq!(evict(&door, "a", json!(null)).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn what_is_refused_at_once() {
    let door = Door::open().await;
    running(&door, "a", true).await;
    let wrong = json!({ "preconditions": { "uid": "other" } });
    assert_eq!(evict(&door, "a", wrong).await.0, StatusCode::CONFLICT);
    let other = json!({ "metadata": { "name": "b" } });
    let (code, _) = door.post(&format!("{PODS}/a/eviction"), &other).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    for name in ["b", "c"] {
        budget(
            &door,
            name,
            json!({ "minAvailable": 0 }),
            json!({ "observedGeneration": 1 }),
        )
        .await;
    }
    let (code, refused) = evict(&door, "a", json!(null)).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        refused["message"],
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
}
