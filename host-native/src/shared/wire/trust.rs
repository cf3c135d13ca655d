//! The trusted certificate authorities, for connections of the server to others, and of commands to
//! the server. The binary compiles this file a second time.

use std::{io, sync::Arc};

use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// A TLS configuration with the authorities that this machine trusts, or those in `SSL_CERT_FILE`.
/// Work: reads files of the system.
///
/// # Errors
///
/// When the machine trusts no authority.
pub(crate) fn trust() -> io::Result<ClientConfig> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        let fault = found.errors.into_iter().next();
        return Err(fault.map_or_else(
            || io::Error::other("this machine has no certificates of authorities"),
            io::Error::other,
        ));
    }
    // Set explicitly: a process-wide default would affect the whole program.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
