//! Lease: who is alive, and who leads.

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, column, name};
use crate::validation::{Errors, Path};

impl Served for Lease {
    const ROW: Row = Row {
        singular: "lease",
        columns: &[column("Name"), column("Holder"), column("Age")],
        ..Row::NAMESPACED
    };

    fn validate(&self, _old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let path = Path::ROOT.field("spec");
        if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
            errors.invalid(
                &path.field("leaseDurationSeconds"),
                &seconds,
                "must be greater than 0",
            );
        }
        if let Some(count) = spec.lease_transitions.filter(|count| *count < 0) {
            let detail = "must be greater than or equal to 0";
            errors.invalid(&path.field("leaseTransitions"), &count, detail);
        }
        if spec.holder_identity.as_deref() == Some("") {
            errors.invalid(&path.field("holderIdentity"), "", "must not be empty");
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let holder = self
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default();
        vec![name(&self.metadata), holder.into(), age(&self.metadata, now)]
    }
}
