//! The environment of a container.
//!
//! In this order, later ones win: the Services; PATH and what tells the pod its place; the image's variables; `envFrom`; `env`, where
//! `$(NAME)` may refer to all before it.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource};

use super::{Environment, Objects, Site, StartError, fields, listen_ports, services};
use crate::expansion::expand;
use crate::images::{Image, Program};

/// PATH where the server itself has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds the environment.
pub fn build(
    site: &Site<'_>,
    container: &Container,
    image: &Image,
    objects: &Objects,
) -> Result<Environment, StartError> {
    let mut env = services::variables(site.services);
    env.extend(place(site, container, image));
    if let Program::User { env: variables, .. } = &image.program {
        env.extend(variables.clone());
    }
    for source in container.env_from.iter().flatten() {
        add_all(&mut env, site, source, objects)?;
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(site, container, variable, objects, &env)? {
            env.insert(variable.name.clone(), value);
        }
    }
    Ok(env)
}

/// What tells a program where it is and where to listen.
fn place(site: &Site<'_>, container: &Container, image: &Image) -> Environment {
    let place = site.place;
    let ip = place.ip.to_string();
    let mut env: Environment = [
        ("PATH", std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned())),
        ("HOSTNAME", place.name.clone()),
        ("HOST", ip.clone()),
        ("POD_IP", ip),
        ("POD_NAME", place.name.clone()),
        ("NODE_NAME", site.node.to_owned()),
        ("CORACLE_IMAGE", container.image.clone().unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let mut first = None;
    for port in container.ports.iter().flatten() {
        let Ok(number) = u16::try_from(port.container_port) else {
            continue;
        };
        let key = api::ports::key(number, port.protocol.as_deref().unwrap_or("TCP"));
        let real = place.ports.get(&key).copied().unwrap_or(number);
        env.insert(format!("PORT_{number}"), real.to_string());
        first.get_or_insert(real);
    }
    let implied = matches!(image.program, Program::Nginx(_) | Program::Webserver(_));
    // The first TCP port, for most programs have no other; else the first one.
    let listens = listen_ports(place, container, implied);
    if let Some(first) = listens.first().copied().or(first) {
        env.insert("PORT".to_owned(), first.to_string());
    }
    env
}

fn add_all(
    env: &mut Environment,
    site: &Site<'_>,
    source: &EnvFromSource,
    objects: &Objects,
) -> Result<(), StartError> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    if let Some(reference) = &source.config_map_ref {
        match objects.config_maps.get(&reference.name) {
            Some(map) => {
                let data = map.data.iter().flatten();
                env.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
            }
            None if reference.optional == Some(true) => {}
            None => return Err(missing("configmap", &reference.name)),
        }
    }
    if let Some(reference) = &source.secret_ref {
        match objects.secrets.get(&reference.name) {
            Some(secret) => {
                for (key, value) in secret.data.iter().flatten() {
                    env.insert(format!("{prefix}{key}"), text(site, &reference.name, key, value)?);
                }
            }
            None if reference.optional == Some(true) => {}
            None => return Err(missing("secret", &reference.name)),
        }
    }
    Ok(())
}

fn missing(kind: &str, name: &str) -> StartError {
    StartError::Config(format!("{kind} {name:?} not found"))
}

fn text(site: &Site<'_>, secret: &str, key: &str, value: &ByteString) -> Result<String, StartError> {
    String::from_utf8(value.0.clone()).map_err(|_| {
        let namespace = &site.place.namespace;
        StartError::Config(format!("key {key} in Secret {namespace}/{secret} is not text"))
    })
}

/// The value of a variable; `None` if it is optional and there is none.
fn value(
    site: &Site<'_>,
    container: &Container,
    variable: &EnvVar,
    objects: &Objects,
    env: &Environment,
) -> Result<Option<String>, StartError> {
    match &variable.value_from {
        Some(source) => referenced(site, container, source, objects),
        None => Ok(Some(expand(
            variable.value.as_deref().unwrap_or_default(),
            |name| env.get(name).cloned(),
        ))),
    }
}

fn referenced(
    site: &Site<'_>,
    container: &Container,
    source: &EnvVarSource,
    objects: &Objects,
) -> Result<Option<String>, StartError> {
    let namespace = &site.place.namespace;
    if let Some(reference) = &source.field_ref {
        return fields::field(site, &reference.field_path).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        let about = fields::container_of(site, reference.container_name.as_deref()).unwrap_or(container);
        return fields::resource(site, about, reference).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let (name, key, optional) = (&reference.name, &reference.key, reference.optional == Some(true));
        return match objects.config_maps.get(name) {
            None if optional => Ok(None),
            None => Err(missing("configmap", name)),
            Some(map) => match map.data.as_ref().and_then(|data| data.get(key)) {
                None if optional => Ok(None),
                None => Err(StartError::Config(format!(
                    "couldn't find key {key} in ConfigMap {namespace}/{name}"
                ))),
                Some(value) => Ok(Some(value.clone())),
            },
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let (name, key, optional) = (&reference.name, &reference.key, reference.optional == Some(true));
        return match objects.secrets.get(name) {
            None if optional => Ok(None),
            None => Err(missing("secret", name)),
            Some(secret) => match secret.data.as_ref().and_then(|data| data.get(key)) {
                None if optional => Ok(None),
                None => Err(StartError::Config(format!(
                    "couldn't find key {key} in Secret {namespace}/{name}"
                ))),
                Some(value) => text(site, name, key, value).map(Some),
            },
        };
    }
    Ok(None)
}
