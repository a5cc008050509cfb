//! Program and arguments of a container.
//!
//! As with a container image, `command` replaces the image's program, `args` its arguments; the image `nginx` starts the
//! installed nginx with a configuration of our own unless the pod says something else than the image itself would.

use k8s_openapi::api::core::v1::Container;

use super::{Environment, Site, StartError, listen_ports};
use crate::expansion::expand;
use crate::images::{Image, Program};
use crate::nginx;

/// Works out program and arguments, `$(NAME)` replaced.
pub fn build(
    site: &Site<'_>,
    container: &Container,
    image: &Image,
    env: &Environment,
) -> Result<(String, Vec<String>), StartError> {
    let expanded = |words: &[String]| -> Vec<String> {
        words
            .iter()
            .map(|word| expand(word, |name| env.get(name).cloned()))
            .collect()
    };
    let command = expanded(container.command.as_deref().unwrap_or_default());
    let args = expanded(container.args.as_deref().unwrap_or_default());
    let all: Vec<String> = command.iter().chain(&args).cloned().collect();
    let own = || site.program.to_string_lossy().into_owned();
    match &image.program {
        Program::Nginx(nginx) if all.is_empty() || nginx::is_plain_start(&all) => {
            let dir = nginx::folder(site.dir, &container.name);
            let site = nginx::Site {
                ip: site.place.ip,
                ports: &listen_ports(site.place, container, true),
                image: container.image.as_deref().unwrap_or_default(),
                pod: &site.place.name,
                node: site.node,
            };
            let args =
                nginx::configure(&dir, &site).map_err(|source| StartError::Folder { path: dir, source })?;
            Ok((nginx.to_string_lossy().into_owned(), args))
        }
        Program::Webserver(true) if nginx::is_plain_start(&all) => Ok((own(), vec!["webserver".to_owned()])),
        Program::Webserver(_) if command.is_empty() => Ok((
            own(),
            std::iter::once("webserver".to_owned()).chain(args).collect(),
        )),
        Program::User {
            program,
            args: defaults,
            ..
        } if command.is_empty() => Ok((
            program.clone(),
            if args.is_empty() { expanded(defaults) } else { args },
        )),
        _ => match all.split_first() {
            Some((program, rest)) => Ok((program.clone(), rest.to_vec())),
            None => Err(StartError::Create("no command specified".to_owned())),
        },
    }
}
