//! What the server's OpenAPI v3 says about merging: which lists have a key, which maps retain keys.
//!
//! Flows in: the document of a group and version. Flows out: answers for one field after another, on the way down.

use http::Request;
use kube::Client;
use serde_json::Value;

use super::catalogue::Resource;

/// The OpenAPI document of one group and version.
#[derive(Debug)]
pub struct Document(Value);

/// The schema of one value in a [`Document`].
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    schemas: &'a Value,
    node: &'a Value,
}

impl Document {
    /// Asks the server for the document that describes `resource`.
    ///
    /// # Errors
    /// When the server has none.
    pub async fn load(client: &Client, resource: &Resource) -> kube::Result<Self> {
        let root = if resource.group.is_empty() { "api" } else { "apis" };
        let uri = format!("/openapi/v3/{root}/{}", resource.api_version());
        let request = Request::get(uri)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        client.request(request).await.map(Self)
    }

    /// The schema of a kind, if the document has it.
    pub fn of(&self, resource: &Resource) -> Option<Schema<'_>> {
        let schemas = &self.0["components"]["schemas"];
        let is_kind = |node: &&Value| {
            node["x-kubernetes-group-version-kind"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|known| {
                    known["group"].as_str().unwrap_or_default() == resource.group
                        && known["version"] == resource.version.as_str()
                        && known["kind"] == resource.kind.as_str()
                })
        };
        let node = schemas.as_object()?.values().find(is_kind)?;
        Some(Schema { schemas, node })
    }
}

impl<'a> Schema<'a> {
    /// The schema of a field of this object, or of an entry of this map.
    pub fn field(self, name: &str) -> Option<Self> {
        let node = self.target();
        node["properties"]
            .get(name)
            .or_else(|| node.get("additionalProperties"))
            .map(|node| Self { node, ..self })
    }

    /// The schema of this list's items.
    pub fn item(self) -> Option<Self> {
        self.target().get("items").map(|node| Self { node, ..self })
    }

    /// Whether this list is merged item by item and not replaced whole.
    pub fn merges(self) -> bool {
        self.has_strategy("merge")
    }

    /// Whether a patch of this value must say which keys remain.
    pub fn retains_keys(self) -> bool {
        self.has_strategy("retainKeys")
    }

    /// The field by which items of this list are told apart.
    pub fn merge_key(self) -> Option<&'a str> {
        self.node["x-kubernetes-patch-merge-key"].as_str()
    }

    fn has_strategy(self, strategy: &str) -> bool {
        let strategies = self.node["x-kubernetes-patch-strategy"]
            .as_str()
            .unwrap_or_default();
        strategies.split(',').any(|known| known == strategy)
    }

    /// The node that a reference leads to; upstream wraps references in `allOf`.
    fn target(self) -> &'a Value {
        let reference = self
            .node
            .get("$ref")
            .or_else(|| self.node["allOf"].get(0)?.get("$ref"));
        reference
            .and_then(Value::as_str)
            .and_then(|reference| reference.rsplit('/').next())
            .and_then(|name| self.schemas.get(name))
            .unwrap_or(self.node)
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    /// The parts of a Deployment's schema that steer merging.
    pub fn document() -> Document {
        let merge = |key: &str, item: &str| {
            json!({"type": "array", "items": {"allOf": [{"$ref": format!("#/components/schemas/{item}")}]},
                   "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": key})
        };
        Document(json!({"components": {"schemas": {
            "Deployment": {
                "properties": {
                    "metadata": {"properties": {"finalizers": {"x-kubernetes-patch-strategy": "merge"}}},
                    "spec": {"allOf": [{"$ref": "#/components/schemas/DeploymentSpec"}]}},
                "x-kubernetes-group-version-kind": [{"group": "apps", "version": "v1", "kind": "Deployment"}]},
            "DeploymentSpec": {"properties": {
                "strategy": {"allOf": [{"$ref": "#/components/schemas/Strategy"}],
                             "x-kubernetes-patch-strategy": "retainKeys"},
                "containers": merge("name", "Container")}},
            "Strategy": {"properties": {"type": {"type": "string"}}},
            "Container": {"properties": {"ports": merge("containerPort", "Port"), "args": {"type": "array"}}},
            "Port": {"properties": {}},
        }}}))
    }

    /// The kind that [`document`] describes.
    pub fn deployment() -> Resource {
        Resource {
            group: "apps".into(),
            version: "v1".into(),
            kind: "Deployment".into(),
            ..Resource::default()
        }
    }

    #[test]
    fn references_are_followed_on_the_way_down() {
        let document = document();
        let spec = document
            .of(&deployment())
            .and_then(|schema| schema.field("spec"))
            .expect("spec");
        assert!(spec.field("strategy").expect("strategy").retains_keys());
        let containers = spec.field("containers").expect("containers");
        assert_eq!(
            (containers.merges(), containers.merge_key()),
            (true, Some("name"))
        );
        let ports = containers
            .item()
            .and_then(|item| item.field("ports"))
            .expect("ports");
        assert_eq!(ports.merge_key(), Some("containerPort"));
        assert!(document.of(&Resource::default()).is_none());
    }
}
