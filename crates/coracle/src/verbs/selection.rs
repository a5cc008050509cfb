//! What a person points at on the command line: `pods`, `deploy,rs web`, `deploy/web pod/x`.

use anyhow::bail;

use super::catalogue::{Catalogue, Resource};

/// What the arguments after a verb select.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection {
    /// Whole kinds.
    Kinds(Vec<Resource>),
    /// Single objects, in the order they were named.
    Objects(Vec<(Resource, String)>),
}

impl Selection {
    /// Reads `KIND[,KIND...] [NAME...]` or `KIND/NAME...`.
    ///
    /// # Errors
    /// On a mixture of both forms, an unknown kind or an empty name.
    pub fn parse(arguments: &[String], catalogue: &Catalogue) -> anyhow::Result<Self> {
        let Some((kinds, names)) = arguments.split_first() else {
            bail!("You must specify the type of resource, as in `pods` or `deployment/NAME`");
        };
        if arguments.iter().any(|argument| argument.contains('/')) {
            return slashed(arguments, catalogue).map(Self::Objects);
        }
        let mut resources: Vec<Resource> = Vec::new();
        for kind in kinds.split(',').filter(|kind| !kind.is_empty()) {
            for resource in catalogue.resolve(kind)? {
                if !resources.contains(resource) {
                    resources.push(resource.clone());
                }
            }
        }
        if names.is_empty() {
            return Ok(Self::Kinds(resources));
        }
        let pairs = resources
            .iter()
            .flat_map(|kind| names.iter().map(|name| (kind.clone(), name.clone())));
        Ok(Self::Objects(pairs.collect()))
    }

    /// Reads arguments that must name objects, as those of `scale` and `rollout` must.
    ///
    /// # Errors
    /// As [`Selection::parse`], and when whole kinds are named.
    pub fn objects(arguments: &[String], catalogue: &Catalogue) -> anyhow::Result<Vec<(Resource, String)>> {
        match Self::parse(arguments, catalogue)? {
            Self::Objects(objects) => Ok(objects),
            Self::Kinds(_) => bail!("resource(s) were provided, but no name was specified"),
        }
    }
}

fn slashed(arguments: &[String], catalogue: &Catalogue) -> anyhow::Result<Vec<(Resource, String)>> {
    arguments
        .iter()
        .map(|argument| {
            let Some((kind, name)) = argument.split_once('/') else {
                bail!("there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'get resource/<resource_name>' instead of 'get resource resource/<resource_name>'");
            };
            if kind.is_empty() || name.is_empty() || name.contains('/') {
                bail!("arguments in resource/name form must have a single resource and name");
            }
            match catalogue.resolve(kind)?.as_slice() {
                [resource] => Ok(((*resource).clone(), name.to_owned())),
                _ => bail!("arguments in resource/name form must have a single resource and name"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::tests::catalogue;
    use super::*;

    fn parse(arguments: &[&str]) -> anyhow::Result<Vec<String>> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(match Selection::parse(&arguments, &catalogue())? {
            Selection::Kinds(kinds) => kinds.iter().map(Resource::label).collect(),
            Selection::Objects(objects) => objects
                .iter()
                .map(|(kind, name)| format!("{}/{name}", kind.label()))
                .collect(),
        })
    }

    #[test]
    fn kinds_names_and_slashes() {
        assert_eq!(
            parse(&["po,deploy,pods"]).expect("kinds"),
            ["pod", "deployment.apps"]
        );
        assert_eq!(parse(&["all"]).expect("category"), ["pod", "deployment.apps"]);
        assert_eq!(parse(&["po", "a", "b"]).expect("names"), ["pod/a", "pod/b"]);
        assert_eq!(
            parse(&["deploy/a", "po/b"]).expect("slashes"),
            ["deployment.apps/a", "pod/b"]
        );
    }

    #[test]
    fn mixtures_and_empty_names_are_refused() {
        for wrong in [
            &["po", "deploy/a"][..],
            &["po/"],
            &["/a"],
            &["po/a/b"],
            &["all/a"],
            &["nope"],
            &[],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
