//! The image catalogue: turns an image's name into a program on this machine.
//!
//! Built in are `nginx` (the installed one, else the stand-in web server), `webserver` (the stand-in) and `host` (no
//! program: the pod's `command` is run as it is given). The user's own come from a file, are looked at first, and are
//! seen as soon as the file has changed. An image that is in neither is unknown, as one that no registry has.

mod nginx_tags;
mod reference;
mod user_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use parking_lot::Mutex;

pub use reference::Reference;
pub use user_file::{Entry, FileError, add, list, remove};

/// The built-in images, and what each runs: for [`list`] to be shown beside.
pub const BUILT_IN: [(&str, &str); 3] = [
    (
        "nginx",
        "the installed nginx, else the stand-in web server; the tags that nginx has released",
    ),
    ("webserver", "the stand-in web server; any tag"),
    ("host", "no program: the pod's command is run as it is given"),
];

/// What an image runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The installed nginx, with a configuration of our own.
    Nginx(PathBuf),
    /// The stand-in web server; `true` if it stands in for an nginx that is not installed.
    Webserver(bool),
    /// Whatever the pod's `command` says.
    Host,
    /// A program of the user's.
    User {
        /// Its name or path.
        program: String,
        /// Arguments when the pod gives none.
        args: Vec<String>,
        /// Environment variables.
        env: BTreeMap<String, String>,
    },
}

/// An image that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it runs.
    pub program: Program,
    /// Number of the signal that asks it to stop.
    pub stop_signal: i32,
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The name is malformed.
    #[error(
        "Failed to apply default image tag \"{0}\": couldn't parse image name \"{0}\": invalid reference format"
    )]
    InvalidName(String),
    /// No such image.
    #[error(
        "image \"{0}\" is not in the image catalogue: add it with `coracle image add {0} -- PROGRAM ARGS...`"
    )]
    Unknown(String),
    /// The built-in nginx has no such tag.
    #[error(
        "there is no image \"{0}\": nginx has released no such version (to run a program of yours under this \
         name, add it with `coracle image add {0} -- PROGRAM ARGS...`)"
    )]
    NotReleased(String),
    /// The catalogue's file cannot be used.
    #[error("{0}")]
    Catalogue(String),
}

/// The catalogue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Images {
    file: PathBuf,
    nginx: Option<PathBuf>,
    user: Arc<Mutex<User>>,
}

#[derive(Debug, Default)]
struct User {
    seen: Option<(SystemTime, u64)>,
    entries: Vec<Entry>,
}

impl Images {
    /// The catalogue of a data folder, with the nginx that is installed on this machine.
    pub fn new(data_dir: &Path) -> Self {
        Self::with_nginx(data_dir, find_program("nginx"))
    }

    /// The catalogue of a data folder, with this nginx or none.
    pub fn with_nginx(data_dir: &Path, nginx: Option<PathBuf>) -> Self {
        Self {
            file: Self::file(data_dir),
            nginx,
            user: Arc::default(),
        }
    }

