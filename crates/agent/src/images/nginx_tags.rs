//! Which tags of the image `nginx` there are.
//!
//! There is no registry to ask, and a rollout to a mistyped version must stall as it does with one. So a tag is known if
//! nginx released that version (<https://nginx.org/en/CHANGES>), if it names a series (`1.8`, `1`), or a moving tag
//! (`latest`, `stable`, `mainline`), each with the usual variants (`-alpine`, `-perl`, `-bookworm` ...). Of series that
//! were still growing when this table was written every plausible patch number is taken on trust.

/// Last patch release of 1.0, 1.1, 1.2 ...
const LAST_PATCH: [u32; 28] = [
    15, 19, 9, 16, 7, 13, 3, 12, 1, 15, 3, 13, 2, 12, 2, 12, 1, 10, 0, 10, 2, 6, 1, 4, 0, 5, 3, 5,
];
/// The newest series that is believed without being in the table.
const LAST_SERIES: u32 = 39;
/// The highest patch number that is believed in such a series: none had more than 20.
const LAST_PLAUSIBLE_PATCH: u32 = 20;

const MOVING: [&str; 3] = ["latest", "stable", "mainline"];
const VARIANTS: [&str; 5] = ["alpine", "slim", "perl", "otel", "debian"];
const DEBIAN: [&str; 6] = ["jessie", "stretch", "buster", "bullseye", "bookworm", "trixie"];

/// Whether there is an image `nginx` with this tag.
pub fn is_known(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    (is_version(first) || MOVING.contains(&first) || is_variant(first)) && parts.all(is_variant)
}

fn is_variant(part: &str) -> bool {
    let is_alpine_release = part
        .strip_prefix("alpine3.")
        .is_some_and(|minor| number(minor).is_some());
    VARIANTS.contains(&part) || DEBIAN.contains(&part) || is_alpine_release
}

fn is_version(version: &str) -> bool {
    let Some(numbers) = version.split('.').map(number).collect::<Option<Vec<u32>>>() else {
        return false;
    };
    let (&[1, ref rest @ ..], true) = (numbers.as_slice(), numbers.len() <= 3) else {
        return false;
    };
    let Some(&minor) = rest.first() else { return true };
    let table = usize::try_from(minor)
        .ok()
        .and_then(|index| LAST_PATCH.get(index));
    let last = table
        .copied()
        .or((minor <= LAST_SERIES).then_some(LAST_PLAUSIBLE_PATCH));
    last.is_some_and(|last| rest.get(1).is_none_or(|&patch| patch <= last))
}

/// A number as versions write it: without sign or leading zero.
fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_versions_and_moving_tags_are_known() {
        for tag in [
            "1",
            "1.7.9",
            "1.8",
            "1.9.1",
            "1.14.2",
            "1.16.1",
            "1.25",
            "1.27.5",
            "1.29.3",
            "latest",
            "stable",
            "mainline",
            "alpine",
            "1.21-alpine",
            "1.25.3-alpine3.18-slim",
            "stable-alpine-perl",
            "1.27-bookworm",
            "alpine-slim",
        ] {
            assert!(is_known(tag), "{tag}");
        }
    }

    #[test]
    fn others_are_not() {
        for tag in [
            "1.161",
            "1.8.2",
            "1.16.2",
            "1.91",
            "2",
            "2.0",
            "0.9",
            "1.7.9.1",
            "1.07.9",
            "1.",
            "",
            "lates",
            "v1.8",
            "1.8-alpin",
            "1.8-",
            "1.16-1",
            "+1.8",
        ] {
            assert!(!is_known(tag), "{tag}");
        }
    }
}
