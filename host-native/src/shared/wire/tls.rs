//! TLS of connections to other servers.

use std::{io, sync::Arc};

use tokio::{net::TcpStream, sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use crate::shared::call_failure::CallFailure;

/// TLS, from the first connection on that needs it.
#[derive(Debug, Default)]
pub(super) struct Tls(OnceCell<Arc<ClientConfig>>);

impl Tls {
    /// Speaks TLS with a host.
    ///
    /// # Errors
    ///
    /// When its certificate is not trusted.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, CallFailure> {
        let name = ServerName::try_from(host.to_owned())?;
        let config = self.0.get_or_try_init(|| async {
            // Files of the system are read.
            Ok::<_, CallFailure>(Arc::new(spawn_blocking(config).await??))
        });
        let connector = TlsConnector::from(config.await?.clone());
        Ok(connector.connect(name, stream).await?)
    }
}

/// TLS with the authorities that this machine trusts. `SSL_CERT_FILE` names others.
fn config() -> Result<ClientConfig, CallFailure> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        let none = || io::Error::other("this machine has no certificates of authorities");
        let fault = found.errors.into_iter().next();
        return Err(fault.map_or_else(|| none().into(), Into::into));
    }
    // Named here: a default of the process would be everybody's.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
