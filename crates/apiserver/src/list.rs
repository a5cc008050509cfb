//! GET of a collection.
//!
//! Flows in: selectors, a page size, a revision. Flows out: stored bytes, joined. Never re-serialises an object, unless for
//! a table.

use std::sync::Arc;

use api::validation::{Errors, Path};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use store::Entry;

use crate::body::{self, Response};
use crate::call::Call;
use crate::negotiate::{self, Form};
use crate::object::{Object, push_json};
use crate::query::{self, LIST_OPTIONS, Query};
use crate::selector::Filter;
use crate::status::Failure;
use crate::table::{self, Include};

const MATCH: &str = "resourceVersionMatch";
const INITIAL: &str = "sendInitialEvents";

/// A page of a list.
pub(crate) struct Listed {
    /// What passed the filter.
    pub entries: Vec<Arc<Entry>>,
    /// The revision that the list shows.
    pub revision: u64,
    /// Where the next page begins.
    pub next: Option<String>,
    /// How many objects come after the page, where that is known.
    pub remaining: Option<usize>,
}

/// What a continue token says. Opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// The revision that all pages show; 0: the latest, for a list that went on after its revision had expired.
    rv: u64,
    /// The last key of the page before.
    start: String,
}

impl Token {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Result<Self, Failure> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| Failure::BadRequest("continue key is not valid".to_owned()))
    }
}

/// Serves a GET on a collection.
pub(crate) async fn list(call: &Call) -> Result<Response, Failure> {
    let form = negotiate::form(&call.headers)?;
    let filter = Filter::parse(&call.resource, &call.query, None)?;
    let page = page(call, &filter).await?;
    respond(call, &page, form)
}

/// Answers with a list in a form.
pub(crate) fn respond(call: &Call, page: &Listed, form: Form) -> Result<Response, Failure> {
    let mut out = Vec::with_capacity(
        256 + page
            .entries
            .iter()
            .map(|entry| entry.value.len() + 64)
            .sum::<usize>(),
    );
    match form {
        Form::Object => write_list(call, page, &mut out),
        Form::Table => table::write_list(&call.resource, page, Include::parse(&call.query)?, &mut out),
        Form::Metadata | Form::MetadataList => table::write_metadata_list(&call.resource, page, &mut out),
    }
    Ok(body::json(StatusCode::OK, out))
}

fn write_list(call: &Call, page: &Listed, out: &mut Vec<u8>) {
    let resource = &call.resource;
    out.extend_from_slice(b"{\"kind\":");
    push_json(out, &format!("{}List", resource.kind.kind));
    out.extend_from_slice(b",\"apiVersion\":");
    push_json(out, &resource.api_version);
    out.extend_from_slice(b",\"metadata\":");
    page.write_metadata(out);
    out.extend_from_slice(b",\"items\":[");
    for (at, entry) in page.entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        Object::from(&**entry).write_item(resource, out);
    }
    out.extend_from_slice(b"]}");
}

impl Listed {
    /// Appends the list's own metadata.
    pub fn write_metadata(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{{\"resourceVersion\":\"{}\"", self.revision).as_bytes());
        if let Some(next) = &self.next {
            out.extend_from_slice(b",\"continue\":");
            push_json(out, next);
        }
        if let Some(remaining) = self.remaining {
            out.extend_from_slice(format!(",\"remainingItemCount\":{remaining}").as_bytes());
        }
        out.push(b'}');
    }
}

/// What to read: where to begin, how much, as of when.
struct Scope {
    prefix: String,
    after: Option<String>,
    limit: usize,
    at: Option<u64>,
}

/// Reads a page of the call's collection.
pub(crate) async fn page(call: &Call, filter: &Filter) -> Result<Listed, Failure> {
    let scope = scope(call, filter)?;
    let limit = if filter.is_empty() { scope.limit } else { 0 };
    let store = &call.core.store;
    let read = store
        .list(&scope.prefix, scope.after.as_deref(), limit, scope.at)
        .await;
    let read = read.map_err(|error| expired(error, &scope))?;
    if filter.is_empty() {
        let next = next(&read.entries, read.remaining > 0, read.revision);
        let remaining = next.is_some().then_some(read.remaining);
        return Ok(Listed {
            entries: read.entries,
            revision: read.revision,
            next,
            remaining,
        });
    }
    let mut entries = read.entries;
    entries.retain(|entry| filter.matches(&call.resource, entry));
    let more = scope.limit > 0 && entries.len() > scope.limit;
    if more {
        entries.truncate(scope.limit);
    }
    let next = next(&entries, more, read.revision);
    Ok(Listed {
        entries,
        revision: read.revision,
        next,
        remaining: None,
    })
}

