//! The connection under a command, with TLS or without.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{InvalidDnsNameError, ServerName},
    },
};

/// A connection, whatever it is made of.
pub(crate) type Wire = Box<dyn Bytes>;

/// Bytes in both directions.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Speaks TLS with a host, whose certificate an authority that this machine trusts must have
/// signed.
///
/// # Errors
///
/// When the machine trusts nobody, or the handshake fails.
pub(super) async fn secured(host: &str, stream: TcpStream) -> io::Result<Wire> {
    let (config, name) = (trust()?, server_name(host)?);
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(Box::new(stream.await?))
}

/// The name that a host must have in its certificate.
///
/// # Errors
///
/// When no certificate can have it.
pub(crate) fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|fault: InvalidDnsNameError| io::Error::other(fault))
}

/// TLS with the authorities that this machine trusts. `SSL_CERT_FILE` names others.
///
/// # Errors
///
/// When the machine trusts nobody.
pub(crate) fn trust() -> io::Result<ClientConfig> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        return Err(match found.errors.into_iter().next() {
            Some(fault) => io::Error::other(fault),
            None => io::Error::other("this machine has no certificates of authorities"),
        });
    }
    // Named here: a default of the process would be everybody's.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
