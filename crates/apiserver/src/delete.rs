//! DELETE: of one object, and of a collection.
//!
//! Flows in: a name or selectors, and DeleteOptions in the body or the query. Flows out: a Status when the object is gone,
//! the object when something still holds it: a grace period, finalizers, the deletion of what it owns.

use api::kind::Cause;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use store::Entry;

use crate::body::{self, Body, Response};
use crate::call::Call;
use crate::decode;
use crate::list;
use crate::metadata;
use crate::negotiate::Form;
use crate::object::{self, Object, is_terminating, meta_str, metadata_mut};
use crate::query::{self, Query};
use crate::resource::Resource;
use crate::selector::Filter;
use crate::server::Core;
use crate::status::{self, Failure, Subject};
use crate::write::is_released;

/// How often a deletion is tried again because another writer was faster. Each time that one was, somebody has come
/// on; upstream (`GuaranteedUpdate`) sets no limit, and a limit that is met tells a client of a conflict that it has not.
const ATTEMPTS: usize = 10_000;

/// Namespaces that may not be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// How to delete.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeleteOptions {
    grace_period_seconds: Option<i64>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    preconditions: Option<Preconditions>,
    dry_run: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// From within an Eviction.
    pub fn of_eviction(sent: &Value) -> Result<Self, Failure> {
        let options = Option::<Self>::deserialize(sent);
        let options = options.map_err(|error| Failure::BadRequest(format!("deleteOptions: {error}")))?;
        let options = options.unwrap_or_default();
        options.check()?;
        Ok(options)
    }

    /// What has been checked is the object of this uid, and only that may be deleted.
    pub fn settle(&mut self, uid: &str, dry_run: bool) {
        self.preconditions = Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        });
        self.dry_run = dry_run.then(|| vec!["All".to_owned()]);
    }

    /// From the body if there is one, else from the query.
    async fn read(call: &Call, body: Body) -> Result<Self, Failure> {
        let bytes = body::collect(body).await?;
        let mut options = Self::from_query(&call.query)?;
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            let parsed = decode::body(&call.headers, &bytes, "DeleteOptions")?;
            let sent = Option::<Self>::deserialize(parsed.value);
            let sent = sent.map_err(|error| Failure::BadRequest(format!("DeleteOptions: {error}")))?;
            options = sent.unwrap_or(options);
        }
        if let Some(dry_run) = call.query.get("dryRun") {
            options.dry_run = Some(vec![dry_run.to_owned()]);
        }
        options.check()?;
        Ok(options)
    }

    fn from_query(query: &Query) -> Result<Self, Failure> {
        Ok(Self {
            grace_period_seconds: query.number("gracePeriodSeconds")?,
            propagation_policy: query.get("propagationPolicy").map(str::to_owned),
            orphan_dependents: query.optional_flag("orphanDependents"),
            preconditions: None,
            dry_run: None,
        })
    }

    fn check(&self) -> Result<(), Failure> {
        let mut causes = Vec::new();
        if let Some(policy) = &self.propagation_policy {
            if self.orphan_dependents.is_some() {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                causes.push(Cause {
                    reason: "FieldValueInvalid",
                    message: format!("Invalid value: {policy:?}: {why}"),
                    field: "propagationPolicy".to_owned(),
                });
            }
            let policies = ["Foreground", "Background", "Orphan", "nil"];
            if !policies[..3].contains(&policy.as_str()) {
                causes.push(query::unsupported("propagationPolicy", policy, &policies));
            }
        }
        let modes = self.dry_run.iter().flatten().map(String::as_str);
        causes.extend(query::check_dry_run(modes));
        if causes.is_empty() {
            Ok(())
        } else {
            Err(Failure::invalid_options("DeleteOptions", causes))
        }
    }

    /// Whether nothing is to be deleted.
    pub fn dry_run(&self) -> bool {
        self.dry_run.as_ref().is_some_and(|modes| !modes.is_empty())
    }

    /// `Foreground`, `Background` or `Orphan`; `None` keeps what the object says.
    fn policy(&self) -> Option<&str> {
        match (&self.propagation_policy, self.orphan_dependents) {
            (Some(policy), _) => Some(policy),
            (None, Some(true)) => Some("Orphan"),
            (None, Some(false)) => Some("Background"),
            (None, None) => None,
        }
    }

    /// The object must be the one that is meant.
    pub fn check_preconditions(&self, resource: &Resource, object: &Value) -> Result<(), Failure> {
        let Some(preconditions) = &self.preconditions else {
            return Ok(());
        };
        let fields = [
            (
                "UID",
                &preconditions.uid,
                "uid",
                "been deleted and then recreated",
            ),
            (
                "ResourceVersion",
                &preconditions.resource_version,
                "resourceVersion",
                "been modified",
            ),
        ];
        for (what, asked, field, happened) in fields {
            let actual = meta_str(object, field);
            if let Some(asked) = asked.as_deref().filter(|asked| *asked != actual) {
                let why = format!(
                    "the {what} in the precondition ({asked}) does not match the {what} in record ({actual}). The object might have {happened}"
                );
                // Here upstream names the kind, not the resource.
                let mut subject = Subject::new(resource, meta_str(object, "name"));
                subject.kind = resource.kind.kind.to_owned();
                return Err(Failure::Conflict { subject, why });
            }
        }
        Ok(())
    }
}