    /// The file with the user's images: for [`add`], [`list`] and [`remove`].
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join("images.yaml")
    }

    /// Looks an image up.
    pub fn resolve(&self, image: &str) -> Result<Image, ImageError> {
        let reference = Reference::parse(image).ok_or_else(|| ImageError::InvalidName(image.to_owned()))?;
        let unknown = || ImageError::Unknown(image.to_owned());
        if reference.digest.is_some() {
            // There is nothing a digest could be compared with.
            return Err(unknown());
        }
        if let Some(entry) = self.user_entry(&reference)? {
            let Entry {
                program,
                args,
                env,
                stop_signal,
                ..
            } = entry;
            let stop_signal = stop_signal
                .as_deref()
                .and_then(signal_number)
                .unwrap_or(Signal::SIGTERM as i32);
            return Ok(Image {
                program: Program::User { program, args, env },
                stop_signal,
            });
        }
        let (program, stop_signal) = match (reference.name.as_str(), reference.tag.as_deref(), &self.nginx) {
            ("nginx", Some(tag), _) if !nginx_tags::is_known(tag) => {
                return Err(ImageError::NotReleased(format!("nginx:{tag}")));
            }
            ("nginx", _, Some(nginx)) => (Program::Nginx(nginx.clone()), Signal::SIGQUIT),
            ("nginx", _, None) => (Program::Webserver(true), Signal::SIGQUIT),
            ("webserver", ..) => (Program::Webserver(false), Signal::SIGTERM),
            ("host", ..) => (Program::Host, Signal::SIGTERM),
            _ => return Err(unknown()),
        };
        Ok(Image {
            program,
            stop_signal: stop_signal as i32,
        })
    }

    /// Whether an image serves HTTP on port 80 though its pod declares no port, as the real one would.
    pub fn implies_port_80(&self, image: &str) -> bool {
        Reference::parse(image).is_some_and(|reference| {
            let is_built_in = matches!(reference.name.as_str(), "nginx" | "webserver");
            is_built_in && self.user_entry(&reference).is_ok_and(|entry| entry.is_none())
        })
    }

    /// The user's image of this name and tag, else the one that stands for all tags.
    fn user_entry(&self, reference: &Reference) -> Result<Option<Entry>, ImageError> {
        let mut user = self.user.lock();
        // Size too: two changes may come within one tick of the file system's clock.
        let seen = std::fs::metadata(&self.file)
            .and_then(|meta| Ok((meta.modified()?, meta.len())))
            .ok();
        if seen != user.seen {
            user.entries = list(&self.file).map_err(|error| ImageError::Catalogue(error.to_string()))?;
            user.seen = seen;
        }
        let with_tag = format!(
            "{}:{}",
            reference.name,
            reference.tag.as_deref().unwrap_or("latest")
        );
        let find = |name: &str| user.entries.iter().find(|entry| entry.name == name).cloned();
        Ok(find(&with_tag).or_else(|| find(&reference.name)))
    }
}

/// The number of a signal by its name, with or without `SIG`.
pub fn signal_number(name: &str) -> Option<i32> {
    let name = if name.starts_with("SIG") {
        name.to_owned()
    } else {
        format!("SIG{name}")
    };
    Signal::from_str(&name).ok().map(|signal| signal as i32)
}

/// A program by its path or in PATH, or where systems keep servers, which an ordinary user's PATH may not name.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    let mut candidates = std::env::split_paths(&path)
        .chain(usual)
        .map(|dir| dir.join(name));
    candidates
        .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_images_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::with_nginx(dir.path(), Some("/usr/sbin/nginx".into()));
        let nginx = images.resolve("nginx:1.7.9").unwrap();
        assert_eq!(nginx.program, Program::Nginx("/usr/sbin/nginx".into()));
        assert_eq!(nginx.stop_signal, Signal::SIGQUIT as i32);
        assert_eq!(
            images.resolve("webserver:7").unwrap().program,
            Program::Webserver(false)
        );
        assert_eq!(images.resolve("host").unwrap().program, Program::Host);
        assert!(matches!(images.resolve("Nginx"), Err(ImageError::InvalidName(_))));
        let without = Images::with_nginx(dir.path(), None);
        assert_eq!(
            without.resolve("nginx").unwrap().program,
            Program::Webserver(true)
        );
    }

    #[test]
    fn what_is_unknown_is_told_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::with_nginx(dir.path(), None);
        let said = |image: &str| images.resolve(image).unwrap_err().to_string();
        for image in ["nginx:1.161", "docker.io/library/nginx:9.9.9"] {
            let said = said(image);
            assert!(said.contains("nginx has released no such version"), "{said}");
            let name = image.trim_start_matches("docker.io/library/");
            assert!(said.contains(&format!("`coracle image add {name} -- ")), "{said}");
        }
        let shop = said("shop:2");
        assert!(
            shop.contains("not in the image catalogue") && shop.contains("`coracle image add shop:2 -- "),
            "{shop}"
        );
    }

    #[test]
    fn the_users_images_come_first_and_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::with_nginx(dir.path(), None);
        assert!(images.resolve("shop:2").is_err());
        let file = Images::file(dir.path());
        for name in ["shop", "shop:2", "nginx:1.161"] {
            add(
                &file,
                Entry {
                    name: name.into(),
                    program: name.into(),
                    ..Default::default()
                },
            )
            .unwrap();
        }
        let program = |image: &str| match images.resolve(image).unwrap().program {
            Program::User { program, .. } => program,
            other => panic!("{other:?}"),
        };
        assert_eq!(program("shop:1"), "shop");
        assert_eq!(program("shop:2"), "shop:2");
        assert_eq!(program("nginx:1.161"), "nginx:1.161");
        assert!(remove(&file, "shop").unwrap());
        assert!(images.resolve("shop:1").is_err());
    }
}
