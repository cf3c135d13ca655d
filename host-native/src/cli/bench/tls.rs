//! TLS trust for the clients of a load.

use std::io;

use roomcast_load::Tls;
use tokio_rustls::rustls::client::Resumption;

use super::super::client::wire;

/// TLS with a host whose certificate must be signed by an authority that this machine trusts.
///
/// # Errors
///
/// When the machine trusts no authority, or the host's name cannot be in a certificate.
pub(super) fn layers(host: &str) -> io::Result<Tls> {
    let mut config = wire::trust()?;
    // Each connection stands for a different client, which has no session to resume.
    config.resumption = Resumption::disabled();
    Ok(Tls::new(config, wire::server_name(host)?))
}
