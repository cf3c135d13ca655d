//! TLS of the generator: the certificate of the measured server is its own authority.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, RootCertStore, SupportedCipherSuite};

/// A configuration that trusts the certificate in a file, and resumes nothing: each connection
/// stands for another client.
pub fn config(certificate: &str) -> ClientConfig {
    let certificate = CertificateDer::from_pem_file(certificate).expect("a certificate in PEM");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let mut provider = ring::default_provider();
    // First what browsers ask for first.
    let is_later =
        |suite: &SupportedCipherSuite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(is_later);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.expect("the provider has them");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// The name in the certificate.
pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}
