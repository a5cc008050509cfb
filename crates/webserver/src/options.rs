//! What was typed and what the environment says, and what they mean together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::Identity;

/// Where it listens if nothing says where.
const DEFAULT: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The command line of `coracle webserver`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Where to listen [default: $HOST with $PORT and every $PORT_n, or 127.0.0.1:8080]
    #[arg(long, value_name = "IP:PORT", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
    /// Print a line for each request
    #[arg(long)]
    pub access_log: bool,
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Every address to listen on, each once.
    pub listen: BTreeSet<SocketAddr>,
    /// Print a line for each request.
    pub access_log: bool,
    /// Who answers.
    pub identity: Identity,
}

/// A variable of the environment that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value} is not {wanted}")]
pub struct OptionsError {
    variable: String,
    value: String,
    wanted: &'static str,
}

impl Options {
    /// Puts the command line and the environment of a pod together: `HOST`, `PORT` and `PORT_<n>` say where to listen
    /// unless the command line does; `CORACLE_IMAGE`, `POD_NAME` and `NODE_NAME` say who answers.
    pub fn new(args: Args, environment: BTreeMap<String, String>) -> Result<Self, OptionsError> {
        let variable = |name: &str, default: &'static str| {
            environment
                .get(name)
                .map_or_else(|| default.to_owned(), Clone::clone)
        };
        let identity = Identity::new(
            &variable("CORACLE_IMAGE", "webserver"),
            &variable("POD_NAME", "none"),
            &variable("NODE_NAME", "none"),
        );
        let listen = if args.listen.is_empty() {
            listen(&environment)?
        } else {
            args.listen.into_iter().collect()
        };
        Ok(Self {
            listen,
            access_log: args.access_log,
            identity,
        })
    }
}

fn listen(environment: &BTreeMap<String, String>) -> Result<BTreeSet<SocketAddr>, OptionsError> {
    let host = match environment.get("HOST") {
        Some(host) => parse("HOST", host, "an IP address")?,
        None => DEFAULT.0,
    };
    let is_port = |name: &str| {
        name == "PORT"
            || name
                .strip_prefix("PORT_")
                .is_some_and(|number| number.parse::<u16>().is_ok())
    };
    let mut listen = BTreeSet::new();
    for (name, value) in environment.iter().filter(|(name, _)| is_port(name)) {
        listen.insert(SocketAddr::new(host, parse(name, value, "a port number")?));
    }
    if listen.is_empty() {
        listen.insert(SocketAddr::new(host, DEFAULT.1));
    }
    Ok(listen)
}

fn parse<T: std::str::FromStr>(variable: &str, value: &str, wanted: &'static str) -> Result<T, OptionsError> {
    let error = |_| OptionsError {
        variable: variable.to_owned(),
        value: value.to_owned(),
        wanted,
    };
    value.parse().map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(listen: &[&str], environment: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let listen = listen.iter().map(|address| address.parse().unwrap()).collect();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Options::new(
            Args {
                listen,
                access_log: false,
            },
            environment,
        )
        .map(|options| options.listen.iter().map(ToString::to_string).collect())
        .map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_comes_before_the_environment() {
        let pod = [
            ("HOST", "127.10.1.2"),
            ("PORT", "20001"),
            ("PORT_80", "20001"),
            ("PORT_443", "20002"),
        ];
        assert_eq!(
            options(&[], &pod).unwrap(),
            ["127.10.1.2:20001", "127.10.1.2:20002"]
        );
        assert_eq!(options(&["127.0.0.1:1"], &pod).unwrap(), ["127.0.0.1:1"]);
        assert_eq!(options(&[], &[]).unwrap(), ["127.0.0.1:8080"]);
    }

    #[test]
    fn a_bad_variable_is_named() {
        assert_eq!(
            options(&[], &[("PORT", "http")]).unwrap_err(),
            "PORT=http is not a port number"
        );
        assert_eq!(
            options(&[], &[("HOST", "me")]).unwrap_err(),
            "HOST=me is not an IP address"
        );
    }
}
