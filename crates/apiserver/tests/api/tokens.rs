//! Tokens of service accounts: made at one door, shown at every other.

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Service, ServiceExt};

use coracle_apiserver::{Identity, full};

use crate::door::{CONFIG_MAPS, Door, PODS, pod};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const WHO_AM_I: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

async fn issue(door: &Door, spec: Value) -> Value {
    let path = format!("{ACCOUNTS}/default/token");
    door.make(&path, &json!({ "spec": spec })).await
}

fn token(request: &Value) -> &str {
    request["status"]["token"].as_str().unwrap()
}

/// Asks with a token, through a door that knows nobody.
async fn ask(
    door: &Door,
    method: Method,
    path: &str,
    authorization: &str,
    body: &str,
) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", authorization)
        .body(full(body.to_owned()))
        .unwrap();
    let mut service = door.api.service(Identity::new("somebody", &[]));
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn status_with(door: &Door, token: &str) -> StatusCode {
    ask(door, Method::GET, CONFIG_MAPS, &format!("Bearer {token}"), "")
        .await
        .0
}

#[tokio::test]
async fn the_bearer_is_the_account() {
    let door = Door::open().await;
    let made = issue(&door, json!({})).await;
    assert_eq!(made["kind"], "TokenRequest");
    assert_eq!(made["metadata"]["name"], "default");
    assert_eq!(made["spec"]["expirationSeconds"], 3600);
    let bearer = format!("bearer {}", token(&made));
    let (status, review) = ask(&door, Method::POST, WHO_AM_I, &bearer, "{}").await;
    assert_eq!(status, StatusCode::CREATED);
    let user = &review["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:default");
    assert_eq!(
        user["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
    let (_, account) = door.get(&format!("{ACCOUNTS}/default")).await;
    assert_eq!(user["uid"], account["metadata"]["uid"]);
    let id = &user["extra"]["authentication.kubernetes.io/credential-id"][0];
    assert!(id.as_str().unwrap().starts_with("JTI="), "{user}");
}

#[tokio::test]
async fn a_bad_token_is_refused_whatever_the_door_knows() {
    let door = Door::open().await;
    let good = issue(&door, json!({})).await;
    let forged = Door::open().await;
    let forged = issue(&forged, json!({})).await;
    let elsewhere = issue(&door, json!({ "audiences": ["vault"] })).await;
    assert_eq!(status_with(&door, token(&good)).await, StatusCode::OK);
    for bad in ["", "x", "a.b.c", token(&forged), token(&elsewhere)] {
        let (status, body) = ask(&door, Method::GET, CONFIG_MAPS, &format!("Bearer {bad}"), "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{bad}");
        assert_eq!(
            (&body["kind"], &body["reason"]),
            (&json!("Status"), &json!("Unauthorized"))
        );
    }
    let (status, _) = ask(&door, Method::GET, CONFIG_MAPS, "Basic YTpi", "").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let door = Door::open().await;
    let made = door.make(PODS, &pod("p")).await;
    let uid = &made["metadata"]["uid"];
    let reference = |uid: &Value| json!({ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid });
    let path = format!("{ACCOUNTS}/default/token");
    let wrong = json!({ "spec": { "boundObjectRef": reference(&json!("another")) } });
    assert_eq!(door.post(&path, &wrong).await.0, StatusCode::CONFLICT);
    let bound = issue(&door, json!({ "boundObjectRef": reference(uid) })).await;
    let free = issue(&door, json!({})).await;
    assert_eq!(status_with(&door, token(&bound)).await, StatusCode::OK);
    let now = json!({ "gracePeriodSeconds": 0 });
    door.delete(&format!("{PODS}/p"), &now).await;
    assert_eq!(status_with(&door, token(&bound)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status_with(&door, token(&free)).await, StatusCode::OK);
    // The account's name alone does not bring its tokens back.
    door.delete(&format!("{ACCOUNTS}/default"), &now).await;
    assert_eq!(status_with(&door, token(&free)).await, StatusCode::UNAUTHORIZED);
    door.make(ACCOUNTS, &json!({ "metadata": { "name": "default" } }))
        .await;
    assert_eq!(status_with(&door, token(&free)).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn lifetimes_have_bounds() {
    let door = Door::open().await;
    let path = format!("{ACCOUNTS}/default/token");
    let (status, body) = door
        .post(&path, &json!({ "spec": { "expirationSeconds": 599 } }))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        body["message"],
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"
    );
    let missing = format!("{ACCOUNTS}/nobody/token");
    assert_eq!(door.post(&missing, &json!({})).await.0, StatusCode::NOT_FOUND);
    let made = issue(&door, json!({ "expirationSeconds": 600 })).await;
    assert_eq!(made["spec"]["expirationSeconds"], 600);
}

#[tokio::test]
async fn reviews_tell_whose_a_token_is() {
    let door = Door::open().await;
    let made = issue(&door, json!({ "audiences": ["vault", "other"] })).await;
    let review = |spec: Value| json!({ "spec": spec });
    let asked = json!({ "token": token(&made), "audiences": ["vault"] });
    let answer = door.make(REVIEWS, &review(asked)).await;
    assert_eq!(answer["status"]["authenticated"], true);
    assert_eq!(answer["status"]["audiences"], json!(["vault"]));
    let user = &answer["status"]["user"]["username"];
    assert_eq!(user, "system:serviceaccount:default:default");
    let answer = door
        .make(REVIEWS, &review(json!({ "token": token(&made) })))
        .await;
    assert_ne!(answer["status"]["authenticated"], true);
    let (status, _) = door.post(REVIEWS, &review(json!({}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
