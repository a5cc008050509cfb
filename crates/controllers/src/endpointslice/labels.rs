//! Labels that EndpointSlices and Endpoints take over from their Service. Pure.

use std::collections::BTreeMap;

use api::names::SERVICE_NAME;
use k8s_openapi::api::core::v1::Service;

/// Label: the Service has no address of its own.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Annotation: when what made the last change happened.
pub const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The Service's labels, without those that the controllers set themselves, and with [`HEADLESS`] if it is that.
pub fn copied(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(SERVICE_NAME);
    labels.remove(HEADLESS);
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}
