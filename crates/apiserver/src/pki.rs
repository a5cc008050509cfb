//! Certificates: an authority of our own, the server's certificate, and one for each client.
//!
//! Flows in: a folder. Flows out: an authority that stays the same across starts, a TLS configuration, client
//! certificates. Keys are ECDSA P-256; files are 0600 and appear whole or not at all. Never leaves a key readable to
//! others.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::server::danger::ClientCertVerifier;
use time::{Duration, OffsetDateTime};

use crate::auth::Identity;
use crate::client_certificates;

/// How long the authority lives.
const AUTHORITY_LIFETIME: Duration = Duration::days(3650);

/// How long the certificates that it signs live; they are made anew at every start.
const LIFETIME: Duration = Duration::days(365);

/// The names that the server's certificate is for, beside its addresses.
pub(crate) const SERVER_NAMES: [&str; 4] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
];

/// Clocks differ: certificates are valid from a little before they are made.
const SKEW: Duration = Duration::minutes(5);

/// What can go wrong with certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file of the folder cannot be read or written.
    #[error("cannot use {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A key or certificate cannot be made, or one of the folder is broken.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// An identity with several groups: rcgen writes a name with one O.
    #[error("a certificate names one group")]
    Groups,
    /// The TLS library refuses the certificates.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Credential {
    /// The certificate.
    pub certificate: String,
    /// The private key. Not to be shown.
    pub key: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// What [`crate::ApiServer::serve`] needs: the TLS configuration, and the check of clients' certificates. The latter is
/// apart because a handshake with a bad certificate must succeed, for the client to be told with a Status.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// For the handshake.
    pub config: Arc<rustls::ServerConfig>,
    /// For afterwards.
    pub clients: Arc<dyn ClientCertVerifier>,
}

/// The authority that everybody in the cluster trusts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority in `folder` (`ca.crt`, `ca.key`), made if there is none.
    ///
    /// # Errors
    /// If the folder cannot be read or written, or holds something else than a certificate and its key.
    pub fn open_or_create(folder: &Path) -> Result<Self, PkiError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| at(folder, source))?;
        let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
        if !key.exists() || !certificate.exists() {
            let made = new_authority()?;
            write_private(&key, &made.key)?;
            write_private(&certificate, &made.certificate)?;
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(|source| at(path, source));
        let (certificate, key) = (read(&certificate)?, read(&key)?);
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key)?)?;
        Ok(Self { issuer, certificate })
    }

    /// The authority's certificate, PEM: what clients trust.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a client: CN is the user, O the group.
    ///
    /// # Errors
    /// If the identity has more than one group, or characters that a certificate cannot have.
    pub fn client(&self, identity: &Identity) -> Result<Credential, PkiError> {
        let mut params = leaf(ExtendedKeyUsagePurpose::ClientAuth)?;
        params
            .distinguished_name
            .push(DnType::CommonName, identity.user.as_str());
        match identity.groups.as_slice() {
            [] => {}
            [group] => params
                .distinguished_name
                .push(DnType::OrganizationName, group.as_str()),
            _ => return Err(PkiError::Groups),
        }
        self.sign(&params)
    }

    /// A certificate for the server under `addresses` and its names, and the TLS configuration with it.
    ///
    /// # Errors
    /// If the TLS library refuses the certificates.
    pub fn server(&self, addresses: &[IpAddr]) -> Result<ServerTls, PkiError> {
        let names = SERVER_NAMES.into_iter().map(str::to_owned);
        let names: Vec<String> = names.chain(addresses.iter().map(IpAddr::to_string)).collect();
        let mut params = leaf(ExtendedKeyUsagePurpose::ServerAuth)?;
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        let credential = self.sign(&params)?;
        client_certificates::server_tls(&credential, &self.certificate)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Credential, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Credential {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

pub(crate) fn at(path: &Path, reason: io::Error) -> PkiError {
    PkiError::File {
        path: path.to_owned(),
        reason,
    }
}

fn new_authority() -> Result<Credential, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "coracle");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.not_before = OffsetDateTime::now_utc() - SKEW;
    params.not_after = OffsetDateTime::now_utc() + AUTHORITY_LIFETIME;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Credential {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn leaf(usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params.not_before = OffsetDateTime::now_utc() - SKEW;
    params.not_after = OffsetDateTime::now_utc() + LIFETIME;
    Ok(params)
}

/// Writes a file that only its owner can read, whole or not at all.
///
/// # Errors
/// If the folder cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|source| at(path, source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_authority_stays_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open_or_create(folder.path()).unwrap();
        let again = Authority::open_or_create(folder.path()).unwrap();
        assert_eq!(first.certificate(), again.certificate());
        let mode = fs::metadata(folder.path().join("ca.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_certificate_says_who_it_is_for() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(folder.path()).unwrap();
        let identity = Identity::new("admin", &["system:masters"]);
        let credential = authority.client(&identity).unwrap();
        let pem = x509_parser::pem::parse_x509_pem(credential.certificate.as_bytes())
            .unwrap()
            .1;
        assert_eq!(Identity::of_certificate(&pem.contents), Some(identity));
        assert!(authority.client(&Identity::new("admin", &["a", "b"])).is_err());
    }
}
