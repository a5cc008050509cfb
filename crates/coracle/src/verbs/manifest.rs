//! Manifests: files, folders or standard input with one or more YAML (or JSON) documents.
//!
//! Flows in: the arguments of `-f`. Flows out: one JSON object for each document, with the place it came from.
//! A mistake in the text is told with its line and column; duplicate keys are mistakes.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize as _;
use serde_json::Value;

/// One object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The file it was read from, or `STDIN`.
    pub source: String,
    /// The object as it was written.
    pub object: Value,
}

impl Manifest {
    /// `metadata.name`; empty if there is none.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`
    pub fn namespace(&self) -> Option<&str> {
        self.object["metadata"]["namespace"].as_str()
    }

    /// `apiVersion`
    pub fn api_version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or_default()
    }

    /// `kind`
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }
}

/// Reads everything that `names` name: files, folders (their `.yaml`, `.yml` and `.json` files, sorted by name), `-`.
///
/// # Errors
/// When something cannot be read, is not YAML, or is no Kubernetes object.
pub fn read(names: &[String]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for name in names {
        if name == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
            manifests.extend(parse("STDIN", &text)?);
            continue;
        }
        for file in files(Path::new(name))? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            manifests.extend(parse(&file.display().to_string(), &text)?);
        }
    }
    Ok(manifests)
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.exists() {
        bail!("the path \"{}\" does not exist", path.display());
    }
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_manifest(path))
        .collect();
    if files.is_empty() {
        bail!(
            "error reading [{}]: recognized file extensions are [.json .yaml .yml]",
            path.display()
        );
    }
    files.sort();
    Ok(files)
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.is_file() && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// The objects of `text`; items of Lists one by one, empty documents left out.
///
/// # Errors
/// When `text` is not YAML or a document is no Kubernetes object.
pub fn parse(source: &str, text: &str) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        // By way of serde_yaml's own value, because that one refuses duplicate keys.
        let object =
            serde_yaml::Value::deserialize(document).with_context(|| format!("error parsing {source}"))?;
        if object.is_null() {
            continue;
        }
        let object = serde_json::to_value(object).with_context(|| format!("error parsing {source}"))?;
        for object in flatten(object) {
            for field in ["Kind", "apiVersion"] {
                let key = if field == "Kind" { "kind" } else { field };
                if object[key].as_str().is_none_or(str::is_empty) {
                    bail!("unable to decode \"{source}\": Object '{field}' is missing in '{object}'");
                }
            }
            manifests.push(Manifest {
                source: source.to_owned(),
                object,
            });
        }
    }
    Ok(manifests)
}

fn flatten(mut object: Value) -> Vec<Value> {
    let is_list = object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match object.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        Some(other) => {
            object["items"] = other;
            vec![object]
        }
        None => vec![object],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse("a.yaml", text)
            .expect("valid")
            .iter()
            .map(|manifest| manifest.name().to_owned())
            .collect()
    }

    #[test]
    fn documents_lists_and_json() {
        let one = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
        assert_eq!(names(&format!("{one}---\n---\n{one}")), ["a", "a"]);
        assert_eq!(
            names("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n"),
            ["b"]
        );
        assert_eq!(
            names(r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"}}"#),
            ["c"]
        );
        assert!(names("# nothing\n").is_empty());
    }

    #[test]
    fn mistakes_have_a_place() {
        let broken = parse("a.yaml", "kind: Pod\nmetadata:\n  name: [a\nspec: {}\n").expect_err("not YAML");
        let text = format!("{broken:#}");
        assert!(
            text.starts_with("error parsing a.yaml: ") && text.contains("line 4 column 5"),
            "{text}"
        );
        let twice = parse("a.yaml", "kind: Pod\nkind: Service\n").expect_err("duplicate key");
        assert!(
            format!("{twice:#}").contains("duplicate entry with key \"kind\""),
            "{twice:#}"
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let error = parse("a.yaml", "apiVersion: v1\n").expect_err("no kind");
        assert_eq!(
            error.to_string(),
            r#"unable to decode "a.yaml": Object 'Kind' is missing in '{"apiVersion":"v1"}'"#
        );
        assert!(parse("a.yaml", "just text\n").is_err());
    }
}
