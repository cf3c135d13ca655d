//! TLS of connections to other servers.

use std::sync::Arc;

use tokio::{net::TcpStream, sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::trust::trust;
use crate::shared::call_failure::CallFailure;

/// The TLS configuration, created with the first connection that needs it.
#[derive(Debug, Default)]
pub(super) struct Tls(OnceCell<Arc<ClientConfig>>);

impl Tls {
    /// Performs the TLS handshake with a host.
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
            // Reading the system's files blocks.
            Ok::<_, CallFailure>(Arc::new(spawn_blocking(trust).await??))
        });
        let connector = TlsConnector::from(config.await?.clone());
        Ok(connector.connect(name, stream).await?)
    }
}
