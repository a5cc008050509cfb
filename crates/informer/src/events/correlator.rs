//! What becomes of each note: a new Event, a higher count on one that is there, or nothing.
//!
//! Flows in: notes, which carry their time. Flows out: at most one write a note. Never does I/O.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use jiff::{SignedDuration, Timestamp};

use super::{Note, Type};

/// How long alike notes count as one.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// With this many different messages of one reason within [`WINDOW`], further ones are combined.
const SIMILAR: usize = 10;
/// Notes that one object may have at once before some are dropped.
const BURST: f64 = 25.0;
/// Notes a second that one object may have for long.
const REFILL: f64 = 1.0 / 300.0;
/// What is remembered before old memories are swept out.
const MEMORIES: usize = 4096;
/// Identity of an object, whatever its resourceVersion.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Object {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    field_path: Option<String>,
}

/// Notes that differ in their message at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    object: Object,
    type_: Type,
    reason: String,
}

/// Notes that are counted in one Event: one message of a group, or (`None`) all further messages of it.
type Series = (Group, Option<String>);

#[derive(Default)]
struct Messages {
    seen: HashSet<String>,
    last: Timestamp,
}

struct Written {
    name: String,
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

struct Bucket {
    tokens: f64,
    last: Timestamp,
}

/// Decides what becomes of each note. Time comes with the notes.
#[derive(Default)]
pub(super) struct Correlator {
    groups: HashMap<Group, Messages>,
    written: HashMap<Series, Written>,
    buckets: HashMap<Object, Bucket>,
}

/// One request to the API: create an Event (count 1), or raise the count of one.
#[derive(Debug)]
pub(super) struct Write {
    pub note: Note,
    series: Series,
    pub namespace: String,
    pub name: String,
    pub count: i32,
    pub first: Timestamp,
}

impl Correlator {
    /// What to write for this note, if anything.
    pub fn observe(&mut self, mut note: Note) -> Option<Write> {
        self.sweep(note.at);
        let object = Object {
            kind: note.about.kind.clone(),
            namespace: note.about.namespace.clone(),
            name: note.about.name.clone(),
            uid: note.about.uid.clone(),
            field_path: note.about.field_path.clone(),
        };
        let group = Group {
            object: object.clone(),
            type_: note.type_,
            reason: note.reason.clone(),
        };
        let series = if self.too_many_similar(&group, &note) {
            note.message.insert_str(0, "(combined from similar events): ");
            (group, None)
        } else {
            (group, Some(note.message.clone()))
        };
        if !self.take_token(object, note.at) {
            return None;
        }
        let namespace = note
            .about
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        if let Some(written) = self.written.get_mut(&series)
            && note.at.duration_since(written.last) <= WINDOW
        {
            written.count = written.count.saturating_add(1);
            written.last = note.at;
            let (name, count, first) = (written.name.clone(), written.count, written.first);
            return Some(Write {
                note,
                series,
                namespace,
                name,
                count,
                first,
            });
        }
        let first = note.at;
        let mut write = Write {
            note,
            series,
            namespace,
            name: String::new(),
            count: 1,
            first,
        };
        write.restart();
        Some(write)
    }

    /// The Event of this write exists now: the next alike note raises its count.
    pub fn remember(&mut self, write: &Write) {
        let written = Written {
            name: write.name.clone(),
            count: write.count,
            first: write.first,
            last: write.note.at,
        };
        self.written.insert(write.series.clone(), written);
    }

    fn too_many_similar(&mut self, group: &Group, note: &Note) -> bool {
        let messages = self.groups.entry(group.clone()).or_default();
        if note.at.duration_since(messages.last) > WINDOW {
            messages.seen.clear();
        }
        messages.last = note.at;
        if messages.seen.len() < SIMILAR {
            messages.seen.insert(note.message.clone());
        }
        messages.seen.len() >= SIMILAR
    }

    fn take_token(&mut self, object: Object, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(object).or_insert(Bucket {
            tokens: BURST,
            last: now,
        });
        let elapsed = now.duration_since(bucket.last).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + elapsed * REFILL).min(BURST);
        bucket.last = now;
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        granted
    }

    fn sweep(&mut self, now: Timestamp) {
        let is_fresh = |last: Timestamp| now.duration_since(last) <= WINDOW;
        sweep_map(&mut self.groups, |messages| is_fresh(messages.last));
        sweep_map(&mut self.written, |written| is_fresh(written.last));
        sweep_map(&mut self.buckets, |bucket| is_fresh(bucket.last));
    }
}

/// Forgets what is stale once there is much; all of it if that does not help, which only costs counts.
fn sweep_map<K: Eq + Hash, V>(map: &mut HashMap<K, V>, keep: impl Fn(&V) -> bool) {
    if map.len() < MEMORIES {
        return;
    }
    map.retain(|_, value| keep(value));
    if map.len() >= MEMORIES {
        map.clear();
    }
}

impl Write {
    pub fn is_new(&self) -> bool {
        self.count == 1
    }

    /// Begins a new Event, as after the one that was to be counted up has expired.
    pub fn restart(&mut self) {
        let subject = self.note.about.name.as_deref().unwrap_or("unknown");
        self.name = format!("{subject}.{:x}", self.note.at.as_nanosecond());
        self.count = 1;
        self.first = self.note.at;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;

    fn note(message: &str, seconds: i64) -> Note {
        Note {
            about: ObjectReference {
                kind: Some("Deployment".into()),
                namespace: Some("default".into()),
                name: Some("web".into()),
                ..Default::default()
            },
            type_: Type::Normal,
            reason: "ScalingReplicaSet".into(),
            message: message.into(),
            at: Timestamp::from_second(1_700_000_000 + seconds).unwrap(),
        }
    }

    /// Observes and, as the writer does, remembers new events.
    fn observe(correlator: &mut Correlator, message: &str, seconds: i64) -> Option<(i32, String)> {
        let write = correlator.observe(note(message, seconds))?;
        if write.is_new() {
            correlator.remember(&write);
        }
        Some((write.count, write.note.message))
    }

    #[test]
    fn identical_notes_are_counted_until_the_window_has_passed() {
        let mut correlator = Correlator::default();
        assert_eq!(observe(&mut correlator, "a", 0), Some((1, "a".into())));
        assert_eq!(observe(&mut correlator, "a", 10), Some((2, "a".into())));
        assert_eq!(observe(&mut correlator, "b", 20), Some((1, "b".into())));
        assert_eq!(observe(&mut correlator, "a", 11 * 60), Some((1, "a".into())));
    }

    #[test]
    fn the_tenth_similar_note_is_combined() {
        let mut correlator = Correlator::default();
        for index in 0..9 {
            assert_eq!(
                observe(&mut correlator, &format!("m{index}"), index),
                Some((1, format!("m{index}")))
            );
        }
        let combined = |message: &str| format!("(combined from similar events): {message}");
        assert_eq!(observe(&mut correlator, "m9", 9), Some((1, combined("m9"))));
        assert_eq!(observe(&mut correlator, "m10", 10), Some((2, combined("m10"))));
    }

    #[test]
    fn an_object_has_a_bounded_number_of_notes() {
        let mut correlator = Correlator::default();
        let granted = (0..40)
            .filter(|_| observe(&mut correlator, "a", 0).is_some())
            .count();
        assert_eq!(granted, 25);
        assert!(observe(&mut correlator, "a", 301).is_some());
    }
}
