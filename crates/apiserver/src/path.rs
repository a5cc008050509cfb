//! Kubernetes' paths: a fixed grammar, read by one small parser.
//!
//! Flows in: the path of a request. Flows out: what it names. Never knows which kinds exist.

use percent_encoding::percent_decode_str;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `/healthz`, `/livez`, `/readyz`, or `ping`, the one check below each of them.
    Health(&'static str),
    /// `/`
    Index,
    /// `/version`
    Version,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/<group>`
    Group(String),
    /// `/api/v1` (empty group), `/apis/<group>/<version>`
    Resources {
        /// Empty for the core group.
        group: String,
        /// `v1`
        version: String,
    },
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/<path>`: `api/v1`, `apis/apps/v1`
    OpenApi(String),
    /// `/openapi/v2`
    OpenApiV2,
    /// A collection of objects, an object, or a part of one.
    Object(ObjectPath),
    /// Not a path of ours.
    Unknown,
}

/// The path of a collection, an object or a subresource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectPath {
    /// Empty for the core group.
    pub group: String,
    /// `v1`
    pub version: String,
    /// The namespace, where the path has one.
    pub namespace: Option<String>,
    /// `pods`
    pub plural: String,
    /// The object's name, unless the path is a collection's.
    pub name: Option<String>,
    /// `status`, `scale`, `log` ...
    pub subresource: Option<String>,
    /// What follows the subresource `proxy`, as it came: empty, or with a slash at its beginning.
    pub rest: String,
}

impl Path {
    /// Reads a path. Percent-encoding is undone; what is not UTF-8 afterwards is unknown.
    pub fn parse(path: &str) -> Self {
        if let Some((proxy, rest)) = split_proxy(path) {
            return match Self::segments(proxy) {
                Self::Object(object) => Self::Object(ObjectPath {
                    rest: rest.to_owned(),
                    ..object
                }),
                _ => Self::Unknown,
            };
        }
        Self::segments(path)
    }

    fn segments(path: &str) -> Self {
        let mut segments = Vec::new();
        for segment in path.trim_start_matches('/').trim_end_matches('/').split('/') {
            match percent_decode_str(segment).decode_utf8() {
                Ok(segment) if !segment.contains(['/', '\0']) => segments.push(segment.into_owned()),
                _ => return Self::Unknown,
            }
        }
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["healthz"] => Self::Health("healthz"),
            ["livez"] => Self::Health("livez"),
            ["readyz"] => Self::Health("readyz"),
            ["healthz" | "livez" | "readyz", "ping"] => Self::Health("ping"),
            [""] => Self::Index,
            ["version"] => Self::Version,
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["api", version] => Self::Resources {
                group: String::new(),
                version: (*version).to_owned(),
            },
            ["apis", group] => Self::Group((*group).to_owned()),
            ["apis", group, version] => Self::Resources {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
            },
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3"] => Self::OpenApiIndex,
            ["openapi", "v3", rest @ ..] => Self::OpenApi(rest.join("/")),
            ["api", version, rest @ ..] => object("", version, rest),
            ["apis", group, version, rest @ ..] => object(group, version, rest),
            _ => Self::Unknown,
        }
    }
}

/// A path that ends with `/proxy` and what follows it, where that is the pod's, Service's or node's own business.
fn split_proxy(path: &str) -> Option<(&str, &str)> {
    let mut words = path.strip_prefix("/api/v1/")?.splitn(3, '/');
    let rest = match (words.next()?, words.next()?, words.next()?) {
        ("nodes", _node, rest) => rest.strip_prefix("proxy")?,
        ("namespaces", _namespace, rest) => {
            let mut words = rest.splitn(3, '/');
            let (kind, _name, rest) = (words.next()?, words.next()?, words.next()?);
            let is_proxied = matches!(kind, "pods" | "services");
            rest.strip_prefix("proxy").filter(|_| is_proxied)?
        }
        _ => return None,
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let length = rest.len();
    path.split_at_checked(path.len() - length)
}

/// The part of a path after group and version.
fn object(group: &str, version: &str, rest: &[&str]) -> Path {
    let (namespace, rest) = match rest {
        // The namespace itself, and its own parts.
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        _ => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(name), None),
        [plural, name, part] => (plural, Some(name), Some(part)),
        _ => return Path::Unknown,
    };
    if rest.iter().chain(&namespace).any(|word| word.is_empty()) {
        return Path::Unknown;
    }
    Path::Object(ObjectPath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        plural: (*plural).to_owned(),
        name: name.map(|word| (*word).to_owned()),
        subresource: subresource.map(|word| (*word).to_owned()),
        rest: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object_path(path: &str) -> ObjectPath {
        match Path::parse(path) {
            Path::Object(object) => object,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn collections_objects_and_parts() {
        let pods = object_path("/api/v1/namespaces/default/pods");
        assert_eq!(
            (pods.namespace.as_deref(), pods.plural.as_str(), pods.name),
            (Some("default"), "pods", None)
        );
        let scale = object_path("/apis/apps/v1/namespaces/a/deployments/web/scale");
        assert_eq!(scale.group, "apps");
        assert_eq!(
            (scale.name.as_deref(), scale.subresource.as_deref()),
            (Some("web"), Some("scale"))
        );
        let all = object_path("/api/v1/pods");
        assert_eq!((all.namespace, all.name), (None, None));
    }

    #[test]
    fn a_namespace_is_an_object_and_a_folder() {
        let itself = object_path("/api/v1/namespaces/default");
        assert_eq!(
            (itself.plural.as_str(), itself.name.as_deref()),
            ("namespaces", Some("default"))
        );
        let finalize = object_path("/api/v1/namespaces/default/finalize");
        assert_eq!(finalize.subresource.as_deref(), Some("finalize"));
        let bindings = object_path("/api/v1/namespaces/default/bindings");
        assert_eq!(
            (bindings.namespace.as_deref(), bindings.plural.as_str()),
            (Some("default"), "bindings")
        );
    }

    #[test]
    fn what_a_proxy_is_asked_for_stays_as_it_is() {
        let rest = |path: &str| {
            let object = object_path(&format!("/api/v1/namespaces/a/services/http:web:80/proxy{path}"));
            assert_eq!(object.name.as_deref(), Some("http:web:80"));
            assert_eq!(object.subresource.as_deref(), Some("proxy"));
            object.rest
        };
        for path in ["", "/", "/a//b%2Fc/", "/proxy/x"] {
            assert_eq!(rest(path), path);
        }
    }

    #[test]
    fn encoding_is_undone_and_nonsense_is_unknown() {
        assert_eq!(
            object_path("/api/v1/namespaces/default/events/a%2Eb")
                .name
                .as_deref(),
            Some("a.b")
        );
        assert_eq!(Path::parse("/"), Path::Index);
        for path in [
            "/foo",
            "/api/v1/namespaces//pods",
            "/api/v1/a/b/c/d/e",
            "/api/v1/pods/a%2Fb/%ff",
        ] {
            assert_eq!(Path::parse(path), Path::Unknown, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(path in ".*") {
            let _ = Path::parse(&path);
        }
    }
}
