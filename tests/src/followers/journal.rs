//! Every write to what is followed, by its revision.

use std::collections::BTreeMap;

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Created it.
    Add,
    /// Changed it.
    Update,
    /// Deleted it.
    Delete,
}

impl Change {
    /// The followers' word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// The writes, by revision: what was done, and to which ConfigMap. A deletion is under a revision that is at least its
/// own, and before anything else that was written to its name.
pub type Journal = BTreeMap<u64, (Change, String)>;
