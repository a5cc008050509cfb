//! `/scale`: the number of replicas as an object of its own, the same for every kind that has replicas.
//!
//! Flows in: an `autoscaling/v1` Scale or a patch of one. Flows out: the Scale as it is now. Never touches anything but
//! `spec.replicas`.

use std::collections::BTreeMap;

use api::kind::{Cause, Column, DecodeError, Decoded, Write};
use api::labels::Selector;
use api::table::{column, number};
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::apply::{self, Configuration};
use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::decode;
use crate::negotiate::{self, Form};
use crate::object::{Object, meta_str, push_json};
use crate::patch::{self, Patch};
use crate::query::{FieldValidation, WriteOptions};
use crate::status::{Failure, Subject};
use crate::table::{self, Include};
use crate::tracking::{self, Tracking};
use crate::typed::{self, Typed};
use crate::update;
use crate::write::{Change, Live};

/// What the type is called among types.
const TYPE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// And in what clients are told of it: its version and its name.
const NAME: (&str, &str) = ("v1", "Scale");

/// Serves a GET of `/scale`.
pub(crate) async fn get(call: &Call) -> Result<Response, Failure> {
    let entry = call.core.read(&call.resource, &call.key()?, call.name()?).await?;
    respond(call, &scale_of(&Object::from(&*entry).to_value(&call.resource)))
}

/// Serves a PUT of `/scale`.
pub(crate) async fn update(call: &Call, body: Body) -> Result<Response, Failure> {
    let bytes = body::collect(body).await?;
    let sent = decode::body(&call.headers, &bytes, "Scale")?;
    let sent = typed::body(as_scale, NAME, sent, WriteOptions::of(call)?.fields)?;
    write(call, |_| Ok(sent.clone())).await
}

/// Serves a PATCH of `/scale`.
pub(crate) async fn patch(call: &Call, body: Body) -> Result<Response, Failure> {
    let bytes = body::collect(body).await?;
    if decode::media_type(&call.headers) == apply::MEDIA_TYPE {
        let sent = apply::read(&bytes)?;
        let scale = typed::body(as_scale, NAME, sent, FieldValidation::Ignore)?;
        return apply_scale(call, &scale.object).await;
    }
    patch::check_options(call)?;
    let validation = WriteOptions::of(call)?.fields;
    let patch = Patch::parse(&call.headers, &bytes, validation)?;
    write(call, |scale| {
        let live = Live {
            object: scale,
            managers: None,
        };
        let patched = patch.apply(TYPE, scale)?;
        patch.fit((TYPE, as_scale), patched, validation, live)
    })
    .await
}

fn as_scale(value: Value) -> Result<Decoded, DecodeError> {
    api::decode::decode(TYPE, value)
}

/// Applies a Scale: what it says of the object is its number of replicas.
async fn apply_scale(call: &Call, scale: &Value) -> Result<Response, Failure> {
    let resource = &call.resource;
    let mut sent = json!({
        "kind": resource.kind.kind,
        "apiVersion": resource.api_version,
        "metadata": scale["metadata"],
    });
    if !scale["spec"]["replicas"].is_null() {
        sent["spec"]["replicas"] = replicas(call.name()?, scale)?.into();
    }
    let part = tracking::part(resource, Write::Main);
    let configuration = Configuration::new(call, sent.into(), "scale", part)?;
    let change = Change {
        tracking: Tracking::Applied,
        ..update::change(call, Write::Main)?
    };
    let merge = |live: Live<'_>| change.decode(configuration.merge_into(live)?);
    let written = change.apply(merge).await?;
    respond(call, &scale_of(&written.object.to_value(resource)))
}

async fn write(
    call: &Call,
    mut change: impl FnMut(&Value) -> Result<Typed, Failure> + Send,
) -> Result<Response, Failure> {
    let writing = update::change_of(call, Write::Main, "scale")?;
    let written = writing
        .apply(|live| {
            let object = live.object;
            let Typed {
                object: scale,
                warnings,
            } = change(&scale_of(object))?;
            let replicas = replicas(meta_str(object, "name"), &scale)?;
            let mut object = object.clone();
            object["spec"]["replicas"] = replicas.into();
            for field in ["resourceVersion", "uid", "name", "namespace"] {
                object["metadata"][field] = scale["metadata"][field].clone();
            }
            let typed = writing.decode(object)?;
            Ok(Typed { warnings, ..typed })
        })
        .await?;
    let mut response = respond(call, &scale_of(&written.object.to_value(&call.resource)))?;
    for warning in &written.warnings {
        body::warn(&mut response, warning);
    }
    Ok(response)
}

fn replicas(name: &str, scale: &Value) -> Result<i64, Failure> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas >= 0 {
        return Ok(replicas);
    }
    let cause = Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {replicas}: must be greater than or equal to 0"),
        field: "spec.replicas".to_owned(),
    };
    let subject = Subject {
        group: "autoscaling".to_owned(),
        kind: "Scale".to_owned(),
        name: name.to_owned(),
    };
    Err(Failure::Invalid {
        subject,
        causes: vec![cause],
    })
}

fn scale_of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let selector = selector_of(&object["spec"]["selector"])
        .map(|selector| selector.to_string())
        .unwrap_or_default();
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": { "replicas": object["spec"]["replicas"].as_i64().unwrap_or(0) },
        "status": { "replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector },
    })
}

/// A selector in either form: a ReplicationController's is a map of labels.
fn selector_of(selector: &Value) -> Option<Selector> {
    if let Ok(labels) = BTreeMap::deserialize(selector) {
        return Some(Selector::from_labels(&labels));
    }
    Selector::from_spec(&LabelSelector::deserialize(selector).ok()?).ok()
}

const COLUMNS: [Column; 4] = [
    column("Name"),
    number("Desired"),
    number("Available"),
    column("Age"),
];

fn respond(call: &Call, scale: &Value) -> Result<Response, Failure> {
    let mut out = Vec::new();
    if negotiate::form(&call.headers)? == Form::Table {
        let metadata = ObjectMeta::deserialize(&scale["metadata"]).unwrap_or_default();
        let cells = vec![
            api::table::name(&metadata),
            scale["spec"]["replicas"].clone(),
            scale["status"]["replicas"].clone(),
            api::table::age(&metadata, jiff::Timestamp::now().as_second()),
        ];
        table::write_answer(
            &COLUMNS,
            &[(cells, scale)],
            Include::parse(&call.query)?,
            &mut out,
        );
    } else {
        push_json(&mut out, scale);
    }
    Ok(body::json(StatusCode::OK, out))
}
