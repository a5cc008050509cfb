//! The objects that every cluster has: namespaces, what each namespace has, and the way to the API itself.
//!
//! Flows in: an empty store, or one of an earlier start. Flows out: the objects exist and say what is true now. Runs at
//! every start.

use api::kind::Write;
use api::kinds::priority_class;
use serde_json::{Value, json};

use crate::decode::Parsed;
use crate::query::{FieldValidation, WriteOptions};
use crate::server::Core;
use crate::status::Failure;
use crate::tracking::Tracking;
use crate::write::Change;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", api::names::NODE_LEASES];

/// Upstream's roles for people, as far as there is something for them to be about.
const CLUSTER_ROLES: &str = include_str!("bootstrap/cluster_roles.json");
const RBAC: &str = "rbac.authorization.k8s.io";

const OPTIONS: WriteOptions = WriteOptions {
    dry_run: false,
    fields: FieldValidation::Strict,
};

/// Makes what is missing, and corrects what may have changed since the last start.
pub(crate) async fn run(core: &Core) -> Result<(), Failure> {
    for name in NAMESPACES {
        ensure(
            core,
            "",
            "namespaces",
            None,
            json!({ "metadata": { "name": name } }),
        )
        .await?;
        furnish(core, name).await?;
    }
    add_classes_and_roles(core).await?;
    expose_api(core).await
}

/// The priority classes and roles that manifests may refer to.
async fn add_classes_and_roles(core: &Core) -> Result<(), Failure> {
    for (name, value, description) in priority_class::SYSTEM {
        let class = json!({ "metadata": { "name": name }, "value": value, "description": description });
        ensure(core, "scheduling.k8s.io", "priorityclasses", None, class).await?;
    }
    let roles: Vec<Value> = serde_json::from_str(CLUSTER_ROLES)
        .map_err(|error| Failure::Internal(format!("the built-in roles are no JSON: {error}")))?;
    for role in roles {
        ensure(core, RBAC, "clusterroles", None, role).await?;
    }
    let admins = json!({
        "metadata": { "name": "cluster-admin" },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "apiGroup": RBAC, "kind": "Group", "name": "system:masters" }],
    });
    ensure(core, RBAC, "clusterrolebindings", None, admins).await
}

/// Makes what every namespace has.
pub(crate) async fn furnish(core: &Core, namespace: &str) -> Result<(), Failure> {
    let account = json!({ "metadata": { "name": "default" } });
    ensure(core, "", "serviceaccounts", Some(namespace), account).await?;
    let authority = json!({
        "metadata": {
            "name": "kube-root-ca.crt",
            "annotations": { "kubernetes.io/description": "Contains a CA bundle that can be used to verify the API server." },
        },
        "data": { "ca.crt": core.config.authority },
    });
    ensure(core, "", "configmaps", Some(namespace), authority).await
}

/// The Service `kubernetes`, and where it leads. It has no selector, so nobody else keeps its endpoints.
async fn expose_api(core: &Core) -> Result<(), Failure> {
    let (address, port) = (core.config.address.ip().to_string(), core.config.address.port());
    let labels = json!({ "component": "apiserver", "provider": "kubernetes" });
    let service = json!({
        "metadata": { "name": "kubernetes", "labels": labels },
        "spec": {
            "clusterIP": core.config.service_network.first_host().to_string(),
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": port }],
        },
    });
    ensure(core, "", "services", Some("default"), service).await?;
    let slice = json!({
        "metadata": { "name": "kubernetes", "labels": { api::names::SERVICE_NAME: "kubernetes" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
    });
    ensure(core, "discovery.k8s.io", "endpointslices", Some("default"), slice).await?;
    let endpoints = json!({
        "metadata": { "name": "kubernetes", "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } },
        "subsets": [{ "addresses": [{ "ip": address }], "ports": [{ "name": "https", "port": port, "protocol": "TCP" }] }],
    });
    ensure(core, "", "endpoints", Some("default"), endpoints).await
}

/// Makes an object, or merges `wanted` into the one that is there.
async fn ensure(
    core: &Core,
    group: &'static str,
    plural: &'static str,
    namespace: Option<&str>,
    wanted: Value,
) -> Result<(), Failure> {
    let resource = core.registry.get(group, plural)?;
    let parsed = Parsed::from(wanted.clone());
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    match core
        .create(&resource, namespace, parsed, OPTIONS, &Tracking::Nobody)
        .await
    {
        Err(Failure::AlreadyExists(_)) => {}
        done => return done.map(drop),
    }
    let change = Change {
        core,
        resource: &resource,
        namespace,
        name,
        write: Write::Main,
        options: OPTIONS,
        tracking: Tracking::Nobody,
    };
    let merged = change.apply(|live| {
        let mut value = live.object.clone();
        json_patch::merge(&mut value, &wanted);
        change.decode(value)
    });
    merged.await.map(drop)
}