/// The part of the store that can hold what the filter shows.
pub(crate) fn prefix(call: &Call, filter: &Filter) -> String {
    let mut prefix = call.resource.collection(call.namespace());
    let one_folder = call.namespace().is_some() || !call.resource.kind.namespaced;
    if let (Some(name), true) = (filter.name(), one_folder) {
        prefix.push_str(name);
    }
    prefix
}

/// Reads all that passes the filter, at the latest revision: what a watch begins with.
pub(crate) async fn everything(call: &Call, filter: &Filter) -> Result<Listed, Failure> {
    let prefix = prefix(call, filter);
    let read = call.core.store.list(&prefix, None, 0, None).await?;
    let mut entries = read.entries;
    entries.retain(|entry| filter.matches(&call.resource, entry));
    Ok(Listed {
        entries,
        revision: read.revision,
        next: None,
        remaining: None,
    })
}

fn next(entries: &[Arc<Entry>], more: bool, revision: u64) -> Option<String> {
    let last = entries.last().filter(|_| more)?;
    Some(
        Token {
            rv: revision,
            start: last.key.to_string(),
        }
        .encode(),
    )
}

/// Upstream's `ValidateListOptions`: which options go together.
fn check_options(query: &Query) -> Result<(), Failure> {
    let mut errors = Errors::default();
    if let Some(matching) = query.get(MATCH) {
        let field = Path::ROOT.field(MATCH);
        let revision = query.get("resourceVersion");
        if revision.is_none() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.forbidden(&field, why);
        }
        if query.get("continue").is_some() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.forbidden(&field, why);
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            errors.not_supported(&field, matching, &["Exact", "NotOlderThan", ""]);
        }
        if (matching, revision) == ("Exact", Some("0")) {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.forbidden(&field, why);
        }
    }
    if query.optional_flag(INITIAL).is_some() {
        let why = "sendInitialEvents is forbidden for list";
        errors.forbidden(&Path::ROOT.field(INITIAL), why);
    }
    let causes = errors.into_verdict().causes;
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid_options(LIST_OPTIONS, causes))
    }
}

/// Reads limit, continue, resourceVersion and resourceVersionMatch.
fn scope(call: &Call, filter: &Filter) -> Result<Scope, Failure> {
    let query = &call.query;
    check_options(query)?;
    let prefix = prefix(call, filter);
    let limit = usize::try_from(query.number("limit")?.unwrap_or(0)).unwrap_or(0);
    let revision = query::revision(query)?;
    if let Some(token) = query.get("continue") {
        if revision.is_some_and(|revision| revision > 0) {
            let why = "specifying resource version is not allowed when using continue";
            return Err(Failure::BadRequest(why.to_owned()));
        }
        let token = Token::decode(token)?;
        let at = (token.rv > 0).then_some(token.rv);
        return Ok(Scope {
            prefix,
            after: Some(token.start),
            limit,
            at,
        });
    }
    let exact = match query.get(MATCH) {
        Some(matching) => matching == "Exact",
        // Without a match rule a page of a certain revision means exactly that revision.
        None => limit > 0 && revision.is_some_and(|revision| revision > 0),
    };
    let current = call.core.store.revision();
    match revision {
        Some(asked) if asked > current => Err(store::Error::Future { asked, current }.into()),
        Some(asked) if exact => Ok(Scope {
            prefix,
            after: None,
            limit,
            at: Some(asked),
        }),
        _ => Ok(Scope {
            prefix,
            after: None,
            limit,
            at: None,
        }),
    }
}

/// A list whose revision has been compacted away between two pages can go on at the latest revision.
fn expired(error: store::Error, scope: &Scope) -> Failure {
    match (error, &scope.after) {
        (store::Error::Compacted { .. }, Some(start)) => Failure::Expired {
            message: "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.".to_owned(),
            continue_token: Some(Token { rv: 0, start: start.clone() }.encode()),
        },
        (error, _) => error.into(),
    }
}
