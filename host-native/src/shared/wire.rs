//! Connections to other servers: backends, the collector, and sources of published keys.

#[cfg_attr(not(feature = "jwks"), path = "wire/absent.rs")]
mod tls;
#[cfg(feature = "jwks")]
mod trust;

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
    task::JoinSet,
};

use self::tls::Tls;
use super::call_failure::CallFailure;

/// A connection, with or without TLS.
trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// The trusted authorities, loaded with the first connection that needs them.
#[derive(Debug, Default)]
pub(crate) struct Trust(Tls);

impl Trust {
    /// Connects to the host of a URL.
    ///
    /// # Errors
    ///
    /// When the host cannot be reached, or its certificate is not trusted.
    async fn connect(&self, uri: &Uri) -> Result<Box<dyn Wire>, CallFailure> {
        let host = uri.host().ok_or("it has no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let has_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        if !has_tls {
            return Ok(Box::new(stream));
        }
        Ok(Box::new(self.0.connect(host, stream).await?))
    }

    /// Sends a request to a URL, on a new connection, without following redirects. The connection
    /// is driven as long as `driver` exists.
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
