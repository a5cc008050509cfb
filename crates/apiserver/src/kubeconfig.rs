//! The file that tells kubectl where the API is and who is asking.
//!
//! Flows in: an address, the authority's certificate, a credential. Flows out: YAML with everything embedded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::pki::Credential;

/// A kubeconfig with one cluster, one user and one context, all called `name`.
#[must_use]
pub fn kubeconfig(name: &str, server: &str, authority: &str, credential: &Credential) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": name,
            "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(authority) },
        }],
        "users": [{
            "name": name,
            "user": {
                "client-certificate-data": STANDARD.encode(&credential.certificate),
                "client-key-data": STANDARD.encode(&credential.key),
            },
        }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name, "namespace": "default" } }],
        "current-context": name,
    });
    // Strings and lists only: cannot fail.
    serde_yaml::to_string(&config).unwrap_or_default()
}
