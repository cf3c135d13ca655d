//! Connections to servers that this one asks or tells.

use std::{io, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, Uri,
    body::Incoming,
    client::conn::http1,
    header::{HOST, USER_AGENT},
    http::request,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OnceCell,
    task::{JoinSet, spawn_blocking},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::call_failure::CallFailure;

/// A connection, by TLS or not.
trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// TLS, from the first connection on that needs it.
#[derive(Debug, Default)]
pub(crate) struct Trust(OnceCell<Arc<ClientConfig>>);

impl Trust {
    /// Connects to the host of a URL.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or its certificate is not trusted.
    async fn connect(&self, uri: &Uri) -> Result<Box<dyn Wire>, CallFailure> {
        let host = uri.host().ok_or("it has no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let has_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        if !has_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.to_owned())?;
        let config = self.0.get_or_try_init(|| async {
            // Files of the system are read.
            Ok::<_, CallFailure>(Arc::new(spawn_blocking(tls).await??))
        });
        let connector = TlsConnector::from(config.await?.clone());
        Ok(Box::new(connector.connect(name, stream).await?))
    }

    /// Sends a request to a URL, on a connection of its own, without following a redirect. The
    /// connection is driven for as long as `driver` lives.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub(crate) async fn send(
        &self,
        uri: &Uri,
        request: request::Builder,
        body: Bytes,
        driver: &mut JoinSet<Result<(), hyper::Error>>,
    ) -> Result<Response<Incoming>, CallFailure> {
        let authority = uri.authority().ok_or("it has no host")?;
        let wire = self.connect(uri).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
        driver.spawn_local(connection);
        let request = request
            .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(HOST, authority.as_str())
            .header(USER_AGENT, concat!("roomcast/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))?;
        Ok(sender.send_request(request).await?)
    }
}

/// TLS with the authorities that this machine trusts. `SSL_CERT_FILE` names others.
fn tls() -> Result<ClientConfig, CallFailure> {
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
