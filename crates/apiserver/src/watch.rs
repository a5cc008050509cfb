//! WATCH: the changes of a collection as they happen.
//!
//! Flows in: a revision and selectors. Flows out: one JSON line per change, made of stored bytes, or one message of a
//! WebSocket. Never parses an object, unless for a table or a view. Ends with the client, the timeout, the server, or an ERROR line when the revision is too
//! old.

mod socket;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, StatusCode, header};
use rand::Rng;
use store::{Entry, Event, Interest};
use tokio::time::{Instant, sleep_until};

use crate::body::{self, Request, Response};
use crate::call::Call;
use crate::list;
use crate::negotiate::{self, Form};
use crate::object::Object;
use crate::query::{self, LIST_OPTIONS};
use crate::resource::Resource;
use crate::selector::Filter;
use crate::status::Failure;
use crate::table::{self, Include, TableWatch};
use crate::yaml;

/// How often a client that wants bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// Shortest time that a watch lives when the client names none; the longest is twice that.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How one event becomes a line.
enum Lines {
    Objects,
    Tables(TableWatch),
    Metadata,
}

impl Lines {
    /// Appends a change.
    fn write(&mut self, resource: &Resource, kind: &str, entry: &Entry, revision: u64, out: &mut Vec<u8>) {
        let object = Object {
            bytes: entry.value.clone(),
            revision,
        };
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        match self {
            Self::Objects => object.write_to(resource, out),
            Self::Tables(tables) => tables.write(resource, &object, out),
            Self::Metadata => out.extend_from_slice(&table::metadata_only(&object.to_value(resource))),
        }
        out.extend_from_slice(b"}\n");
    }

