//! The path of a field, as causes name it: `spec.containers[0].image`.
//!
//! Lives on the stack while validation descends; becomes text only when something is wrong.

use std::fmt;

/// A path, as a chain to the root.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// The object itself.
    pub const ROOT: Path<'static> = Path {
        parent: None,
        part: Part::Root,
    };

    /// A field of what this path leads to; may have dots of its own.
    #[must_use]
    pub const fn field(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            part: Part::Field(name),
        }
    }

    /// An item of the list.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            part: Part::Index(index),
        }
    }

    /// An entry of the map.
    #[must_use]
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            part: Part::Key(key),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        if let Some(parent) = self.parent {
            is_first = matches!(parent.part, Part::Root);
            write!(f, "{parent}")?;
        }
        match self.part {
            Part::Root => Ok(()),
            Part::Field(name) if is_first => f.write_str(name),
            Part::Field(name) => write!(f, ".{name}"),
            Part::Index(index) => write!(f, "[{index}]"),
            Part::Key(key) => write!(f, "[{key}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_upstream_does() {
        let (spec, containers) = (Path::ROOT.field("spec"), "containers");
        let list = spec.field(containers);
        assert_eq!(
            list.index(0).field("image").to_string(),
            "spec.containers[0].image"
        );
        assert_eq!(spec.key("cpu").to_string(), "spec[cpu]");
        assert_eq!(Path::ROOT.to_string(), "");
    }
}
