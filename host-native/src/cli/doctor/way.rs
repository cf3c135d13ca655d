//! The way to a server: its addresses, its port, its certificate.

#[path = "../../tls/validity.rs"]
mod validity;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use hyper::Uri;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage,
        SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use self::validity::not_after;
use super::{
    super::client::{
        endpoint::Endpoint,
        wire::{self, Wire},
    },
    clock,
    report::Finding,
};

const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Days before its end at which a certificate should have been renewed.
const RENEWED_DAYS: i64 = 7;

/// A host and a port.
pub(super) fn place(text: &str) -> Result<String, String> {
    let uri: Option<Uri> = text.parse().ok();
    let has_port = uri.is_some_and(|uri| uri.port_u16().is_some() && uri.scheme().is_none());
    let expected = "must be a host and a port, as 192.0.2.7:443";
    has_port
        .then(|| text.to_owned())
        .ok_or_else(|| expected.to_owned())
}

/// Asks for the addresses of a server.
pub(super) async fn find(
    url: &Endpoint,
    connect_to: Option<&str>,
) -> (Option<Vec<SocketAddr>>, Finding) {
    let place = connect_to.unwrap_or(&url.authority);
    let found = timeout(CONNECT_TIME, lookup_host(place)).await;
    let addresses: Result<Vec<_>, String> = match found {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(fault)) => Err(fault.to_string()),
        Err(_) => Err("no answer within 10 s".to_owned()),
    };
    match addresses {
        Ok(addresses) if !addresses.is_empty() => {
            let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let finding = match texts.join(", ") {
                texts if texts == place => Finding::ok(texts),
                texts => Finding::ok(format_args!("{place} is {texts}")),
            };
            (Some(addresses), finding)
        }
        none => {
            let fault = none.err().unwrap_or_else(|| "no address".to_owned());
            let fix = "the zone of the domain (DNS): an A or AAAA record for this name; or \
                       --connect-to HOST:PORT to go on without";
            let seen = format_args!("{place} has no address: {fault}");
            (None, Finding::failed(seen, fix))
        }
    }
}

/// Looks for an address whose port is open.
pub(super) async fn open(
    url: &Endpoint,
    addresses: &[SocketAddr],
) -> (Option<SocketAddr>, Finding) {
    let mut faults = Vec::new();
    let mut is_silent = false;
    for &address in addresses {
        let begin = Instant::now();
        let fault = match timeout(CONNECT_TIME, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                let ms = begin.elapsed().as_millis();
                let others = match faults.is_empty() {
                    true => String::new(),
                    false => format!(", but {}", faults.join(", ")),
                };
                let seen = format_args!("{address} is open, within {ms} ms{others}");
                return (Some(address), Finding::ok(seen));
            }
            Ok(Err(fault)) if fault.kind() == io::ErrorKind::ConnectionRefused => {
                "nothing listens there".to_owned()
            }
            Ok(Err(fault)) => fault.to_string(),
            Err(_) => {
                is_silent = true;
                "no answer within 10 s".to_owned()
            }
        };
        faults.push(format!("{address} is closed: {fault}"));
    }
    let fix = if is_silent {
        "the firewall of the machine or of its network drops packets to this port: open it there"
    } else if url.tls {
        "start the proxy or server: `systemctl start`; its port is `listen 443 ssl` of nginx, `bind \
         :443` of HAProxy, or `listen` in roomcast.toml (--listen) with tls_cert"
    } else {
        "start the server: `systemctl start roomcast`; its port is `listen` in roomcast.toml \
         (--listen, ROOMCAST_LISTEN), for other machines 0.0.0.0:PORT"
    };
    (None, Finding::failed(faults.join(", "), fix))
}

/// A server, and how to connect to it.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) url: Endpoint,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    /// False when the certificate cannot be trusted: then no secret is sent.
    pub(super) is_trusted: bool,
}

