//! Events are forgotten after an hour.
//!
//! Flows in: stored Events. Flows out: deletions. One task, which looks once a minute.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::object::Object;
use crate::server::Core;
use crate::status::Failure;

/// How long an Event is kept after it last happened.
const LIFETIME: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

const EVERY: Duration = Duration::from_secs(60);

/// Runs until the server stops.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(failure) = forget(&core, jiff::Timestamp::now()).await {
            tracing::warn!(%failure, "cannot forget old events");
        }
    }
}

async fn forget(core: &Core, now: jiff::Timestamp) -> Result<(), Failure> {
    let events = core.registry.get("", "events")?;
    let page = core.store.list(&events.prefix, None, 0, None).await?;
    for entry in &page.entries {
        let event = Object::from(&**entry).to_value(&events);
        if last_seen(&event).is_some_and(|seen| now.duration_since(seen) > LIFETIME) {
            // A conflict means that it happened again just now: it stays.
            core.remove(&events, entry, &event).await?;
        }
    }
    Ok(())
}

/// When an Event last happened, by whichever of its times its writer uses.
fn last_seen(event: &Value) -> Option<jiff::Timestamp> {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["firstTimestamp"],
        &event["metadata"]["creationTimestamp"],
    ];
    times
        .into_iter()
        .filter_map(|time| time.as_str()?.parse().ok())
        .max()
}

#[cfg(test)]
mod week;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_latest_time_counts() {
        let event = json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "eventTime": null,
            "lastTimestamp": "2026-01-01T02:00:00Z",
        });
        assert_eq!(last_seen(&event), "2026-01-01T02:00:00Z".parse().ok());
        assert_eq!(last_seen(&json!({})), None);
    }
}
