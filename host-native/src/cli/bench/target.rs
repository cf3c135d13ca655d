//! The server under load.

use std::net::{SocketAddr, ToSocketAddrs};

use hyper::{StatusCode, Uri};
use roomcast_load::{ConnectError, Tls};

use super::super::{
    client::{
        endpoint::Endpoint,
        failure::{self, Failure},
    },
    replay::show::one_line,
};
use super::tls;

/// The address of the server. It is resolved once, so that the check for this machine stays valid.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: String,
    /// Host and port.
    pub(super) host: String,
    /// The path of its WebSocket.
    pub(super) path: String,
    pub(super) addresses: Vec<SocketAddr>,
    /// TLS, when the server speaks it.
    pub(super) tls: Option<Tls>,
}

impl Target {
    /// Finds the server.
    ///
    /// # Errors
    ///
    /// When the server cannot be found, or is not on this machine without `allow_remote`: load on a
    /// wrong target hurts others.
    pub(super) fn find(
        endpoint: &Endpoint,
        namespace: Option<&str>,
        allow_remote: bool,
    ) -> Result<Self, Failure> {
        let url = endpoint.websocket(namespace);
        let uri: Uri = url.parse().map_err(Failure::usage)?;
        let host = endpoint.authority.clone();
        let addresses = host
            .to_socket_addrs()
            .map_err(|fault| Failure::unreachable(format_args!("cannot find {host}: {fault}")))?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let remote = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        if let Some(address) = addresses.iter().find(remote)
            && !allow_remote
        {
            return Err(Failure::usage(format_args!(
                "{url} ({}) is not on this machine: to put load on a server that is yours, add \
                 --allow-remote",
                address.ip()
            )));
        }
        let path = uri.path().to_owned();
        let tls = endpoint
            .tls
            .then(|| tls::layers(&endpoint.host))
            .transpose();
        let tls = tls.map_err(|fault| {
            Failure::failed(format_args!(
                "cannot speak TLS with {url}: {fault}\n  SSL_CERT_FILE names a file of authorities"
            ))
        })?;
        Ok(Self {
            url,
            host,
            path,
            addresses,
            tls,
        })
    }

    /// Makes the failure of a run whose very first connection failed, with advice.
    pub(super) fn failure(&self, fault: &ConnectError) -> Failure {
        let (url, reason) = (&self.url, reason(fault));
        match fault {
            ConnectError::Unreachable(text) if text.contains("certificate") => {
                Failure::unreachable(format_args!(
                    "cannot connect to {url}: {reason}\n  SSL_CERT_FILE names a file of the \
                     authorities to trust"
                ))
            }
            ConnectError::Unreachable(_) => Failure::unreachable(format_args!(
                "cannot connect to {url}: {reason}\n  Is `roomcast` running? Start it, or say \
                 where it is: roomcast bench URL"
            )),
            ConnectError::Http(_, body) if detail(body).is_none() => Failure::failed(format_args!(
                "{url} answers {reason}, not as a Roomcast server does\n  Check the URL"
            )),
            ConnectError::Http(..) | ConnectError::Rejected(_) => {
                Failure::failed(format_args!("{url} refused: {reason}"))
            }
        }
    }
}

/// Formats the reason why a connection failed, in one line that is the same for all connections
/// with that reason.
pub(super) fn reason(fault: &ConnectError) -> String {
    match fault {
        ConnectError::Unreachable(text) | ConnectError::Rejected(text) => {
            one_line(text).into_owned()
        }
        ConnectError::Http(status, body) => match (detail(body), StatusCode::from_u16(*status)) {
            (Some(detail), _) => format!("{status}: {detail}"),
            (None, known) => known.map_or(status.to_string(), |status| status.to_string()),
        },
    }
}

/// The explanation of a refusal by a Roomcast server.
fn detail(body: &str) -> Option<String> {
    failure::detail(body).map(|detail| one_line(&detail).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(url: &str, allow_remote: bool) -> Result<Target, Failure> {
        let endpoint = url.parse().expect("a URL");
        Target::find(&endpoint, None, allow_remote)
    }

    #[test]
    fn only_this_machine_is_harmless() {
        for url in [
            "ws://127.0.0.1:1/ws",
            "http://127.9.9.9:1",
            "ws://[::1]:1/ws/game",
            "ws://[::ffff:127.0.0.1]:1/ws",
        ] {
            find(url, false).expect(url);
        }
        for url in [
            "ws://192.0.2.1/ws",
            "ws://0.0.0.0:1/ws",
            "ws://[2001:db8::1]:1/ws",
        ] {
            let fault = find(url, false).expect_err(url);
            assert_eq!(fault.exit(), 2);
            assert!(fault.to_string().contains("--allow-remote"), "{fault}");
            assert_eq!(find(url, true).expect(url).addresses.len(), 1);
        }
    }

    #[test]
    fn a_failure_says_whose_it_is() {
        let target = find("ws://127.0.0.1:1/ws", false).expect("a target");
        let problem = r#"{"status":404,"detail":"no such namespace"}"#.to_owned();
        for (fault, exit, says) in [
            (ConnectError::Unreachable("refused".into()), 3, "running?"),
            (
                ConnectError::Unreachable("invalid peer certificate".into()),
                3,
                "SSL_CERT_FILE",
            ),
            (
                ConnectError::Http(404, problem),
                1,
                "refused: 404: no such namespace",
            ),
            (
                ConnectError::Http(404, "<html>".into()),
                1,
                "answers 404 Not Found, not as",
            ),
            (ConnectError::Rejected("closed with 1013".into()), 1, "1013"),
        ] {
            let failure = target.failure(&fault);
            assert_eq!(failure.exit(), exit);
            assert!(failure.to_string().contains(says), "{failure}");
        }
    }
}
