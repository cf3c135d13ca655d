//! Trust of the clients of a load.

use std::io;

use roomcast_load::Tls;
use tokio_rustls::rustls::client::Resumption;

use super::super::client::wire;

/// TLS with a host whose certificate an authority that this machine trusts must have signed.
///
/// # Errors
///
/// When the machine trusts nobody, or the host has no name for a certificate.
pub(super) fn layers(host: &str) -> io::Result<Tls> {
    let mut config = wire::trust()?;
    // Each connection stands for another client.
    config.resumption = Resumption::disabled();
    Ok(Tls::new(config, wire::server_name(host)?))
}
