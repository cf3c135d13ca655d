//! The request for published keys.

use std::error::Error;

/// A fetch that failed; its text is for the log.
pub(super) type FetchFailure = Box<dyn Error + Send + Sync>;

#[cfg(feature = "jwks")]
pub(super) use self::client::get;

/// Without the feature there is no such setting.
#[cfg(not(feature = "jwks"))]
#[allow(clippy::unused_async)] // as with the feature
pub(super) async fn get(_: &roomcast_token::JwksUrl) -> Result<(u16, Vec<u8>), FetchFailure> {
    Err("this server is built without the feature `jwks`".into())
}

#[cfg(feature = "jwks")]
mod client {
    use std::{io, sync::Arc};

    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Limited};
    use hyper::{
        Request, Uri,
        client::conn::http1,
        header::{ACCEPT, HOST, USER_AGENT},
    };
    use hyper_util::rt::TokioIo;
    use roomcast_token::{JwksUrl, limits::JWKS_BYTES_MAX};
    use tokio::{
        io::{AsyncRead, AsyncWrite},
        net::TcpStream,
        task::{JoinSet, spawn_blocking},
    };
    use tokio_rustls::{
        TlsConnector,
        rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
    };

    use super::FetchFailure;

    trait Wire: AsyncRead + AsyncWrite + Unpin {}

    impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

    /// Asks for the keys once, without following a redirect; gives the status and the body, which
    /// is empty with any other status than 200.
    ///
    /// # Errors
    ///
    /// When there is no answer, or a longer one than a set of keys has.
    pub(in super::super) async fn get(url: &JwksUrl) -> Result<(u16, Vec<u8>), FetchFailure> {
        let uri: Uri = url.as_str().parse()?;
        let (host, authority) = uri.host().zip(uri.authority()).ok_or("it has no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let has_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        let wire: Box<dyn Wire> = if has_tls {
            let name = ServerName::try_from(host.to_owned())?;
            // Files of the system are read.
            let config = spawn_blocking(tls).await??;
            Box::new(
                TlsConnector::from(Arc::new(config))
                    .connect(name, stream)
                    .await?,
            )
        } else {
            Box::new(stream)
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
        // It ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn_local(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(HOST, authority.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("roomcast/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        if status != 200 {
            return Ok((status, Vec::new()));
        }
        let body = Limited::new(response.into_body(), JWKS_BYTES_MAX).collect();
        Ok((status, body.await?.to_bytes().to_vec()))
    }

    /// TLS with the authorities that this machine trusts. `SSL_CERT_FILE` names others.
    fn tls() -> Result<ClientConfig, FetchFailure> {
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
}
