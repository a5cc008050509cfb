//! The user's part of the catalogue: `images.yaml` in the data folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// An image that the user added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// `name`, which stands for every tag, or `name:tag`.
    pub name: String,
    /// Path of the program, or its name to be looked up in PATH.
    pub program: String,
    /// Arguments when the pod gives none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables; the pod's come after and win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The signal that asks it to stop, `SIGQUIT`; SIGTERM if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// It is not a list of images.
    #[error("{path} is not a list of images: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why, with line and column.
        reason: serde_yaml::Error,
    },
    /// It cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The name of an image to be added is malformed.
    #[error(
        "{0:?} is not an image name: use lower-case letters, digits, '.', '_', '-' and '/', then ':tag' if you like"
    )]
    Name(String),
    /// The stop signal of an image to be added does not exist.
    #[error("{0:?} is not a signal: use a name such as SIGTERM or SIGQUIT")]
    Signal(String),
}

/// The user's images. A file that does not exist has none.
pub fn list(path: &Path) -> Result<Vec<Entry>, FileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(reason) => {
            return Err(FileError::Read {
                path: path.to_owned(),
                reason,
            });
        }
    };
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_yaml::from_str(&text).map_err(|reason| FileError::Parse {
        path: path.to_owned(),
        reason,
    })
}

/// Adds an image, or replaces the one of this name. Agents see it at their next look.
pub fn add(path: &Path, entry: Entry) -> Result<(), FileError> {
    if super::Reference::parse(&entry.name).is_none_or(|reference| reference.digest.is_some()) {
        return Err(FileError::Name(entry.name));
    }
    if let Some(signal) = entry.stop_signal.as_deref()
        && super::signal_number(signal).is_none()
    {
        return Err(FileError::Signal(signal.to_owned()));
    }
    let mut entries = list(path)?;
    entries.retain(|other| other.name != entry.name);
    entries.push(entry);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    replace(path, &entries)
}

/// Removes an image; `false` if there was none of this name.
pub fn remove(path: &Path, name: &str) -> Result<bool, FileError> {
    let mut entries = list(path)?;
    let before = entries.len();
    entries.retain(|entry| entry.name != name);
    if entries.len() == before {
        return Ok(false);
    }
    replace(path, &entries)?;
    Ok(true)
}

fn replace(path: &Path, entries: &[Entry]) -> Result<(), FileError> {
    let write = || -> io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let temporary = path.with_extension("yaml.new");
        let mut file = File::create(&temporary)?;
        file.write_all(
            serde_yaml::to_string(entries)
                .map_err(io::Error::other)?
                .as_bytes(),
        )?;
        file.sync_all()?;
        fs::rename(temporary, path)
    };
    write().map_err(|reason| FileError::Write {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_added_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("images.yaml");
        assert_eq!(list(&path).unwrap(), []);
        let mut entry = Entry {
            name: "shop:2".into(),
            program: "/bin/shop".into(),
            ..Default::default()
        };
        add(&path, entry.clone()).unwrap();
        entry.args = vec!["--fast".into()];
        add(&path, entry.clone()).unwrap();
        assert_eq!(list(&path).unwrap(), [entry]);
        assert!(remove(&path, "shop:2").unwrap());
        assert!(!remove(&path, "shop:2").unwrap());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("images.yaml");
        let entry = Entry {
            name: "Shop".into(),
            program: "x".into(),
            ..Default::default()
        };
        assert!(matches!(add(&path, entry.clone()), Err(FileError::Name(_))));
        let entry = Entry {
            name: "shop".into(),
            stop_signal: Some("SIGFOO".into()),
            ..entry
        };
        assert!(matches!(add(&path, entry), Err(FileError::Signal(_))));
        fs::write(&path, "- name: a\n  program: b\n  oops: c\n").unwrap();
        assert!(list(&path).unwrap_err().to_string().contains("line 3"));
    }
}
