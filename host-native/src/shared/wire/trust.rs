//! The authorities whose certificates are trusted: of servers that this one asks or tells, and of
//! the server that a command talks to. The binary compiles this file a second time.

use std::{io, sync::Arc};

use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// TLS with the authorities that this machine trusts. `SSL_CERT_FILE` names others. Work: files of
/// the system are read.
///
/// # Errors
///
/// When the machine trusts nobody.
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
    // Named here: a default of the process would be everybody's.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
