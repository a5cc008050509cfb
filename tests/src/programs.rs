//! Where the programs are that tests run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The built `coracle`: `$CORACLE`, else the one that cargo put beside this test.
pub fn coracle() -> PathBuf {
    if let Some(path) = std::env::var_os("CORACLE") {
        return path.into();
    }
    beside("coracle")
}

/// A program of this repository that cargo put beside this one.
pub fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    // Tests are in target/PROFILE/deps, our own program beside it.
    let path = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{name} is not built: `cargo build` does it, or run scripts/test.sh"))
}

/// A program of the machine.
pub fn find(name: &str) -> PathBuf {
    try_find(name)
        .unwrap_or_else(|| panic!("{name} is not installed: run scripts/test.sh, which installs it"))
}

fn try_find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // nginx and haproxy are in sbin, which an ordinary user's PATH may lack.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Minor version of the oldest kubectl that is supported in full.
const OLDEST: u32 = 29;

/// The kubectl that a user would run, or else one that scripts/test.sh fetched.
pub fn kubectl() -> PathBuf {
    let fetched = || kubectls().pop().map(|(_, path)| path);
    try_find("kubectl")
        .or_else(fetched)
        .unwrap_or_else(|| find("kubectl"))
}

/// The oldest supported kubectl (1.29 is the first) and the newest to be found.
pub fn oldest_and_newest_kubectl() -> Vec<PathBuf> {
    let mut all = kubectls();
    all.retain(|(minor, _)| *minor >= OLDEST);
    assert!(
        !all.is_empty(),
        "no kubectl of 1.29 or newer: run scripts/test.sh, which fetches some"
    );
    let newest = all.pop().map(|(_, path)| path);
    let oldest = all.into_iter().next().map(|(_, path)| path);
    oldest.into_iter().chain(newest).collect()
}

/// Every kubectl to be found, whether it is supported or not.
pub fn every_kubectl() -> Vec<PathBuf> {
    let all = kubectls();
    assert!(
        !all.is_empty(),
        "no kubectl: run scripts/test.sh, which fetches some"
    );
    all.into_iter().map(|(_, path)| path).collect()
}

/// Every kubectl by minor version: beside the one in PATH, as `kubectl.1.NN`, and in target/tools.
fn kubectls() -> Vec<(u32, PathBuf)> {
    let beside = try_find("kubectl").and_then(|path| path.canonicalize().ok());
    let folders = beside
        .and_then(|path| Some(path.parent()?.to_owned()))
        .into_iter()
        .chain([tools()]);
    let files = folders
        .filter_map(|folder| folder.read_dir().ok())
        .flatten()
        .filter_map(Result::ok);
    let mut found: Vec<_> = files
        .filter_map(|file| {
            let minor = file
                .file_name()
                .to_str()?
                .strip_prefix("kubectl.1.")?
                .parse()
                .ok()?;
            Some((minor, file.path()))
        })
        .collect();
    if found.is_empty()
        && let Some(only) = try_find("kubectl")
    {
        found.extend(minor_version(&only).map(|minor| (minor, only)));
    }
    found.sort();
    found
}

/// The minor version that a kubectl tells of itself.
pub fn minor_version(kubectl: &Path) -> Option<u32> {
    let output = Command::new(kubectl)
        .args(["version", "--client", "-o", "json"])
        .output()
        .ok()?;
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    version["clientVersion"]["minor"]
        .as_str()?
        .trim_end_matches('+')
        .parse()
        .ok()
}

/// A file of `tests/clients`.
pub fn client(name: &str) -> PathBuf {
    repository().join("tests/clients").join(name)
}

/// A library or program that scripts/test.sh fetched.
fn fetched(name: &str) -> PathBuf {
    let path = tools().join(name);
    assert!(
        path.exists(),
        "{} is not there: run scripts/test.sh, which fetches it",
        path.display()
    );
    path
}

/// A Python that has the official client library.
pub fn python_client() -> Command {
    let mut python = Command::new(find("python3"));
    python.env("PYTHONPATH", fetched("python"));
    python
}

/// @kubernetes/client-node, for Node's `import`.
pub fn node_library() -> PathBuf {
    fetched("node_modules/@kubernetes/client-node/dist/index.js")
}

/// Where scripts/test.sh puts what it fetches.
fn tools() -> PathBuf {
    repository().join("target/tools")
}

/// A manifest of the folder `examples`. Node ports are left to the cluster: other clusters may run on this machine.
pub fn example(name: &str) -> String {
    let path = repository().join("examples").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !line.trim_start().starts_with("nodePort: "));
    lines.collect()
}

/// The top of the repository.
pub fn repository() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map(Path::to_owned).unwrap_or(tests)
}
