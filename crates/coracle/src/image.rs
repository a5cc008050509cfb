//! `coracle image`: the user's side of the image catalogue.
//!
//! It edits `images.yaml` in the data folder; node agents see the change at their next look-up, no restart is needed.

use std::process::ExitCode;

use agent::images::{self, Entry, Images};
use anyhow::bail;
use clap::Subcommand;

use crate::cli::ClusterArgs;
use crate::data_dir::DataDir;
use crate::output;

/// What to do with the catalogue.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Let an image name stand for a program
    Add {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// `name`, which stands for every tag, or `name:tag`
        name: String,
        /// Environment variable for the program; may be given several times
        #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
        env: Vec<(String, String)>,
        /// The signal that asks the program to stop [default: SIGTERM]
        #[arg(long, value_name = "SIGNAL")]
        stop_signal: Option<String>,
        /// The program, and its arguments when a pod gives none; $(PORT) and $(HOST) say where to listen
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    /// List the images there are
    List {
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Forget an image of yours
    Remove {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// The name, as it was added
        name: String,
    },
}

/// Does it.
pub fn run(command: ImageCommand) -> anyhow::Result<ExitCode> {
    match command {
        ImageCommand::Add {
            cluster,
            name,
            env,
            stop_signal,
            program,
        } => {
            let data_dir = DataDir::new(cluster.data_dir)?;
            data_dir.create()?;
            if name == "host" || name.starts_with("host:") {
                bail!("the image `host` runs a pod's command as it is given, and cannot be another program");
            }
            let mut words = program.into_iter();
            let Some(program) = words.next() else {
                bail!("say which program: -- PROGRAM ARGS...")
            };
            if images::find_program(&program).is_none() {
                eprintln!(
                    "warning: there is no program {program} on this machine yet: pods of it will not start"
                );
            }
            let file = Images::file(data_dir.root());
            let known = images::list(&file)?.iter().any(|entry| entry.name == name);
            let entry = Entry {
                name: name.clone(),
                program,
                args: words.collect(),
                env: env.into_iter().collect(),
                stop_signal,
            };
            images::add(&file, entry)?;
            output::line(format_args!(
                "image {name} {}",
                if known { "replaced" } else { "added" }
            ))?;
        }
        ImageCommand::List { cluster } => list(&DataDir::new(cluster.data_dir)?)?,
        ImageCommand::Remove { cluster, name } => {
            let data_dir = DataDir::new(cluster.data_dir)?;
            if !images::remove(&Images::file(data_dir.root()), &name)? {
                bail!("there is no image {name:?} of yours: `coracle image list` shows what there is");
            }
            output::line(format_args!("image {name} removed"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(data_dir: &DataDir) -> anyhow::Result<()> {
    let mut rows = vec![("IMAGE".to_owned(), "PROGRAM".to_owned())];
    for entry in images::list(&Images::file(data_dir.root()))? {
        let words: Vec<&str> = std::iter::once(entry.program.as_str())
            .chain(entry.args.iter().map(String::as_str))
            .collect();
        rows.push((entry.name, words.join(" ")));
    }
    rows.extend(images::BUILT_IN.map(|(name, what)| (name.to_owned(), what.to_owned())));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, program) in rows {
        output::line(format_args!("{name:width$}   {program}"))?;
    }
    Ok(())
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give it as NAME=VALUE".to_owned()),
    }
}
