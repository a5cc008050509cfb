//! Requests that are too large, too deep, too slow: refused in time, with the right code.

use std::io::Read;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_apiserver::{Body, full};
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};

use crate::door::{CONFIG_MAPS, Door, PODS};

/// The most that refusing may take, in a debug build on a busy machine.
const IN_TIME: Duration = Duration::from_secs(10);

async fn post(door: &Door, path: &str, media: &str, body: Body) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", media);
    let response = door.send(request.body(body).unwrap()).await;
    let code = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_body_of_four_mebibytes_is_too_large() {
    let door = Door::open().await;
    let begin = Instant::now();
    let large = json!({"metadata": {"name": "a"}, "data": {"x": "y".repeat(4 << 20)}}).to_string();
    let (code, refused) = post(&door, CONFIG_MAPS, "application/json", full(large)).await;
    assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(refused["reason"], "RequestEntityTooLarge");
    // One that does not say how long it is, and does not end.
    let chunk = || Some((Ok(Frame::data(Bytes::from(vec![b'y'; 64 << 10]))), ()));
    let endless = StreamBody::new(futures::stream::unfold((), move |()| async move { chunk() }));
    let (code, _) = post(&door, CONFIG_MAPS, "application/json", endless.boxed_unsync()).await;
    assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(begin.elapsed() < IN_TIME);
}

#[tokio::test]
async fn deep_objects_are_refused() {
    let door = Door::open().await;
    let begin = Instant::now();
    for depth in [100, 200, 1_000_000] {
        let json = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let strict = format!("{PODS}?fieldValidation=Strict");
        let (code, _) = post(&door, &strict, "application/json", full(json)).await;
        let expected = if depth > 600_000 {
            StatusCode::PAYLOAD_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        };
        assert_eq!(code, expected, "{depth} levels of JSON");
    }
    let yaml = "[".repeat(100_000);
    let (code, _) = post(&door, PODS, "application/yaml", full(yaml)).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    // Each line is ten times the line before.
    let mut bomb = "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for line in 1..9 {
        let before = format!("*a{},", line - 1).repeat(10);
        bomb.push_str(&format!("a{line}: &a{line} [{before}]\n"));
    }
    let (code, _) = post(&door, PODS, "application/yaml", full(bomb)).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(begin.elapsed() < IN_TIME);
}

#[tokio::test]
async fn long_lists_are_answered_in_time() {
    let door = Door::open().await;
    let begin = Instant::now();
    let labels: Vec<String> = (0..200_000).map(|at| format!("\"l{at}\":\"\"")).collect();
    let body = format!(
        "{{\"metadata\":{{\"name\":\"a\",\"labels\":{{{}}}}}}}",
        labels.join(",")
    );
    let (code, _) = post(&door, CONFIG_MAPS, "application/json", full(body)).await;
    assert!(
        code == StatusCode::CREATED || code == StatusCode::UNPROCESSABLE_ENTITY,
        "{code}"
    );
    let bad: Vec<String> = (0..20_000).map(|at| format!("\"-{at}\":\"-\"")).collect();
    let body = format!(
        "{{\"metadata\":{{\"name\":\"b\",\"labels\":{{{}}}}}}}",
        bad.join(",")
    );
    let (code, _) = post(&door, CONFIG_MAPS, "application/json", full(body)).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let selector = "a%2C".repeat(1000);
    let (code, _) = door.get(&format!("{PODS}?labelSelector={selector}a")).await;
    assert_eq!(code, StatusCode::OK);
    let operations = format!("[{}]", vec![r#"{"op":"remove","path":"/a"}"#; 100_000].join(","));
    let (code, _) = door
        .ask_as(
            Method::PATCH,
            &format!("{CONFIG_MAPS}/b"),
            "application/json-patch+json",
            &operations,
        )
        .await;
    assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let door = Door::open().await;
    let silent = StreamBody::new(futures::stream::pending::<
        Result<Frame<Bytes>, coracle_apiserver::BoxError>,
    >());
    let begin = tokio::time::Instant::now();
    let (code, refused) = post(&door, CONFIG_MAPS, "application/json", silent.boxed_unsync()).await;
    assert_eq!(code, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(refused["reason"], "Timeout");
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_that() {
    let door = Door::open().await;
    for name in ["a", "b"] {
        let large = json!({"metadata": {"name": name}, "data": {"x": "y".repeat(100 << 10)}});
        door.make(CONFIG_MAPS, &large).await;
    }
    let ask = |path: &str, encoding: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(encoding) = encoding {
            request = request.header("accept-encoding", encoding);
        }
        door.send(request.body(full("")).unwrap())
    };
    let plain = ask(CONFIG_MAPS, None).await;
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.into_body().collect().await.unwrap().to_bytes();
    let packed = ask(CONFIG_MAPS, Some("gzip")).await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.into_body().collect().await.unwrap().to_bytes();
    assert!(packed.len() < plain.len() / 20);
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_end(&mut text)
        .unwrap();
    assert!(text == plain, "the same list");
    let small = ask(&format!("{CONFIG_MAPS}/a"), Some("gzip")).await;
    assert!(
        !small.headers().contains_key("content-encoding"),
        "100 KiB are not large"
    );
}