impl Way {
    pub(super) const fn plain(url: Endpoint, address: SocketAddr) -> Self {
        Self {
            url,
            address,
            tls: None,
            is_trusted: true,
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// When it does not come about, or not in time.
    pub(super) async fn connect(&self) -> io::Result<Wire> {
        let opened = async {
            match &self.tls {
                Some(tls) => self
                    .handshake(tls)
                    .await
                    .map(|stream| Box::new(stream) as Wire),
                None => Ok(Box::new(TcpStream::connect(self.address).await?) as Wire),
            }
        };
        let late = |_| io::Error::other("no connection within 10 s");
        timeout(CONNECT_TIME, opened).await.map_err(late)?
    }

    async fn handshake(&self, tls: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let name = wire::server_name(&self.url.host)?;
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(tls.clone()).connect(name, stream).await
    }

    /// Looks at the certificate, and has later connections speak TLS; false when nothing there
    /// does.
    ///
    /// # Errors
    ///
    /// When this machine trusts nobody.
    pub(super) async fn secure(&mut self) -> io::Result<(bool, Finding)> {
        let trust = Arc::new(wire::trust()?);
        let late = |_| io::Error::other("no end of the handshake within 10 s");
        let tried = timeout(CONNECT_TIME, self.handshake(&trust)).await;
        let fault = match tried.map_err(late).flatten() {
            Ok(stream) => {
                self.tls = Some(trust);
                return Ok((true, held(end_of(&stream))));
            }
            Err(fault) => fault,
        };
        // The rest of the way can be tried all the same.
        let mut untrusting = ClientConfig::clone(&trust);
        untrusting
            .dangerous()
            .set_certificate_verifier(Arc::new(Anyone(ring::default_provider())));
        let untrusting = Arc::new(untrusting);
        let tried = timeout(CONNECT_TIME, self.handshake(&untrusting)).await;
        let seen = tried.map_err(late).flatten();
        let finding = distrust(&fault, &self.url, seen.as_ref().ok().and_then(end_of));
        self.tls = Some(untrusting);
        self.is_trusted = false;
        Ok((seen.is_ok(), finding))
    }
}

fn end_of(stream: &TlsStream<TcpStream>) -> Option<DateTime<Utc>> {
    let (_, session) = stream.get_ref();
    not_after(session.peer_certificates()?.first()?)
}

const RENEW: &str = "renew it: `certbot renew`, then `systemctl reload nginx` or haproxy; a server \
                     with tls_cert in roomcast.toml (--tls-cert) reads its files again by itself";

fn held(end: Option<DateTime<Utc>>) -> Finding {
    let Some(end) = end else {
        return Finding::ok("trusted");
    };
    let days = (end - clock::now()).num_days();
    let seen = format!("trusted, until {end}: {days} days");
    match days {
        ..RENEWED_DAYS => Finding::failed(seen, RENEW),
        _ => Finding::ok(seen),
    }
}

/// The fault of a handshake.
fn distrust(fault: &io::Error, url: &Endpoint, end: Option<DateTime<Utc>>) -> Finding {
    use rustls::Error;
    let known = fault
        .get_ref()
        .and_then(|fault| fault.downcast_ref::<Error>());
    let end = end.map_or_else(String::new, |end| format!(" on {end}"));
    let host = &url.host;
    #[allow(clippy::wildcard_enum_match_arm)] // the others are told as they are
    match known {
        Some(Error::InvalidCertificate(fault)) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                let seen = format_args!(
                    "expired{end}; the clock of this machine says {}",
                    clock::now()
                );
                Finding::failed(seen, RENEW)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                let seen = format_args!(
                    "not valid yet; the clock of this machine says {}",
                    clock::now()
                );
                Finding::failed(seen, clock::FIX)
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                let fix = format_args!(
                    "get one for {host}, and name its file: `ssl_certificate` of nginx, `bind .. crt` \
                     of HAProxy, tls_cert in roomcast.toml (--tls-cert)"
                );
                Finding::failed(format_args!("it is for another name than {host}"), fix)
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Finding::failed(
                "this machine does not trust who signed it",
                "give the whole chain, fullchain.pem of certbot, to `ssl_certificate` of nginx, \
                 `bind .. crt` of HAProxy, tls_cert in roomcast.toml (--tls-cert); for an authority \
                 of your own, SSL_CERT_FILE=FILE here",
            ),
            other => Finding::failed(format_args!("not trusted: {other}"), RENEW),
        },
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Finding::failed(
            "the port does not speak TLS",
            "http:// in the URL; or `listen 443 ssl` of nginx, `bind :443 ssl crt FILE` of HAProxy, \
             tls_cert in roomcast.toml (--tls-cert)",
        ),
        _ => Finding::failed(
            format_args!("no TLS: {fault}"),
            "the log of what listens there; `ssl_protocols` of nginx, `ssl-min-ver` of HAProxy: \
             TLS 1.2 or 1.3",
        ),
    }
}

/// Takes any certificate, so that the rest of the way can be looked at without secrets.
#[derive(Debug)]
struct Anyone(CryptoProvider);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
