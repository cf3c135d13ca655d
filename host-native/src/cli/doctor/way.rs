//! The path to a server: its addresses and its certificate.

#[path = "../../tls/validity.rs"]
mod validity;

use std::{io, net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use hyper::Uri;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
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

use self::validity::validity;
use super::{
    super::client::{
        endpoint::Endpoint,
        wire::{self, Wire},
    },
    clock,
    fix::HANGS,
    report::Finding,
};

/// The number of days before its end by which a certificate should have been renewed. A certificate
/// for less than 21 days should have been renewed by the last third of its time.
const RENEWED_DAYS: i64 = 7;

/// Parses a host and a port.
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
    patience: Duration,
) -> (Option<Vec<SocketAddr>>, Finding) {
    let place = connect_to.unwrap_or(&url.authority);
    let found = timeout(patience, lookup_host(place)).await;
    let addresses: Result<Vec<_>, String> = match found {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(fault)) => Err(fault.to_string()),
        Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
    };
    match addresses {
        Ok(addresses) if !addresses.is_empty() => {
            let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let finding = match texts.join(", ") {
                texts if texts == place => Finding::ok(texts),
                texts => Finding::ok(format_args!("{place} resolves to {texts}")),
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

/// A server, and how to connect to it.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) url: Endpoint,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    /// The timeout for a connection or an answer.
    pub(super) patience: Duration,
    /// False when the certificate cannot be trusted: then no secret is sent.
    pub(super) is_trusted: bool,
}

impl Way {
    pub(super) const fn plain(url: Endpoint, address: SocketAddr, patience: Duration) -> Self {
        Self {
            url,
            address,
            tls: None,
            patience,
            is_trusted: true,
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// When it fails, or takes too long.
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
        let late = |_| late("no connection", self.patience);
        timeout(self.patience, opened).await.map_err(late)?
    }

    async fn handshake(&self, tls: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let name = wire::server_name(&self.url.host)?;
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(tls.clone()).connect(name, stream).await
    }

    /// Checks the certificate, and uses TLS for later connections; false when the port does not
    /// speak it.
    ///
    /// # Errors
    ///
    /// When this machine trusts no authority.
    pub(super) async fn secure(&mut self) -> io::Result<(bool, Finding)> {
        let trust = Arc::new(wire::trust()?);
        let late = |_| late("no end of the TLS handshake", self.patience);
        let tried = timeout(self.patience, self.handshake(&trust)).await;
        let fault = match tried.map_err(late).flatten() {
            Ok(stream) => {
                self.tls = Some(trust);
                return Ok((true, held(validity_of(&stream))));
            }
            Err(fault) if fault.kind() == io::ErrorKind::TimedOut => {
                return Ok((false, Finding::failed(fault, HANGS)));
            }
            Err(fault) => fault,
        };
        // The later checks are still useful without trust.
        let untrusting = Arc::new(untrusting()?);
        let tried = timeout(self.patience, self.handshake(&untrusting)).await;
        let seen = tried.map_err(late).flatten();
        let end = seen.as_ref().ok().and_then(validity_of);
        let finding = distrust(&fault, &self.url, end.map(|valid| valid.end));
        self.tls = Some(untrusting);
        self.is_trusted = false;
        Ok((seen.is_ok(), finding))
    }

    /// Uses TLS for later connections to a server on this machine, without a check of its
    /// certificate.
    ///
    /// # Errors
    ///
    /// When TLS cannot be configured.
    pub(super) fn secure_beside(&mut self) -> io::Result<()> {
        self.tls = Some(Arc::new(untrusting()?));
        self.is_trusted = false;
        Ok(())
    }
}

/// TLS without a check of the certificate.
fn untrusting() -> io::Result<ClientConfig> {
    let provider = ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Ok(config)
}

fn late(what: &str, patience: Duration) -> io::Error {
    let text = format!("{what} within {} s", patience.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

fn validity_of(stream: &TlsStream<TcpStream>) -> Option<Range<DateTime<Utc>>> {
    let (_, session) = stream.get_ref();
    validity(session.peer_certificates()?.first()?)
}

const RENEW: &str = "renew it: `certbot renew`, then `systemctl reload nginx` or haproxy; a server \
                     with tls_cert in roomcast.toml (--tls-cert) reads its files again by itself";

fn held(valid: Option<Range<DateTime<Utc>>>) -> Finding {
    let Some(Range { start, end }) = valid else {
        return Finding::ok("trusted");
    };
    let left = end - clock::now();
    let days = left.num_days();
    let seen = format!("trusted, until {end}: {days} days");
    if days < RENEWED_DAYS && left < (end - start) / 3 {
        Finding::failed(seen, RENEW)
    } else {
        Finding::ok(seen)
    }
}

/// The place of a certificate's file.
const NAME_FILE: &str = "name its file: `ssl_certificate` of nginx, `bind .. crt` of HAProxy, \
                         tls_cert in roomcast.toml (--tls-cert)";

/// The name in rustls for an authority's certificate that is used as a server's.
const OF_AUTHORITY: &str = "CaUsedAsEndEntity";

/// The finding about a failed handshake.
fn distrust(fault: &io::Error, url: &Endpoint, end: Option<DateTime<Utc>>) -> Finding {
    use rustls::Error;
    let known = fault
        .get_ref()
        .and_then(|fault| fault.downcast_ref::<Error>());
    let host = &url.host;
    #[allow(clippy::wildcard_enum_match_arm)] // the others are told as they are
    match known {
        Some(Error::InvalidCertificate(fault)) => distrust_certificate(fault, host, end),
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

/// The fault of a certificate.
#[allow(deprecated)] // a verifier may still say so
#[allow(clippy::wildcard_enum_match_arm)] // the others are told by name
fn distrust_certificate(
    fault: &CertificateError,
    host: &str,
    end: Option<DateTime<Utc>>,
) -> Finding {
    let end = end.map_or_else(String::new, |end| format!(" on {end}"));
    match fault {
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
            let fix = format_args!("get one for {host}, and {NAME_FILE}");
            Finding::failed(format_args!("it is for another name than {host}"), fix)
        }
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithm
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            // No authority that all trust has an algorithm that is not read here.
            Finding::failed(
                "this machine does not trust who signed it",
                "give the whole chain, fullchain.pem of certbot, to `ssl_certificate` of nginx, \
                 `bind .. crt` of HAProxy, tls_cert in roomcast.toml (--tls-cert); for an \
                 authority of your own, SSL_CERT_FILE=FILE here",
            )
        }
        CertificateError::Other(other) if other.to_string().contains(OF_AUTHORITY) => {
            let fix = format_args!(
                "get one for {host} of an authority, as certbot does; or make one that is signed \
                 by itself with basicConstraints=CA:FALSE, and name its file here: `openssl req \
                 -x509 .. -addext basicConstraints=critical,CA:FALSE -addext \
                 subjectAltName=DNS:{host}`, SSL_CERT_FILE=FILE"
            );
            let seen = "self-signed as an authority (CA:TRUE), which is not for a server";
            Finding::failed(seen, fix)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            let fix = format_args!(
                "get one for {host} whose extendedKeyUsage has serverAuth, and {NAME_FILE}"
            );
            Finding::failed("it is not for a server", fix)
        }
        other => {
            // What is behind its name is for programmers.
            let text = match other {
                CertificateError::Other(fault) => fault.to_string(),
                other => other.to_string(),
            };
            let name = text.split(|c: char| !c.is_ascii_alphanumeric()).next();
            let seen = format_args!("not trusted: {}", name.unwrap_or_default());
            let fix = format_args!("get one for {host} of an authority, and {NAME_FILE}");
            Finding::failed(seen, fix)
        }
    }
}

/// A verifier that accepts any certificate, for checks that send no secrets.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_certificates_have_fixes_of_their_own_and_no_structures() {
        let url: Endpoint = "https://chat.example.com".parse().expect("a URL");
        let algorithm = vec![42, 134, 72];
        for (fault, seen, fix) in [
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: algorithm.clone(),
                    supported_algorithms: Vec::new(),
                },
                "does not trust who signed it",
                "SSL_CERT_FILE",
            ),
            (
                CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                    signature_algorithm_id: algorithm.clone(),
                    public_key_algorithm_id: algorithm,
                },
                "does not trust who signed it",
                "SSL_CERT_FILE",
            ),
            (
                CertificateError::InvalidPurposeContext {
                    required: rustls::ExtendedKeyPurpose::ServerAuth,
                    presented: vec![rustls::ExtendedKeyPurpose::ClientAuth],
                },
                "it is not for a server",
                "serverAuth",
            ),
            (
                CertificateError::BadEncoding,
                "not trusted: BadEncoding\"",
                "get one for chat.example.com",
            ),
        ] {
            let fault = io::Error::other(rustls::Error::InvalidCertificate(fault));
            let text = format!("{:?}", distrust(&fault, &url, None));
            assert!(text.contains(seen) && text.contains(fix), "{text}");
            assert!(!text.contains("certbot renew"), "{text}");
            assert!(!text.contains("Context"), "{text}");
        }
    }
}
