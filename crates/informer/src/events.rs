//! Events: what components tell the user about an object, as `kubectl describe` prints it.
//!
//! Flows in: notes from control loops, which never wait and never fail because of them. Flows out: Event objects, written by
//! one background task in the order of the notes. Alike notes become one Event with a count, and many similar ones
//! become one "combined" Event, by the rules of client-go's `tools/record/events_cache.go`. Notes are dropped rather than
//! hold anyone up: when the API is slower than the notes come, and when one object is the subject of too many.

mod correlator;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;

use correlator::{Correlator, Write};

/// Notes that wait for the writer before new ones are dropped.
const BACKLOG: usize = 4096;

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Something happened as it should.
    Normal,
    /// Something the user may want to act upon.
    Warning,
}

impl Type {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events of one component. Cheap to clone; never waits, never fails.
#[derive(Clone)]
pub struct Recorder {
    notes: mpsc::Sender<Note>,
}

/// One call of [`Recorder::event`].
#[derive(Clone, Debug)]
struct Note {
    about: ObjectReference,
    type_: Type,
    reason: String,
    message: String,
    at: Timestamp,
}

impl Recorder {
    /// Starts the writer on the current tokio runtime; it ends once all clones are dropped and its notes are written.
    /// `component` is what `kubectl describe` shows in the column From; `host` is the node's name, or empty.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (notes, incoming) = mpsc::channel(BACKLOG);
        let source = Source {
            component: component.to_owned(),
            host: host.to_owned(),
        };
        tokio::spawn(write(client, source, incoming));
        Self { notes }
    }

    /// Notes something about an object (`kube::Resource::object_ref` makes the reference).
    pub fn event(&self, about: &ObjectReference, type_: Type, reason: &str, message: impl Into<String>) {
        let note = Note {
            about: about.clone(),
            type_,
            reason: reason.to_owned(),
            message: message.into(),
            at: Timestamp::now(),
        };
        if self.notes.try_send(note).is_err() {
            tracing::debug!(reason, "event dropped: the writer is behind or has ended");
        }
    }
}

/// Who writes.
struct Source {
    component: String,
    host: String,
}

async fn write(client: Client, source: Source, mut incoming: mpsc::Receiver<Note>) {
    let mut correlator = Correlator::default();
    while let Some(note) = incoming.recv().await {
        let Some(mut write) = correlator.observe(note) else {
            continue;
        };
        if !write.is_new() {
            match patch(&client, &write).await {
                Err(kube::Error::Api(status)) if status.code == 404 => write.restart(),
                result => {
                    report(result);
                    continue;
                }
            }
        }
        let event = write.event(&source);
        let api: Api<Event> = Api::namespaced(client.clone(), &write.namespace);
        report(api.create(&PostParams::default(), &event).await.map(drop));
        correlator.remember(&write);
    }
}

async fn patch(client: &Client, write: &Write) -> kube::Result<()> {
    let api: Api<Event> = Api::namespaced(client.clone(), &write.namespace);
    let body = json!({
        "count": write.count,
        "lastTimestamp": Time(write.note.at),
        "message": write.note.message,
    });
    api.patch(&write.name, &PatchParams::default(), &Patch::Merge(body))
        .await
        .map(drop)
}

fn report(result: kube::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "event not written");
    }
}

impl Write {
    fn event(&self, source: &Source) -> Event {
        Event {
            metadata: kube::api::ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..Default::default()
            },
            involved_object: self.note.about.clone(),
            type_: Some(self.note.type_.as_str().to_owned()),
            reason: Some(self.note.reason.clone()),
            message: Some(self.note.message.clone()),
            count: Some(self.count),
            first_timestamp: Some(Time(self.first)),
            last_timestamp: Some(Time(self.note.at)),
            source: Some(EventSource {
                component: Some(source.component.clone()),
                host: (!source.host.is_empty()).then(|| source.host.clone()),
            }),
            reporting_component: Some(source.component.clone()),
            reporting_instance: Some(source.host.clone()),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_object_and_source() {
        let about = ObjectReference {
            name: Some("web".to_owned()),
            ..Default::default()
        };
        let (type_, reason, message) = (Type::Normal, "ScalingReplicaSet".to_owned(), "a".to_owned());
        let note = Note {
            about,
            type_,
            reason,
            message,
            at: Timestamp::UNIX_EPOCH,
        };
        let write = Correlator::default().observe(note).unwrap();
        let event = write.event(&Source {
            component: "deployment-controller".to_owned(),
            host: String::new(),
        });
        assert!(event.metadata.name.is_some_and(|name| name.starts_with("web.")));
        assert_eq!(event.source.and_then(|source| source.host), None);
        assert_eq!(
            event.reporting_component.as_deref(),
            Some("deployment-controller")
        );
    }
}
