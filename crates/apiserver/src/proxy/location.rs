//! Where a pod's redirects lead, seen from outside.

use super::target::Target;

/// A `Location` of a pod at `target` as its client must see it: below `prefix`. What leads elsewhere, or is relative, stays.
pub(super) fn rewrite(location: &str, target: Target, prefix: &str) -> String {
    let own = location
        .strip_prefix(target.scheme())
        .and_then(|rest| rest.strip_prefix("://"));
    let path = match own {
        None => location,
        Some(rest) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (host, path) = rest.split_at(end);
            if host != target.address.to_string() {
                return location.to_owned();
            }
            if path.is_empty() { "/" } else { path }
        }
    };
    if !path.starts_with('/') || path.starts_with("//") || path.starts_with(prefix) {
        return path.to_owned();
    }
    format!("{prefix}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_below_the_proxy() {
        let target = Target {
            address: "127.10.1.2:20003".parse().unwrap(),
            tls: false,
        };
        for (location, expected) in [
            ("/login?to=/a", "/p/proxy/login?to=/a"),
            ("http://127.10.1.2:20003/login/", "/p/proxy/login/"),
            ("http://127.10.1.2:20003", "/p/proxy/"),
            ("http://elsewhere/login", "http://elsewhere/login"),
            ("https://127.10.1.2:20003/x", "https://127.10.1.2:20003/x"),
            ("//elsewhere/x", "//elsewhere/x"),
            ("next", "next"),
            ("/p/proxy/done", "/p/proxy/done"),
        ] {
            assert_eq!(rewrite(location, target, "/p/proxy"), expected);
        }
        let secret = Target { tls: true, ..target };
        assert_eq!(rewrite("https://127.10.1.2:20003/x", secret, "/p"), "/p/x");
    }
}
