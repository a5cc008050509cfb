//! `get`: shows objects as the server's tables, as YAML, JSON or names; with `-w` also what changes.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use futures::TryStreamExt as _;
use kube::Client;
use kube::core::WatchEvent;
use kube::core::params::{ListParams, WatchParams};
use serde::Serialize as _;
use serde_json::{Value, json};

use super::catalogue::{Catalogue, Resource};
use super::rest::Objects;
use super::selection::Selection;
use super::table::{Printer, Style, Table};
use super::{Namespace, failure};
use crate::output;

/// Arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// KIND[,KIND...] [NAME...], or KIND/NAME...; `all` for the usual kinds
    #[arg(required = true)]
    what: Vec<String>,
    #[command(flatten)]
    namespace: Namespace,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels: `app=nginx`, `env in (a,b)`, `!draft`
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Go on and show every change
    #[arg(short, long)]
    watch: bool,
    /// How to show the objects
    #[arg(short, long)]
    output: Option<Format>,
}

/// How objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With more columns.
    Wide,
    /// As YAML.
    Yaml,
    /// As JSON.
    Json,
    /// As KIND/NAME.
    Name,
}

/// Shows what was asked for.
///
/// # Errors
/// When the server refuses, or for a kind that it does not have.
pub async fn run(args: GetArgs, client: Client) -> anyhow::Result<ExitCode> {
    let catalogue = Catalogue::load(&client).await?;
    let selection = Selection::parse(&args.what, &catalogue)?;
    let get = Get {
        args: &args,
        client: &client,
    };
    if args.watch {
        return get.watch(selection).await;
    }
    match args.output {
        None | Some(Format::Wide) => get.tables(selection).await,
        Some(format) => get.objects(selection, format).await,
    }
}

struct Get<'a> {
    args: &'a GetArgs,
    client: &'a Client,
}

impl Get<'_> {
    fn namespace(&self) -> Option<&str> {
        (!self.args.all_namespaces).then(|| self.args.namespace.or_default(self.client))
    }

    fn at(&self, resource: &Resource) -> Objects<'_> {
        Objects::new(self.client, resource, self.namespace())
    }

    fn list_params(&self) -> ListParams {
        ListParams {
            label_selector: self.args.selector.clone(),
            ..ListParams::default()
        }
    }

    fn printer(&self, resource: &Resource, several_kinds: bool) -> Printer {
        Printer::new(Style {
            wide: self.args.output == Some(Format::Wide),
            namespace: self.args.all_namespaces && resource.namespaced,
            kind: several_kinds.then(|| resource.label()),
        })
    }

    /// Prints one table for each kind, a blank line between them.
    async fn tables(&self, selection: Selection) -> anyhow::Result<ExitCode> {
        let (groups, code) = self.fetch_tables(selection).await?;
        let several = groups.len() > 1;
        let texts: Vec<String> = groups
            .iter()
            .map(|(resource, tables)| self.printer(resource, several).lines(tables))
            .filter(|text| !text.is_empty())
            .collect();
        if texts.is_empty() && code == ExitCode::SUCCESS {
            let all_cluster_scoped = groups.iter().all(|(resource, _)| !resource.namespaced);
            match self.namespace().filter(|_| !all_cluster_scoped) {
                Some(namespace) => eprintln!("No resources found in {namespace} namespace."),
                None => eprintln!("No resources found"),
            }
        }
        output::text_of(texts.join("\n"))?;
        Ok(code)
    }

    /// The tables of each kind, in the order asked for. Objects that do not exist are told on stderr.
    async fn fetch_tables(
        &self,
        selection: Selection,
    ) -> anyhow::Result<(Vec<(Resource, Vec<Table>)>, ExitCode)> {
        let mut groups: Vec<(Resource, Vec<Table>)> = Vec::new();
        let mut code = ExitCode::SUCCESS;
        match selection {
            Selection::Kinds(kinds) => {
                for resource in kinds {
                    let table = self.at(&resource).list_table(&self.list_params()).await?;
                    groups.push((resource, vec![table]));
                }
            }
            Selection::Objects(objects) => {
                self.refuse_everywhere()?;
                for (resource, name) in objects {
                    match self.at(&resource).get_table(&name).await {
                        Ok(table) => match groups.last_mut() {
                            Some((last, tables)) if *last == resource => tables.push(table),
                            _ => groups.push((resource, vec![table])),
                        },
                        Err(error) => {
                            failure::print(&error.into());
                            code = ExitCode::FAILURE;
                        }
                    }
                }
            }
        }
        Ok((groups, code))
    }

    fn refuse_everywhere(&self) -> anyhow::Result<()> {
        if self.args.all_namespaces {
            bail!("a resource cannot be retrieved by name across all namespaces");
        }
        if self.args.selector.is_some() {
            bail!("name cannot be provided when a selector is specified");
        }
        Ok(())
    }

    /// Prints whole objects: one as it is, several as a List.
    async fn objects(&self, selection: Selection, format: Format) -> anyhow::Result<ExitCode> {
        let mut found: Vec<(Resource, Value)> = Vec::new();
        let mut single = false;
        match selection {
            Selection::Kinds(kinds) => {
                for resource in kinds {
                    let mut list = self.at(&resource).list(&self.list_params()).await?;
                    let Value::Array(items) = list["items"].take() else {
                        continue;
                    };
                    for mut item in items {
                        // Items of a list come without their type.
                        item["apiVersion"] = json!(resource.api_version());
                        item["kind"] = json!(resource.kind);
                        found.push((resource.clone(), item));
                    }
                }
            }
            Selection::Objects(objects) => {
                self.refuse_everywhere()?;
                single = objects.len() == 1;
                for (resource, name) in objects {
                    let object = self.at(&resource).get(&name).await?;
                    found.push((resource, object));
                }
            }
        }
        output::text_of(written(found, single, format)?)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Shows a kind and then its changes, until interrupted.
    async fn watch(&self, selection: Selection) -> anyhow::Result<ExitCode> {
        let (resource, name) = match selection {
            Selection::Kinds(mut kinds) if kinds.len() == 1 => (kinds.remove(0), None),
            Selection::Objects(mut objects) if objects.len() == 1 => {
                let (resource, name) = objects.remove(0);
                (resource, Some(name))
            }
            _ => bail!("watch is only supported on individual resources and resource collections"),
        };
        if !matches!(self.args.output, None | Some(Format::Wide)) {
            bail!("a watch is shown as a table only: use no -o, or -o wide");
        }
        let field_selector = name.map(|name| format!("metadata.name={name}"));
        let list = ListParams {
            field_selector: field_selector.clone(),
            ..self.list_params()
        };
        let watch = WatchParams {
            field_selector,
            label_selector: self.args.selector.clone(),
            ..WatchParams::default()
        };
        let objects = self.at(&resource);
        let mut printer = self.printer(&resource, false);
        let first = objects.list_table(&list).await?;
        let mut version = first.metadata.resource_version.clone();
        output::text_of(printer.lines(&[first]))?;
        // A server ends a watch now and then; it goes on where it was.
        loop {
            let mut events = std::pin::pin!(objects.watch_table(&watch, &version).await?);
            while let Some(event) = events.try_next().await? {
                match event {
                    WatchEvent::Added(table) | WatchEvent::Modified(table) | WatchEvent::Deleted(table) => {
                        if let Some(row) = table.rows.last() {
                            let latest = row.object["metadata"]["resourceVersion"].as_str();
                            version = latest.map_or(version, str::to_owned);
                        }
                        output::text_of(printer.lines(&[table]))?;
                    }
                    WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                    WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
                }
            }
        }
    }
}