/// What became of an object.
pub(crate) enum Outcome {
    /// It is gone; this was its last state.
    Gone(Object),
    /// Something still holds it.
    Held(Object),
}

/// Serves a DELETE on an object.
pub(crate) async fn delete(call: &Call, body: Body) -> Result<Response, Failure> {
    let options = DeleteOptions::read(call, body).await?;
    let outcome = call
        .core
        .delete(&call.resource, &call.key()?, call.name()?, &options)
        .await?;
    let foreground = options.policy() == Some("Foreground") || options.orphan_dependents == Some(false);
    match outcome {
        Outcome::Held(object) if foreground => call.respond(StatusCode::ACCEPTED, &object),
        Outcome::Held(object) => call.respond(StatusCode::OK, &object),
        // Pods and the like are shown as they were; of the others a Status tells.
        Outcome::Gone(object) if call.resource.kind.graceful => call.respond(StatusCode::OK, &object),
        Outcome::Gone(object) => {
            let value = object.to_value(&call.resource);
            let subject = Subject::new(&call.resource, call.name()?);
            Ok(body::json(
                StatusCode::OK,
                status::success(&subject, meta_str(&value, "uid")),
            ))
        }
    }
}

/// Serves a DELETE on a collection: everything that the selectors show. Answers with the list as it was.
pub(crate) async fn delete_collection(call: &Call, body: Body) -> Result<Response, Failure> {
    let kind = call.resource.kind;
    if kind.one_by_one || (kind.namespaced && call.path.namespace.is_none()) {
        return Err(Failure::MethodNotAllowed);
    }
    let options = DeleteOptions::read(call, body).await?;
    let filter = Filter::parse(&call.resource, &call.query, None)?;
    let page = list::page(call, &filter).await?;
    for entry in &page.entries {
        let (_, name) = call.resource.split_key(&entry.key);
        match call.core.delete(&call.resource, &entry.key, name, &options).await {
            Ok(_) | Err(Failure::NotFound(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    list::respond(call, &page, Form::Object)
}

impl Core {
    /// Deletes an object, or begins to.
    pub async fn delete(
        &self,
        resource: &Resource,
        key: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Outcome, Failure> {
        if resource.is("", "namespaces") && IMMORTAL.contains(&name) {
            let why = "this namespace may not be deleted".to_owned();
            return Err(Failure::Forbidden {
                subject: Subject::new(resource, name),
                why,
                causes: Vec::new(),
            });
        }
        for _ in 0..ATTEMPTS {
            let entry = self.read(resource, key, name).await?;
            if let Some(outcome) = self.delete_once(resource, &entry, options).await? {
                return Ok(outcome);
            }
        }
        Err(Failure::modified(resource, name))
    }

    /// `None`: another writer was faster.
    async fn delete_once(
        &self,
        resource: &Resource,
        entry: &Entry,
        options: &DeleteOptions,
    ) -> Result<Option<Outcome>, Failure> {
        let before = Object::from(entry);
        let mut object = before.to_value(resource);
        options.check_preconditions(resource, &object)?;
        let grace = if resource.kind.graceful {
            pod_grace(&object, options)
        } else {
            0
        };
        set_propagation(&mut object, options.policy());
        let shortens = begin(&mut object, grace);
        if is_released(&object) {
            if options.dry_run() {
                return Ok(Some(Outcome::Gone(before)));
            }
            let removed = self.remove(resource, entry, &object).await?;
            return Ok(removed.map(|revision| Outcome::Gone(Object { revision, ..before })));
        }
        if shortens {
            count_generation(&mut object);
        }
        let bytes = object::encode(resource, &object);
        if options.dry_run() || bytes == entry.value {
            return Ok(Some(Outcome::Held(Object {
                bytes,
                revision: entry.modified,
            })));
        }
        let stored = self.replace(resource, entry, &object, bytes).await?;
        Ok(stored.map(|entry| Outcome::Held(Object::from(&*entry))))
    }
}

/// The seconds a pod gets: none if it never reached a node or has ended already.
fn pod_grace(pod: &Value, options: &DeleteOptions) -> i64 {
    let asked = options.grace_period_seconds;
    let own = pod["spec"]["terminationGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(30);
    let unscheduled = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    match asked.unwrap_or(own) {
        _ if unscheduled || ended => 0,
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

/// Marks the object as being deleted. A second deletion can only shorten the grace. Returns whether anything changed.
fn begin(object: &mut Value, grace: i64) -> bool {
    let now = jiff::Timestamp::now();
    let remaining = object["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(0);
    if is_terminating(object) && remaining <= grace {
        return false;
    }
    let span = jiff::SignedDuration::from_secs(grace);
    let ends = metadata::time_of(now.checked_add(span).unwrap_or(now));
    let metadata = metadata_mut(object);
    metadata.insert("deletionTimestamp".to_owned(), ends.into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    if object["spec"]["finalizers"].is_array() {
        object["status"]["phase"] = json!("Terminating");
    }
    true
}

fn count_generation(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_i64() {
        object["metadata"]["generation"] = (generation + 1).into();
    }
}

/// Sets the finalizer that stands for a propagation policy, and drops the one that contradicts it.
fn set_propagation(object: &mut Value, policy: Option<&str>) {
    let Some(policy) = policy else { return };
    let wanted = match policy {
        "Foreground" => Some(FOREGROUND),
        "Orphan" => Some(ORPHAN),
        _ => None,
    };
    let metadata = metadata_mut(object);
    let finalizers = metadata
        .get("finalizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut kept: Vec<Value> = finalizers
        .into_iter()
        .filter(|finalizer| finalizer != FOREGROUND && finalizer != ORPHAN)
        .collect();
    kept.extend(wanted.map(Value::from));
    if kept.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), kept.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_deletion_only_shortens() {
        let mut pod = json!({"metadata": {"name": "a", "generation": 1}});
        assert!(begin(&mut pod, 30));
        assert!(!begin(&mut pod, 60));
        assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 30);
        assert!(begin(&mut pod, 5));
        assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 5);
    }

    #[test]
    fn propagation_is_a_finalizer() {
        let mut object = json!({"metadata": {"finalizers": ["x", "orphan"]}});
        set_propagation(&mut object, Some("Foreground"));
        assert_eq!(
            object["metadata"]["finalizers"],
            json!(["x", "foregroundDeletion"])
        );
        set_propagation(&mut object, Some("Background"));
        assert_eq!(object["metadata"]["finalizers"], json!(["x"]));
    }

    #[test]
    fn grace_of_pods() {
        let options = |seconds| DeleteOptions {
            grace_period_seconds: seconds,
            ..DeleteOptions::default()
        };
        let running = json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 7}, "status": {}});
        assert_eq!(pod_grace(&running, &options(None)), 7);
        assert_eq!(pod_grace(&running, &options(Some(0))), 0);
        assert_eq!(pod_grace(&running, &options(Some(-5))), 1);
        assert_eq!(pod_grace(&json!({"spec": {}}), &options(Some(9))), 0);
        let ended = json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}});
        assert_eq!(pod_grace(&ended, &options(None)), 0);
    }
}