    /// Appends a bookmark, which says: nothing up to `revision` is missing.
    fn write_bookmark(
        &mut self,
        resource: &Resource,
        revision: u64,
        end_of_objects: bool,
        out: &mut Vec<u8>,
    ) {
        let annotations = if end_of_objects {
            ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}"
        } else {
            ""
        };
        let metadata =
            format!("{{\"resourceVersion\":\"{revision}\",\"creationTimestamp\":null{annotations}}}");
        out.extend_from_slice(b"{\"type\":\"BOOKMARK\",\"object\":");
        match self {
            Self::Objects => {
                // The head ends with the metadata's opening brace.
                out.extend_from_slice(resource.head.as_bytes());
                out.extend_from_slice(&metadata.as_bytes()[1..]);
                out.push(b'}');
            }
            Self::Tables(tables) => tables.write_bookmark(resource, &metadata, out),
            Self::Metadata => {
                let line = format!(
                    "{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{metadata}}}"
                );
                out.extend_from_slice(line.as_bytes());
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Serves a watch on a collection, or on one object by its name.
pub(crate) async fn watch(call: Call, mut request: Request) -> Result<Response, Failure> {
    if yaml::is_wanted(&call.headers) {
        // There is no telling where one event ends and the next begins.
        return Err(Failure::NotAcceptable);
    }
    if call.core.stop.is_cancelled() {
        return Err(Failure::Unavailable("the server is stopping".to_owned()));
    }
    let lines = match negotiate::form(&call.headers)? {
        Form::Object => Lines::Objects,
        Form::Table => Lines::Tables(TableWatch::new(Include::parse(&call.query)?)),
        Form::Metadata | Form::MetadataList => Lines::Metadata,
    };
    let filter = Filter::parse(&call.resource, &call.query, call.path.name.as_deref())?;
    let start = Start::parse(&call)?;
    let mut watching = Watching {
        bookmarks: call.query.flag("allowWatchBookmarks"),
        deadline: deadline(&call)?,
        next_bookmark: Instant::now() + BOOKMARK_EVERY,
        watch: None,
        pending: VecDeque::new(),
        ended: false,
        filter,
        lines,
        call,
    };
    match watching.begin(start).await {
        Ok(()) => {}
        // Upstream answers 200 and says it in the stream: clients relist.
        Err(failure @ Failure::Expired { .. }) => watching.fail(&failure),
        Err(failure) => return Err(failure),
    }
    if socket::is_wanted(request.headers()) {
        return socket::answer(&mut request, watching.into_stream());
    }
    let mut response = Response::new(body::stream(watching.into_stream()));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    Ok(response)
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With the changes after a revision.
    After(u64),
    /// With every object as it is, then the changes.
    Objects {
        /// Whether a bookmark tells where the objects end and the changes begin.
        marked: bool,
    },
    /// With the changes from now on: `sendInitialEvents=false` without a revision.
    Now,
}

impl Start {
    fn parse(call: &Call) -> Result<Self, Failure> {
        let initial = call.query.optional_flag("sendInitialEvents");
        let matching = call.query.get("resourceVersionMatch");
        let forbidden = |field, why: &str| {
            Failure::invalid_option(LIST_OPTIONS, "FieldValueForbidden", field, why.to_owned())
        };
        match (initial, matching) {
            (Some(_), None) => {
                return Err(forbidden(
                    "resourceVersionMatch",
                    "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            (Some(true), _) if !call.query.flag("allowWatchBookmarks") => {
                return Err(forbidden(
                    "sendInitialEvents",
                    "Forbidden: sendInitialEvents requires allowWatchBookmarks to be set",
                ));
            }
            (None, Some(_)) => {
                return Err(forbidden(
                    "resourceVersionMatch",
                    "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            (_, Some(other)) if other != "NotOlderThan" => {
                let cause = query::unsupported("resourceVersionMatch", other, &["NotOlderThan"]);
                return Err(Failure::invalid_options(LIST_OPTIONS, vec![cause]));
            }
            _ => {}
        }
        let revision = query::revision(&call.query)?;
        let current = call.core.store.revision();
        match (initial, revision) {
            (Some(true), Some(asked)) if asked > current => {
                Err(store::Error::Future { asked, current }.into())
            }
            (Some(true), _) => Ok(Self::Objects { marked: true }),
            (Some(false), None | Some(0)) => Ok(Self::Now),
            (None, None | Some(0)) => Ok(Self::Objects { marked: false }),
            (_, Some(revision)) => Ok(Self::After(revision)),
        }
    }
}

fn deadline(call: &Call) -> Result<Instant, Failure> {
    let asked = call
        .query
        .number("timeoutSeconds")?
        .and_then(|seconds| u64::try_from(seconds).ok());
    let lifetime = match asked {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.min(u64::from(u32::MAX))),
        // Spread, so that clients do not all come back at once.
        _ => DEFAULT_TIMEOUT.mul_f64(1.0 + rand::rng().random::<f64>()),
    };
    Ok(Instant::now() + lifetime)
}

/// A watch in progress.
struct Watching {
    call: Call,
    filter: Filter,
    lines: Lines,
    bookmarks: bool,
    deadline: Instant,
    next_bookmark: Instant,
    watch: Option<Box<dyn store::Watch>>,
    /// Lines that have not been sent.
    pending: VecDeque<Bytes>,
    /// Whether the stream ends with what is pending.
    ended: bool,
}

impl Watching {
    async fn begin(&mut self, start: Start) -> Result<(), Failure> {
        let after = match start {
            Start::After(revision) => revision,
            Start::Now => self.call.core.store.revision(),
            Start::Objects { marked } => self.show_objects(marked).await?,
        };
        let prefix = list::prefix(&self.call, &self.filter);
        let watch = self.call.core.store.watch(&prefix, after, self.interest());
        self.watch = Some(watch.await?);
        Ok(())
    }

    /// What spares the watcher the changes that its selectors hide; `None` where that is nothing, or takes long to say: a
    /// view is parsed anew for each question.
    fn interest(&self) -> Option<Interest> {
        if self.filter.is_empty() || self.call.resource.kind.stored_as.is_some() {
            return None;
        }
        let (filter, resource) = (self.filter.clone(), self.call.resource.clone());
        Some(Box::new(move |event| {
            classify(event, |entry| filter.matches(&resource, entry)).is_some()
        }))
    }

    /// Every object as an ADDED line; returns the revision that they show.
    async fn show_objects(&mut self, marked: bool) -> Result<u64, Failure> {
        let listed = list::everything(&self.call, &self.filter).await?;
        let mut out = Vec::new();
        for entry in &listed.entries {
            self.lines
                .write(&self.call.resource, "ADDED", entry, entry.modified, &mut out);
        }
        if marked {
            self.lines
                .write_bookmark(&self.call.resource, listed.revision, true, &mut out);
        }
        self.push(out);
        Ok(listed.revision)
    }

    fn push(&mut self, lines: Vec<u8>) {
        if !lines.is_empty() {
            self.pending.push_back(lines.into());
        }
    }

    fn fail(&mut self, failure: &Failure) {
        let mut out = b"{\"type\":\"ERROR\",\"object\":".to_vec();
        out.extend_from_slice(&failure.to_json());
        out.extend_from_slice(b"}\n");
        self.push(out);
        self.ended = true;
    }

    fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        futures::stream::unfold(self, |mut watching| async move {
            let bytes = watching.next().await?;
            Some((bytes, watching))
        })
    }

    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.pending.pop_front() {
                return Some(bytes);
            }
            if self.ended {
                return None;
            }
            let watch = self.watch.as_mut()?;
            let progress = watch.progress();
            let mut out = Vec::new();
            tokio::select! {
                biased;
                () = self.call.core.stop.cancelled() => self.ended = true,
                () = sleep_until(self.deadline) => {
                    self.ended = true;
                    if self.bookmarks {
                        self.lines.write_bookmark(&self.call.resource, progress, false, &mut out);
                    }
                }
                () = sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                    self.lines.write_bookmark(&self.call.resource, progress, false, &mut out);
                }
                events = watch.next() => match events {
                    Ok(events) => {
                        for event in &events {
                            let shown = |entry: &Entry| self.filter.matches(&self.call.resource, entry);
                            if let Some((kind, entry, revision)) = classify(event, shown) {
                                self.lines.write(&self.call.resource, kind, entry, revision, &mut out);
                            }
                        }
                    }
                    Err(error) => self.fail(&error.into()),
                },
            }
            self.push(out);
        }
    }
}

/// What a change is to a watcher: nothing, if the selectors hide the object both before and after.
fn classify(event: &Event, shown: impl Fn(&Entry) -> bool) -> Option<(&'static str, &Arc<Entry>, u64)> {
    match event {
        Event::Put { entry, previous } => {
            let before = previous.as_ref().filter(|previous| shown(previous));
            match (before, shown(entry)) {
                (None, true) => Some(("ADDED", entry, entry.modified)),
                (Some(_), true) => Some(("MODIFIED", entry, entry.modified)),
                // It left the selection: as if it had been deleted, in its last state that was shown.
                (Some(before), false) => Some(("DELETED", before, entry.modified)),
                (None, false) => None,
            }
        }
        Event::Delete { previous, revision } => shown(previous).then_some(("DELETED", previous, *revision)),
    }
}
