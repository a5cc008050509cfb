//! The kinds that the server serves, as its discovery documents list them.
//!
//! Flows in: aggregated discovery (two requests). Flows out: [`Resource`]s by whatever name a person uses for them.
//! Holds no kind of its own.

use kube::Client;
use kube::core::ApiResource;
use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery};

/// A kind of objects at a path of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version, `v1`.
    pub version: String,
    /// `Deployment`
    pub kind: String,
    /// `deployments`
    pub plural: String,
    /// `deployment`
    pub singular: String,
    /// `deploy`
    pub short_names: Vec<String>,
    /// `all`
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

impl Resource {
    fn read(group: &str, version: &str, found: &APIResourceDiscovery) -> Option<Self> {
        let plural = found.resource.clone()?;
        let kind = found.response_kind.as_ref()?.kind.clone()?;
        let singular = found.singular_resource.clone().filter(|name| !name.is_empty());
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            singular: singular.unwrap_or_else(|| kind.to_lowercase()),
            kind,
            plural,
            short_names: found.short_names.clone(),
            categories: found.categories.clone(),
            namespaced: found.scope.as_deref() == Some("Namespaced"),
        })
    }

    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `deployment.apps`, as kubectl names the kind of an object it reports about.
    pub fn label(&self) -> String {
        self.with_group(&self.singular)
    }

    /// `deployments.apps`
    pub fn plural_label(&self) -> String {
        self.with_group(&self.plural)
    }

    fn with_group(&self, name: &str) -> String {
        if self.group.is_empty() {
            name.to_owned()
        } else {
            format!("{name}.{}", self.group)
        }
    }

    /// The path of the collection: of `namespace`, or of all namespaces.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let base = format!("{root}/{}", self.api_version());
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{base}/namespaces/{namespace}/{}", self.plural),
            None => format!("{base}/{}", self.plural),
        }
    }

    /// The kind in kube's words.
    pub fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }

    /// Whether a person means this kind by `name`: plural, singular, kind or short name, with or without the group.
    fn is_called(&self, name: &str) -> bool {
        let (short, group) = match name.split_once('.') {
            Some((short, group)) => (short, Some(group)),
            None => (name, None),
        };
        let group_fits = group
            .is_none_or(|group| group == self.group || group == format!("{}.{}", self.version, self.group));
        group_fits
            && (short == self.plural
                || short == self.singular
                || short == self.kind.to_lowercase()
                || self.short_names.iter().any(|known| known == short))
    }
}

/// All kinds of a server, the core group first, preferred versions first.
#[derive(Debug)]
pub struct Catalogue {
    resources: Vec<Resource>,
}

impl Catalogue {
    /// Asks the server.
    ///
    /// # Errors
    /// When the server does not answer with aggregated discovery (Kubernetes 1.30 and later do).
    pub async fn load(client: &Client) -> kube::Result<Self> {
        let (core, groups) = tokio::try_join!(
            client.list_core_api_versions_aggregated(),
            client.list_api_groups_aggregated()
        )?;
        Ok(Self {
            resources: core
                .items
                .iter()
                .chain(&groups.items)
                .flat_map(read_group)
                .collect(),
        })
    }

    /// The kinds that `name` stands for: one kind, or every kind of a category such as `all`.
    ///
    /// # Errors
    /// When the server knows no such kind.
    pub fn resolve(&self, name: &str) -> anyhow::Result<Vec<&Resource>> {
        let name = name.to_lowercase();
        if let Some(resource) = self.resources.iter().find(|resource| resource.is_called(&name)) {
            return Ok(vec![resource]);
        }
        let category: Vec<_> = self
            .resources
            .iter()
            .filter(|resource| resource.categories.contains(&name))
            .collect();
        if category.is_empty() {
            anyhow::bail!("the server doesn't have a resource type \"{name}\"");
        }
        Ok(category)
    }

    /// The kind that a manifest names.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        self.resources
            .iter()
            .find(|resource| resource.kind == kind && resource.api_version() == api_version)
    }
}

fn read_group(group: &APIGroupDiscovery) -> Vec<Resource> {
    let name = group
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.name.as_deref())
        .unwrap_or_default();
    group
        .versions
        .iter()
        .flat_map(|version| {
            let number = version.version.as_deref().unwrap_or_default();
            version
                .resources
                .iter()
                .filter_map(move |found| Resource::read(name, number, found))
        })
        .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Kinds as a server lists them.
    pub fn catalogue() -> Catalogue {
        let groups: Vec<APIGroupDiscovery> = serde_json::from_value(serde_json::json!([
            {"metadata": {}, "versions": [{"version": "v1", "resources": [
                {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced",
                 "singularResource": "pod", "shortNames": ["po"], "categories": ["all"]},
                {"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster",
                 "singularResource": "node", "shortNames": ["no"]},
            ]}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
                {"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced",
                 "singularResource": "deployment", "shortNames": ["deploy"], "categories": ["all"]},
            ]}]},
        ]))
        .expect("valid discovery");
        Catalogue {
            resources: groups.iter().flat_map(read_group).collect(),
        }
    }

    #[test]
    fn every_usual_name_finds_the_kind() {
        let catalogue = catalogue();
        for name in [
            "deployments",
            "deployment",
            "deploy",
            "Deployment",
            "deployments.apps",
            "deploy.v1.apps",
        ] {
            assert_eq!(
                catalogue.resolve(name).expect(name)[0].kind,
                "Deployment",
                "{name}"
            );
        }
        assert_eq!(catalogue.resolve("all").expect("category").len(), 2);
        let error = catalogue.resolve("deploy.batch").expect_err("no such group");
        assert_eq!(
            error.to_string(),
            "the server doesn't have a resource type \"deploy.batch\""
        );
    }

    #[test]
    fn paths_follow_group_and_scope() {
        let catalogue = catalogue();
        let deployment = catalogue.by_kind("apps/v1", "Deployment").expect("served");
        assert_eq!(
            deployment.path(Some("shop")),
            "/apis/apps/v1/namespaces/shop/deployments"
        );
        assert_eq!(deployment.path(None), "/apis/apps/v1/deployments");
        assert_eq!(deployment.label(), "deployment.apps");
        let node = catalogue.by_kind("v1", "Node").expect("served");
        assert_eq!(node.path(Some("shop")), "/api/v1/nodes");
    }
}
