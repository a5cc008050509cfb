//! The target's `/scale`.

use api::kind::Subresource;
use k8s_openapi::api::autoscaling::v1::Scale as Object;
use k8s_openapi::api::autoscaling::v2::CrossVersionObjectReference;
use kube::Client;
use serde_json::json;

/// How many pods a target has, and which.
#[derive(Debug)]
pub struct Scale {
    path: String,
    /// The number wanted now.
    pub replicas: i32,
    /// Which pods are its own, as a query has it.
    pub selector: String,
}

impl Scale {
    /// Reads it; the error is a sentence.
    pub async fn read(
        client: &Client,
        namespace: &str,
        target: &CrossVersionObjectReference,
    ) -> Result<Self, String> {
        let version = target.api_version.as_deref().unwrap_or("v1");
        let kind = api::kinds::by_kind(version, &target.kind)
            .filter(|kind| kind.subresources.contains(&Subresource::Scale))
            .ok_or_else(|| format!("no matches for kind {:?} in group {version:?}", target.kind))?;
        let root = if kind.group.is_empty() { "api" } else { "apis" };
        let (plural, name) = (kind.plural, &target.name);
        let path = format!("/{root}/{version}/namespaces/{namespace}/{plural}/{name}/scale");
        let request = http::Request::get(&path)
            .body(Vec::new())
            .map_err(|error| error.to_string())?;
        let scale: Object = client.request(request).await.map_err(|error| sentence(&error))?;
        Ok(Self {
            path,
            replicas: scale.spec.and_then(|spec| spec.replicas).unwrap_or(0),
            selector: scale
                .status
                .and_then(|status| status.selector)
                .unwrap_or_default(),
        })
    }

    /// Changes the number; the error is a sentence.
    pub async fn write(&self, client: &Client, replicas: i32) -> Result<(), String> {
        let patch = json!({ "spec": { "replicas": replicas } })
            .to_string()
            .into_bytes();
        let request = http::Request::patch(&self.path)
            .header("content-type", "application/merge-patch+json")
            .body(patch)
            .map_err(|error| error.to_string())?;
        let written: Result<Object, _> = client.request(request).await;
        written.map(drop).map_err(|error| sentence(&error))
    }
}

/// The API server's own words, where it answered.
pub fn sentence(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
