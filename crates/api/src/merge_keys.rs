//! How lists merge: strategic merge's strategies and keys, and server-side apply's list types.
//!
//! Data, looked up by type and field as OpenAPI calls them. Upstream declares it in struct tags and publishes it as
//! `x-kubernetes-patch-strategy`, `-patch-merge-key`, `-list-type` and `-list-map-keys`.

mod data;

/// How one field merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What a strategic merge patch does.
    pub patch: Option<Patch>,
    /// What server-side apply owns one by one; lists without are atomic, maps are not.
    pub list: Option<ListType>,
}

/// What a strategic merge patch does with a list or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Items are merged rather than the list replaced.
    pub merge: bool,
    /// A patch that names the keys to retain drops all others (`$retainKeys`).
    pub retain_keys: bool,
    /// What identifies an item; lists of scalars have none.
    pub key: Option<&'static str>,
}

/// A list whose items server-side apply tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Items are themselves their identity.
    Set,
    /// These fields are an item's identity.
    Map(&'static [&'static str]),
}

/// How `field` of the type called `type_name` (`io.k8s.api.core.v1.PodSpec`) merges; `None` if lists are atomic and maps
/// merge.
#[must_use]
pub fn rule(type_name: &str, field: &str) -> Option<Rule> {
    let short = short(type_name)?;
    let at = data::RULES.partition_point(|(name, other, _)| (*name, *other) < (short, field));
    data::RULES
        .get(at)
        .filter(|(name, other, _)| (*name, *other) == (short, field))
        .map(|(_, _, rule)| *rule)
}

/// What a strategic merge patch does with `field` of the type called `type_name`.
#[must_use]
pub fn strategy(type_name: &str, field: &str) -> Option<Patch> {
    rule(type_name, field)?.patch
}

/// What server-side apply tells apart in `field` of the type called `type_name`.
#[must_use]
pub fn list_type(type_name: &str, field: &str) -> Option<ListType> {
    rule(type_name, field)?.list
}

/// Whether server-side apply owns a value of the type called `type_name` as a whole, in whatever field.
#[must_use]
pub fn is_atomic(type_name: &str) -> bool {
    short(type_name).is_some_and(|short| data::ATOMIC_TYPES.binary_search(&short).is_ok())
}

/// Whether server-side apply owns the map in `field` of the type called `type_name` as a whole.
#[must_use]
pub fn is_atomic_field(type_name: &str, field: &str) -> bool {
    short(type_name).is_some_and(|short| data::ATOMIC_FIELDS.binary_search(&(short, field)).is_ok())
}

/// Whether `field` of the type called `type_name` is owned field by field although its type is atomic elsewhere.
#[must_use]
pub fn is_granular(type_name: &str, field: &str) -> bool {
    short(type_name) == Some("core.v1.PersistentVolumeSpec") && field == "claimRef"
}

/// `core.v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn short(type_name: &str) -> Option<&str> {
    type_name.strip_prefix("io.k8s.api.").or_else(|| {
        // `io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta`
        type_name.strip_prefix("io.k8s.apimachinery.pkg.apis.")
    })
}

impl Patch {
    /// As in `x-kubernetes-patch-strategy`: `merge`, `retainKeys`, `merge,retainKeys`, `replace`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.merge, self.retain_keys) {
            (true, true) => "merge,retainKeys",
            (true, false) => "merge",
            (false, true) => "retainKeys",
            (false, false) => "replace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(data::RULES.is_sorted_by(|(a, b, _), (c, d, _)| (a, b) < (c, d)));
        assert!(data::ATOMIC_TYPES.is_sorted() && data::ATOMIC_FIELDS.is_sorted());
    }

    #[test]
    fn looks_up_types_of_both_trees() {
        let name = |type_name, field| strategy(type_name, field).map(|patch| (patch.name(), patch.key));
        assert_eq!(
            name("io.k8s.api.core.v1.PodSpec", "containers"),
            Some(("merge", Some("name")))
        );
        assert_eq!(
            name("io.k8s.api.core.v1.PodSpec", "volumes"),
            Some(("merge,retainKeys", Some("name")))
        );
        assert_eq!(
            name("io.k8s.api.apps.v1.DeploymentSpec", "strategy"),
            Some(("retainKeys", None))
        );
        assert_eq!(name("io.k8s.api.core.v1.PodSpec", "tolerations"), None);
        let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        assert_eq!(name(meta, "finalizers"), Some(("merge", None)));
        assert_eq!(list_type(meta, "ownerReferences"), Some(ListType::Map(&["uid"])));
        assert_eq!(
            list_type("io.k8s.api.core.v1.ServiceSpec", "ports"),
            Some(ListType::Map(&["port", "protocol"]))
        );
    }

    #[test]
    fn every_rule_of_a_served_type_names_a_field() {
        for (name, field, _) in data::RULES {
            let prefixes = ["io.k8s.api.", "io.k8s.apimachinery.pkg.apis."];
            let mut types = prefixes
                .iter()
                .filter_map(|prefix| crate::types::by_name(&format!("{prefix}{name}")));
            if let Some(kind) = types.next() {
                assert!(kind.fields.contains_key(*field), "{name}.{field}");
            }
        }
    }
}
