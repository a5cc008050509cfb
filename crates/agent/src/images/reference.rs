//! Image names: `[registry/][library/]name[:tag]`.

/// A parsed image name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name without Docker Hub's prefixes, `nginx` for `docker.io/library/nginx`.
    pub name: String,
    /// The tag, if one was given.
    pub tag: Option<String>,
    /// The digest, if one was given.
    pub digest: Option<String>,
}

impl Reference {
    /// Parses an image name by the rules of the distribution project's reference grammar; `None` if it is malformed.
    pub fn parse(image: &str) -> Option<Self> {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return None,
            None => (image, None),
        };
        // A colon before the last slash belongs to a registry's port.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if !tag.is_none_or(is_tag) {
            return None;
        }
        let name = path.strip_prefix("docker.io/").unwrap_or(path);
        let name = name.strip_prefix("library/").unwrap_or(name);
        let (registry, segments) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
            _ => (None, name),
        };
        let is_valid = registry.is_none_or(is_registry) && segments.split('/').all(is_segment);
        is_valid.then(|| Self {
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_registry(registry: &str) -> bool {
    registry
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".:-".contains(&byte))
}

fn is_segment(segment: &str) -> bool {
    let is_alphanumeric =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = segment.as_bytes();
    is_alphanumeric(bytes.first())
        && is_alphanumeric(bytes.last())
        && bytes
            .iter()
            .all(|byte| is_alphanumeric(Some(byte)) || b"._-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(image: &str) -> Option<(String, Option<String>)> {
        Reference::parse(image).map(|reference| (reference.name, reference.tag))
    }

    #[test]
    fn names_lose_docker_hubs_prefixes() {
        for image in [
            "nginx:1.8",
            "library/nginx:1.8",
            "docker.io/nginx:1.8",
            "docker.io/library/nginx:1.8",
        ] {
            assert_eq!(
                parsed(image),
                Some(("nginx".into(), Some("1.8".into()))),
                "{image}"
            );
        }
        assert_eq!(
            parsed("localhost:5000/app"),
            Some(("localhost:5000/app".into(), None))
        );
        assert_eq!(
            parsed("my.registry:5000/a/b:2"),
            Some(("my.registry:5000/a/b".into(), Some("2".into())))
        );
    }

    #[test]
    fn malformed_names_are_refused() {
        for image in [
            "",
            "Nginx",
            "nginx:",
            "nginx:a b",
            "nginx@x",
            "-nginx",
            "nginx/",
            "a//b",
            "nginx:-1",
        ] {
            assert_eq!(Reference::parse(image), None, "{image}");
        }
    }
}
