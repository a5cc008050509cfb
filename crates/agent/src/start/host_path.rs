//! Volumes of the kind hostPath: is the path what its `type` says, and is it to be made?
//!
//! Checks and texts are upstream's (`pkg/volume/hostpath`), at each start of a container. Never touches a path that is there.

use std::fs::{self, DirBuilder, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

/// The volume's path; an error says in one sentence why there is none.
pub fn prepare(source: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let made = match kind {
        "DirectoryOrCreate" if !path.exists() => make_dir(path).map_err(|error| ("mkdir", error)),
        "FileOrCreate" if !path.exists() => make_file(path).map_err(|error| ("open", error)),
        _ => Ok(()),
    };
    made.map_err(|(act, error)| format!("{act} {}: {error}", source.path))?;
    let (is_so, what): (fn(&FileType) -> bool, _) = match kind {
        "" => return Ok(path.to_owned()),
        "Directory" | "DirectoryOrCreate" => (FileType::is_dir, "directory"),
        "File" | "FileOrCreate" => (FileType::is_file, "file"),
        "Socket" => (FileType::is_socket, "socket file"),
        "CharDevice" => (FileType::is_char_device, "character device"),
        "BlockDevice" => (FileType::is_block_device, "block device"),
        other => return Err(format!("{other} is an invalid volume type")),
    };
    if fs::metadata(path).is_ok_and(|found| is_so(&found.file_type())) {
        Ok(path.to_owned())
    } else {
        let path = &source.path;
        Err(format!("hostPath type check failed: {path} is not a {what}"))
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn make_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // Another container may make it at the same moment.
    options.write(true).create(true).truncate(false).mode(0o644);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn check(path: &Path, kind: &str) -> Result<PathBuf, String> {
        prepare(&HostPathVolumeSource {
            path: path.to_str().unwrap().to_owned(),
            type_: Some(kind.to_owned()),
        })
    }

    #[test]
    fn a_path_is_what_its_type_says() {
        let dir = tempfile::tempdir().unwrap();
        let (file, socket) = (dir.path().join("file"), dir.path().join("socket"));
        fs::write(&file, "content").unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let null = Path::new("/dev/null");
        let missing = dir.path().join("missing");
        for (kind, what, good) in [
            ("Directory", "directory", vec![dir.path()]),
            ("DirectoryOrCreate", "directory", vec![dir.path()]),
            ("File", "file", vec![&*file, &*link]),
            ("FileOrCreate", "file", vec![&*file, &*link]),
            ("Socket", "socket file", vec![&*socket]),
            ("CharDevice", "character device", vec![null]),
            ("BlockDevice", "block device", vec![]),
        ] {
            let or_create = kind.ends_with("OrCreate");
            let all = [dir.path(), &*file, &*link, &*socket, null, &*missing];
            for path in all.into_iter().filter(|path| !or_create || *path != &*missing) {
                let expected = if good.contains(&path) {
                    Ok(path.to_owned())
                } else {
                    Err(format!(
                        "hostPath type check failed: {} is not a {what}",
                        path.display()
                    ))
                };
                assert_eq!(check(path, kind), expected, "{kind}");
            }
        }
        assert_eq!(check(&missing, ""), Ok(missing.clone()));
        assert!(!missing.exists(), "no type asks for nothing");
        assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    }

    #[test]
    fn what_is_to_be_made_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let (deep, file) = (dir.path().join("a/b"), dir.path().join("file"));
        for _ in 0..2 {
            assert_eq!(check(&deep, "DirectoryOrCreate"), Ok(deep.clone()));
            assert_eq!(check(&file, "FileOrCreate"), Ok(file.clone()));
        }
        // What the umask takes away is not ours to give.
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert!(deep.is_dir() && file.is_file());
        assert_eq!((mode(&deep) & !0o755, mode(&file) & !0o644), (0, 0));
        // Parents of a file are not made, as upstream.
        let orphan = dir.path().join("none/file");
        let error = check(&orphan, "FileOrCreate").unwrap_err();
        assert!(
            error.starts_with(&format!("open {}: ", orphan.display())),
            "{error}"
        );
    }
}
