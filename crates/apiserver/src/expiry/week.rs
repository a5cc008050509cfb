//! A week of events in some seconds: what is kept of them in memory and on disk does not grow.
//!
//! Time is a number here: events say when they happened, and the hourly looks are told what time it is. The history that
//! the store keeps is a twenty-fifth of what it is by default, and so are the rates (300 and 500 events an hour), so that two
//! days fill it as they fill the real one.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use http::{Method, Request};
use serde_json::json;
use store::{Error, History, Sqlite, Store};
use tower::{Service, ServiceExt};

use super::forget;
use crate::allocate::Network;
use crate::auth::Identity;
use crate::body::full;
use crate::nodes::{NodeDirectory, NodeService};
use crate::server::{ApiServer, Config, Version};
use crate::token::TokenKey;

const HISTORY: History = History {
    least: 40,
    most: 400,
    bytes: 320 << 10,
    batch: 10,
};

struct NoNodes;

impl NodeDirectory for NoNodes {
    fn node(&self, _: &str) -> Option<NodeService> {
        None
    }
}

/// What there is at an instant.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    objects: usize,
    revisions: u64,
    bytes: u64,
}

impl Size {
    /// The larger one in each respect.
    fn max(self, other: Self) -> Self {
        Self {
            objects: self.objects.max(other.objects),
            revisions: self.revisions.max(other.revisions),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

struct Week {
    api: ApiServer,
    store: Arc<Sqlite>,
    folder: tempfile::TempDir,
}

impl Week {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open_with(&folder.path().join("test.db"), HISTORY).unwrap());
        let config = Config {
            service_network: Network {
                address: Ipv4Addr::new(127, 96, 0, 0),
                prefix: 24,
            },
            node_ports: 30000..=30005,
            address: ([127, 0, 0, 1], 7443).into(),
            authority: String::new(),
            token_key: TokenKey::random(),
            version: Version::default(),
        };
        let api = ApiServer::start(store.clone(), config, Arc::new(NoNodes))
            .await
            .unwrap();
        Self { api, store, folder }
    }

    /// An event happens.
    async fn happen(&self, number: usize, time: jiff::Timestamp) {
        let event = json!({
            "metadata": {"name": format!("web.{number:x}")},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web", "uid": "u"},
            "reason": "Pulled", "type": "Normal", "count": 1, "source": {"component": "kubelet", "host": "node-1"},
            "message": "Container image \"nginx:1.7.9\" already present on machine, or some other text of that length",
            "firstTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "lastTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1/namespaces/default/events")
            .header("content-type", "application/json")
            .body(full(event.to_string()))
            .unwrap();
        let mut service = self.api.service(Identity::new("admin", &["system:masters"]));
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), 201);
    }

    async fn size(&self) -> Size {
        let oldest = match self.store.list("/", None, 1, Some(0)).await {
            Err(Error::Compacted { oldest, .. }) => oldest,
            _ => 0,
        };
        Size {
            objects: self.store.list("/", None, 0, None).await.unwrap().entries.len(),
            revisions: self.store.revision() - oldest,
            bytes: bytes_in(self.folder.path()),
        }
    }

    /// Seven days with so many events an hour; the largest size of each.
    async fn days(&self, an_hour: usize) -> Vec<Size> {
        let begin = jiff::Timestamp::now();
        let mut days = Vec::new();
        for day in 0..7 {
            let mut largest = Size::default();
            for hour in 0..24 {
                let now = begin + jiff::SignedDuration::from_hours(24 * day + hour);
                let first = usize::try_from(24 * day + hour).unwrap() * an_hour;
                // Spread over the hour, so that a look finds some that are too old and some that are not.
                let time =
                    |number: usize| now + jiff::SignedDuration::from_secs((number * 3_600 / an_hour) as i64);
                join_all((0..an_hour).map(|number| self.happen(first + number, time(number)))).await;
                largest = largest.max(self.size().await);
                for minutes in [30, 60] {
                    let then = now + jiff::SignedDuration::from_mins(minutes);
                    forget(&self.api.core, then).await.unwrap();
                }
            }
            days.push(largest);
        }
        days
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

async fn a_week_takes_no_more_than_two_days(an_hour: usize) {
    let week = Week::begin().await;
    let days = week.days(an_hour).await;
    println!("{an_hour} events an hour, day by day: {days:#?}");
    let (second, last) = (days[1], days[6]);
    assert!(last.objects <= second.objects, "{days:#?}");
    assert!(second.objects < 2 * an_hour + 50, "{days:#?}");
    // A commit may hold an hour's writes before the oldest are dropped.
    assert!(
        second.revisions >= HISTORY.most as u64,
        "the history is full: {days:#?}"
    );
    let most = (HISTORY.most + HISTORY.batch + an_hour) as u64;
    assert!(last.revisions <= most, "{days:#?}");
    // SQLite takes space page by page: a page more or less is no growth.
    assert!(last.bytes <= second.bytes + second.bytes / 50, "{days:#?}");
    assert_eq!(
        week.store
            .get("/events/default/web.0")
            .await
            .unwrap()
            .map(|entry| entry.modified),
        None
    );
    week.api.shutdown();
}

#[tokio::test]
async fn of_an_ordinary_cluster() {
    a_week_takes_no_more_than_two_days(12).await;
}

#[tokio::test]
async fn of_a_cluster_in_trouble() {
    a_week_takes_no_more_than_two_days(20).await;
}
