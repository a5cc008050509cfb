//! The pods of the Deployment as `kubectl get pods -o wide` shows them, and which of them are of the new version.

use std::collections::BTreeSet;

use kube::Client;
use kube::core::params::ListParams;

use crate::verbs::catalogue::Resource;
use crate::verbs::rest::Objects;
use crate::verbs::table::{Row, Table, cell_text};

/// The pods at one moment.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    /// Headings, in upper case.
    pub headings: Vec<String>,
    /// One for each pod, the oldest version first.
    pub rows: Vec<Pod>,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The cells under the headings.
    pub cells: Vec<String>,
    /// The hash of its template: pods of one version have the same.
    pub hash: String,
    /// Whether all of its containers are ready.
    pub ready: bool,
    /// Whether it is being stopped.
    pub terminating: bool,
}

impl Pod {
    /// Its name.
    pub fn name(&self) -> &str {
        self.cells.first().map_or("", String::as_str)
    }

    fn read(row: &Row) -> Self {
        let cells: Vec<String> = row.cells.iter().map(cell_text).collect();
        let ready = cells.get(1).and_then(|ready| ready.split_once('/'));
        let metadata = &row.object["metadata"];
        Self {
            ready: ready.is_some_and(|(ready, total)| ready == total),
            terminating: cells.get(2).is_some_and(|status| status == "Terminating"),
            hash: metadata["labels"][api::names::POD_TEMPLATE_HASH]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            cells,
        }
    }
}

impl Pods {
    /// Asks for the pods that `selector` selects.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn fetch(client: &Client, selector: &str) -> kube::Result<Self> {
        let pods = Resource {
            version: "v1".into(),
            plural: "pods".into(),
            namespaced: true,
            ..Resource::default()
        };
        let params = ListParams::default().labels(selector);
        let table = Objects::new(client, &pods, Some("default"))
            .list_table(&params)
            .await?;
        Ok(Self::read(&table))
    }

    fn read(table: &Table) -> Self {
        Self {
            headings: table
                .column_definitions
                .iter()
                .map(|column| column.name.to_uppercase())
                .collect(),
            rows: table.rows.iter().map(Pod::read).collect(),
        }
    }

    /// The hashes of all versions that are there.
    pub fn hashes(&self) -> BTreeSet<String> {
        self.rows.iter().map(|pod| pod.hash.clone()).collect()
    }

    /// How many pods of other versions than `old` are ready.
    pub fn new_ready(&self, old: &BTreeSet<String>) -> usize {
        self.rows
            .iter()
            .filter(|pod| pod.ready && !pod.terminating && !old.contains(&pod.hash))
            .count()
    }

    /// Whether a pod of one of these versions is left.
    pub fn has_any_of(&self, versions: &BTreeSet<String>) -> bool {
        self.rows.iter().any(|pod| versions.contains(&pod.hash))
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    /// Pods given as name, READY, STATUS and hash.
    pub fn pods(rows: &[(&str, &str, &str, &str)]) -> Pods {
        let row = |&(name, ready, status, hash): &(&str, &str, &str, &str)| {
            json!({"cells": [name, ready, status, "0", "1s", "127.10.1.2", "node-1", "<none>", "<none>"],
                   "object": {"metadata": {"labels": {"pod-template-hash": hash}}}})
        };
        let columns = [
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "IP",
            "Node",
            "Nominated Node",
            "Readiness Gates",
        ];
        let columns = columns.map(|name| json!({"name": name}));
        let table = json!({"columnDefinitions": columns, "rows": rows.iter().map(row).collect::<Vec<_>>()});
        Pods::read(&serde_json::from_value(table).expect("a table"))
    }

    #[test]
    fn only_ready_pods_of_a_new_version_count() {
        let pods = pods(&[
            ("a", "1/1", "Running", "old"),
            ("b", "1/1", "Running", "new"),
            ("c", "0/1", "ContainerCreating", "new"),
            ("d", "1/1", "Terminating", "new"),
        ]);
        let old = BTreeSet::from(["old".to_owned()]);
        assert_eq!(pods.new_ready(&old), 1);
        assert!(pods.has_any_of(&old));
        assert_eq!(pods.hashes().len(), 2);
        assert_eq!(pods.headings[7], "NOMINATED NODE");
    }
}
