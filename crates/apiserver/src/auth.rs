//! Who asks, and whether a browser was tricked into asking.
//!
//! Flows in: client certificates and headers (tokens are `token`'s business). Flows out: an identity, or a refusal. There are no permissions yet: a
//! credential of ours is enough.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::pki::SERVER_NAMES;
use crate::status::{Failure, Subject};

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

/// Refuses what a web page of another site makes a browser send: requests under a name of that site, which it has led here
/// (DNS rebinding), and requests that name it as their origin. Only the names of our certificate and loopback addresses are
/// ours, at any port: a tunnel may have another. A client that names no host is no browser.
pub(crate) fn check_site(headers: &HeaderMap, uri: &Uri) -> Result<(), Failure> {
    let named = headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let asked = uri.authority().map(|authority| authority.as_str().as_bytes());
    let hosts: Vec<&[u8]> = named.chain(asked).collect();
    if let Some(foreign) = hosts.iter().find(|host| !is_ours(host)) {
        return Err(Failure::BadRequest(format!(
            "the host {:?} is not a name of this server: ask 127.0.0.1, localhost or kubernetes.default.svc",
            String::from_utf8_lossy(foreign)
        )));
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.as_bytes().strip_prefix(b"https://");
    if origin.is_some() && origin == hosts.first().copied() {
        Ok(())
    } else {
        Err(Failure::CrossOrigin)
    }
}

/// Whether a host, with or without a port, is one of the server's own.
fn is_ours(host: &[u8]) -> bool {
    let Ok(host) = Authority::try_from(host) else {
        return false;
    };
    let host = host.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    match address {
        Ok::<IpAddr, _>(address) => address.is_loopback(),
        Err(_) => SERVER_NAMES.iter().any(|name| host.eq_ignore_ascii_case(name)),
    }
}

/// Refuses to act for somebody else: whoever asks for that counts on that other's permissions, and there are none.
pub(crate) fn check_impersonation(headers: &HeaderMap) -> Result<(), Failure> {
    let names = [
        ("impersonate-user", "users"),
        ("impersonate-group", "groups"),
        ("impersonate-uid", "uids"),
    ];
    let mut named = names
        .into_iter()
        .filter_map(|(header, kind)| Some((headers.get(header)?, kind)));
    let Some((name, kind)) = named.next() else {
        return Ok(());
    };
    Err(Failure::Forbidden {
        subject: Subject {
            group: String::new(),
            kind: kind.to_owned(),
            name: name.to_str().unwrap_or_default().to_owned(),
        },
        why: "impersonation is not supported".to_owned(),
        causes: Vec::new(),
    })
}
