//! The hash of a pod template, which tells the ReplicaSets of a Deployment apart.
//!
//! Flows in: a template. Flows out: at most ten characters. Upstream hashes a dump of Go structs, which nobody else can
//! reproduce and nobody depends on; ours hashes the template's JSON, whose keys are sorted.

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::names::POD_TEMPLATE_HASH;
use crate::random;

/// The value of the label `pod-template-hash` for `template`. The label itself does not count. `collision_count` makes
/// another hash for the same template, for when the first name is taken.
#[must_use]
pub fn template_hash(template: &PodTemplateSpec, collision_count: Option<i32>) -> String {
    let mut hash = Fnv1a::new();
    // Serialising to a `Value` sorts the keys of every map; a template always is JSON.
    let json = serde_json::to_value(without_hash(template))
        .unwrap_or_default()
        .to_string();
    hash.write(json.as_bytes());
    if let Some(count) = collision_count {
        hash.write(&i64::from(count).to_le_bytes());
    }
    random::encode(hash.0.to_string().as_bytes())
}

/// The template without the hash label: how templates are compared.
#[must_use]
pub fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template
        .metadata
        .as_mut()
        .and_then(|metadata| metadata.labels.as_mut())
    {
        labels.remove(POD_TEMPLATE_HASH);
    }
    template
}

/// Whether two templates make the same pods: equal but for the hash label.
#[must_use]
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    a.spec == b.spec && normalised_metadata(a) == normalised_metadata(b)
}

/// The template's metadata, where an absent map equals an empty one.
fn normalised_metadata(
    template: &PodTemplateSpec,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    let mut metadata = template.metadata.clone().unwrap_or_default();
    metadata.labels.get_or_insert_default().remove(POD_TEMPLATE_HASH);
    metadata.annotations.get_or_insert_default();
    metadata
}

/// FNV-1a with 32 bits.
struct Fnv1a(u32);

impl Fnv1a {
    fn new() -> Self {
        Self(0x811c_9dc5)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn template(labels: &[(&str, &str)]) -> PodTemplateSpec {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels),
                ..ObjectMeta::default()
            }),
            ..PodTemplateSpec::default()
        }
    }

    #[test]
    fn fnv_matches_its_published_vectors() {
        for (text, hash) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            let mut fnv = Fnv1a::new();
            fnv.write(text.as_bytes());
            assert_eq!(fnv.0, hash, "{text}");
        }
    }

    #[test]
    fn ignores_its_own_label() {
        let (plain, hashed) = (
            template(&[("app", "a")]),
            template(&[("app", "a"), (POD_TEMPLATE_HASH, "x")]),
        );
        assert_eq!(template_hash(&plain, None), template_hash(&hashed, None));
        assert!(same_template(&plain, &hashed));
    }

    #[test]
    fn differs_by_template_and_by_collision_count() {
        let a = template(&[("app", "a")]);
        let hashes = [
            template_hash(&a, None),
            template_hash(&a, Some(0)),
            template_hash(&template(&[("app", "b")]), None),
        ];
        assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2]);
        assert!(hashes.iter().all(|hash| hash.len() <= 10 && !hash.is_empty()));
    }
}
