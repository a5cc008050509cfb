//! Whole bodies: what clients send, and what nobody should.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A field whose value is bytes.
fn part(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    assert!(number < 32 && length < 0x80);
    let key = match number {
        0..16 => vec![number << 3 | 2],
        _ => vec![(number & 15) << 3 | 0x82, 1],
    };
    [key, vec![length], value.to_vec()].concat()
}

fn recorded_bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

fn framed(version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let kind = [part(1, version.as_bytes()), part(2, kind.as_bytes())].concat();
    // Go writes the empty encoding and media type too.
    [
        MAGIC,
        &part(1, &kind),
        &part(2, object),
        &part(3, b""),
        &part(4, b""),
    ]
    .concat()
}

/// Newer kubectl's protobuf is the JSON that older kubectl sends for the same command.
#[test]
fn kubectl_means_the_same_in_both_formats() {
    let recorded = include_str!("kubectl.txt");
    let bodies: Vec<&str> = recorded.lines().filter(|line| !line.is_empty()).skip(1).collect();
    for body in bodies.chunks(3) {
        let [command, protobuf, json] = body else {
            panic!("{body:?}")
        };
        let json: Value = serde_json::from_str(json).unwrap();
        assert_eq!(decode(&recorded_bytes(protobuf)), Ok(json), "{command}");
    }
    assert_eq!(bodies.len(), 8 * 3);
}

/// A body cut off is refused, but for cuts between the parts of the frame, which nobody can see.
#[test]
fn bodies_cut_off() {
    let mut recorded = include_str!("kubectl.txt").lines();
    let deployment = recorded_bytes(recorded.find(|line| line.starts_with("azhz")).unwrap());
    let after_kind = MAGIC.len() + part(1, &[0; 21]).len();
    let after_object = deployment.len() - part(3, b"").len() - part(4, b"").len();
    for end in 0..after_object {
        assert_eq!(decode(&deployment[..end]).is_ok(), end == after_kind, "{end}");
    }
    assert!(decode(&deployment[..after_object]).is_ok());
}

#[test]
fn zeros_are_left_out_where_json_leaves_them_out() {
    // A Deployment with 0 replicas, an empty strategy, minReadySeconds 0, paused false.
    let spec = [&[0x08, 0][..], &part(4, b""), &[0x28, 0], &[0x38, 0]].concat();
    // A name, an empty namespace, a creation time that is not set.
    let metadata = [part(1, b"web"), part(3, b""), part(8, b"")].concat();
    let body = framed(
        "apps/v1",
        "Deployment",
        &[part(1, &metadata), part(2, &spec)].concat(),
    );
    assert_eq!(
        decode(&body),
        Ok(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "web", "creationTimestamp": null },
            "spec": { "replicas": 0, "strategy": {} },
        }))
    );
}

#[test]
fn maps_bytes_and_inline_messages() {
    let secret = [
        part(2, &[part(1, b"user"), part(2, b"me\xff")].concat()),
        part(2, &part(1, b"empty")),
    ]
    .concat();
    assert_eq!(
        decode(&framed("v1", "Secret", &secret)).unwrap()["data"],
        json!({ "user": "bWX/", "empty": "" })
    );
    // A volume of a config map, whose name is three messages deep and one object.
    let source = part(19, &part(1, &part(1, b"settings")));
    let volume = [part(1, b"v"), part(2, &source)].concat();
    assert_eq!(
        decode(&framed("v1", "Pod", &part(2, &part(1, &volume)))).unwrap()["spec"],
        json!({ "volumes": [{ "name": "v", "configMap": { "name": "settings" } }] })
    );
}

#[test]
fn a_message_in_two_parts_is_one() {
    let parts = [
        part(1, &part(1, b"a")),
        part(1, &part(11, &[part(1, b"k"), part(2, b"v")].concat())),
    ];
    assert_eq!(
        decode(&framed("v1", "ConfigMap", &parts.concat())).unwrap()["metadata"],
        json!({ "name": "a", "labels": { "k": "v" } })
    );
}

#[test]
fn what_is_no_object() {
    assert_eq!(decode(b"{}"), Err(Refused::Magic));
    assert_eq!(decode(MAGIC), Err(Refused::NoKind));
    let unknown = decode(&framed("apps/v1", "Widget", b"")).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "no kind \"Widget\" is registered for version \"apps/v1\""
    );
    let broken = decode(&framed("v1", "ConfigMap", b"\x0a\x7f")).unwrap_err();
    assert_eq!(
        broken.to_string(),
        "error parsing protobuf of a ConfigMap: unexpected end of the message"
    );
}

proptest! {
    /// Bytes of a real body changed: deep inside messages too.
    #[test]
    fn changed_bodies_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut recorded = include_str!("kubectl.txt").lines().filter(|line| line.starts_with("azhz"));
        let mut body = recorded_bytes(recorded.next().unwrap());
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        let _ = decode(&body);
    }

    #[test]
    fn random_objects_never_panic(kind in 0..api::kinds::kinds().len(), object in prop::collection::vec(any::<u8>(), 0..100)) {
        let kind = &api::kinds::kinds()[kind];
        let _ = decode(&framed(&kind.api_version(), kind.kind, &object));
        let _ = decode(&object);
    }
}
