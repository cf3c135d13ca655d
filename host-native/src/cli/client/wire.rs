//! The connection under a command, with TLS or without.

#[path = "../../shared/wire/trust.rs"]
mod trust;

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::pki_types::{InvalidDnsNameError, ServerName},
};

pub(crate) use self::trust::trust;

/// A connection of any kind.
pub(crate) type Wire = Box<dyn Bytes>;

/// A stream of bytes in both directions.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Performs the TLS handshake with a host, whose certificate must be signed by an authority that
/// this machine trusts.
///
/// # Errors
///
/// When the machine trusts no authority, or the handshake fails.
pub(super) async fn secured(host: &str, stream: TcpStream) -> io::Result<Wire> {
    let (config, name) = (trust()?, server_name(host)?);
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(Box::new(stream.await?))
}

/// The name that a host must have in its certificate.
///
/// # Errors
///
/// When no certificate can contain such a name.
pub(crate) fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|fault: InvalidDnsNameError| io::Error::other(fault))
}
