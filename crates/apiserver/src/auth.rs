//! Who asks, and whether a browser was tricked into asking.
//!
//! Flows in: client certificates and headers (tokens are `token`'s business). Flows out: an identity, or a refusal. There are no permissions yet: a
//! credential of ours is enough.

use std::collections::BTreeMap;

use http::{HeaderMap, header};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::status::Failure;

/// Who asks. The doors put it into a request's extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `admin`, `system:kube-scheduler`
    pub user: String,
    /// `system:masters`
    pub groups: Vec<String>,
    /// The uid of a service account; people have none.
    pub uid: String,
    /// What else the credential says: `authentication.kubernetes.io/credential-id`.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// An identity without `system:authenticated`, which every identity is given at the door.
    #[must_use]
    pub fn new(user: &str, groups: &[&str]) -> Self {
        Self {
            user: user.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// The identity that a verified client certificate stands for: CN is the user, each O a group.
    pub(crate) fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().ok().map(str::to_owned)
        };
        let user = subject
            .iter_common_name()
            .find_map(text)
            .filter(|user| !user.is_empty())?;
        Some(Self {
            user,
            groups: subject.iter_organization().filter_map(text).collect(),
            ..Self::default()
        })
    }

    /// With the group that everyone with a credential is in.
    pub(crate) fn authenticated(mut self) -> Self {
        let everyone = "system:authenticated";
        if !self.groups.iter().any(|group| group == everyone) {
            self.groups.push(everyone.to_owned());
        }
        self
    }

    /// As reviews tell it.
    pub(crate) fn to_user_info(&self) -> Value {
        let mut user = json!({ "username": self.user, "groups": self.groups });
        if !self.uid.is_empty() {
            user["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            user["extra"] = json!(self.extra);
        }
        user
    }
}

/// Refuses what a web page of another site makes a browser send: such requests name their origin.
pub(crate) fn check_origin(headers: &HeaderMap, host: Option<&str>) -> Result<(), Failure> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let own = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or(host);
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.strip_prefix("https://"));
    if origin.is_some() && origin == own {
        Ok(())
    } else {
        Err(Failure::CrossOrigin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_ask() {
        let check = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:7443".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            check_origin(&headers, None)
        };
        assert!(check(None).is_ok());
        assert!(check(Some("https://127.0.0.1:7443")).is_ok());
        for origin in ["https://evil.example", "http://127.0.0.1:7443", "null"] {
            assert_eq!(check(Some(origin)), Err(Failure::CrossOrigin), "{origin}");
        }
    }
}
