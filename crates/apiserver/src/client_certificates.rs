//! The handshake: any client certificate is let through, to be judged afterwards.
//!
//! Flows in: the server's credential and the authority's certificate. Flows out: a TLS configuration that asks for a
//! client certificate but insists on none, and the verifier that says which ones are ours. What is never let through is a
//! client that does not hold the key of the certificate it shows.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use crate::pki::{Credential, PkiError, ServerTls};

/// The TLS of a server with `credential`, whose clients have certificates of `authority` (PEM).
pub(crate) fn server_tls(credential: &Credential, authority: &str) -> Result<ServerTls, PkiError> {
    let refused = |error: &dyn std::fmt::Display| PkiError::Tls(error.to_string());
    let root = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(|error| refused(&error))?;
    let own =
        CertificateDer::from_pem_slice(credential.certificate.as_bytes()).map_err(|error| refused(&error))?;
    let key = PrivateKeyDer::from_pem_slice(credential.key.as_bytes()).map_err(|error| refused(&error))?;
    let mut roots = RootCertStore::empty();
    roots.add(root).map_err(|error| refused(&error))?;
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| refused(&error))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?
        .with_client_cert_verifier(Arc::new(Handshake(clients.clone())))
        .with_single_cert(vec![own], key)
        .map_err(|error| refused(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(ServerTls {
        config: Arc::new(config),
        clients,
    })
}

/// Lets every certificate through whose key the client holds.
#[derive(Debug)]
struct Handshake(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Handshake {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
