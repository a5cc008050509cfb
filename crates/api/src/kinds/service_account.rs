//! ServiceAccount: who a pod is.

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::Value;

use crate::kind::Subresource;
use crate::served::{Row, Served};
use crate::table::{age, column, name};

impl Served for ServiceAccount {
    const ROW: Row = Row {
        singular: "serviceaccount",
        short_names: &["sa"],
        subresources: &[Subresource::Token],
        columns: &[column("Name"), column("Age")],
        ..Row::NAMESPACED
    };

    fn cells(&self, now: i64) -> Vec<Value> {
        vec![name(&self.metadata), age(&self.metadata, now)]
    }
}
