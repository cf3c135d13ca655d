//! The address of the server beside a health check, from their shared environment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::{
    client::{endpoint::Endpoint, failure::Failure},
    serve::ServeArgs,
};

/// Finds the address. The administration listener is preferred, if there is one, because it answers
/// even when the server is full.
///
/// # Errors
///
/// A [`Failure`] when the variables are wrong, or give port 0.
pub(super) fn endpoint() -> Result<Endpoint, Failure> {
    let settings = ServeArgs::of_environment()?;
    let (listen, tls, name) = match settings.admin_listen {
        Some(admin) => (admin, settings.admin_tls, "--admin-listen"),
        None => (settings.listen, settings.tls_cert.is_some(), "--listen"),
    };
    if listen.port() == 0 {
        return Err(Failure::usage(format_args!(
            "{name} has port 0, and so another one at each start: give the port, or the URL here"
        )));
    }
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://{}", reached(listen));
    url.parse().map_err(Failure::usage)
}

/// The address at which a listener can be reached from its own machine.
fn reached(listen: SocketAddr) -> SocketAddr {
    #[allow(clippy::wildcard_enum_match_arm)] // any other address is reached as it is
    let ip = match listen.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip, listen.port()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_reached_by_loopback() {
        for (listen, address) in [
            ("0.0.0.0:3000", "127.0.0.1:3000"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            let listen = listen.parse().expect("an address");
            assert_eq!(reached(listen).to_string(), address);
        }
    }
}