fn written(mut found: Vec<(Resource, Value)>, single: bool, format: Format) -> anyhow::Result<String> {
    if format == Format::Name {
        let name = |(resource, object): &(Resource, Value)| {
            format!(
                "{}/{}\n",
                resource.label(),
                object["metadata"]["name"].as_str().unwrap_or_default()
            )
        };
        return Ok(found.iter().map(name).collect());
    }
    for (_, object) in &mut found {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    let mut objects: Vec<Value> = found.into_iter().map(|(_, object)| object).collect();
    let whole = match objects.pop() {
        Some(only) if single => only,
        last => {
            objects.extend(last);
            json!({"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}})
        }
    };
    if format == Format::Yaml {
        return Ok(serde_yaml::to_string(&whole)?);
    }
    let mut text = Vec::new();
    let four_spaces = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    whole.serialize(&mut serde_json::Serializer::with_formatter(
        &mut text,
        four_spaces,
    ))?;
    text.push(b'\n');
    Ok(String::from_utf8(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> (Resource, Value) {
        let resource = Resource {
            singular: "pod".into(),
            ..Resource::default()
        };
        (
            resource,
            json!({"metadata": {"name": name, "managedFields": []}, "kind": "Pod"}),
        )
    }

    #[test]
    fn one_object_stands_alone_and_several_become_a_list() {
        let one = written(vec![pod("a")], true, Format::Yaml).expect("yaml");
        assert_eq!(one, "kind: Pod\nmetadata:\n  name: a\n");
        let two = written(vec![pod("a"), pod("b")], false, Format::Yaml).expect("yaml");
        assert!(
            two.starts_with("apiVersion: v1\nitems:\n- kind: Pod\n") && two.contains("kind: List"),
            "{two}"
        );
        assert_eq!(
            written(vec![pod("a"), pod("b")], false, Format::Name).expect("names"),
            "pod/a\npod/b\n"
        );
        let json = written(vec![pod("a")], true, Format::Json).expect("json");
        assert_eq!(
            json,
            "{\n    \"kind\": \"Pod\",\n    \"metadata\": {\n        \"name\": \"a\"\n    }\n}\n"
        );
    }
}
