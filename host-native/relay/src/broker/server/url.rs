//! The address of the server of a relay.

use std::{fmt, str::FromStr};

use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisResult, TlsMode,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

/// The address of Redis or Valkey.
///
/// - `redis://user:password@host:6379/0`, also `valkey://`; with TLS `rediss://`, `valkeys://`
/// - `redis+sentinel://user:password@host:26379,host:26379/service`: the Sentinels are asked for the
///   primary at each connection. User and password are those of the primary.
/// - `unix:///path/to/socket`
///
/// It is printed without user and password.
#[derive(Clone)]
pub struct RelayUrl {
    place: Place,
    shown: Box<str>,
}

#[derive(Clone)]
enum Place {
    Server(Box<Client>),
    Sentinels(Box<Sentinels>),
}

#[derive(Clone)]
struct Sentinels {
    addresses: Vec<(String, u16)>,
    service: Box<str>,
    user: Option<Box<str>>,
    password: Option<Box<str>>,
    is_tls: bool,
}

/// A text that is not the address of a relay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// A scheme that is not known.
    #[error(
        "the relay is redis://host:6379, rediss://host:6379 or \
         redis+sentinel://host:26379,host:26379/service"
    )]
    Scheme,
    /// Redis Cluster.
    #[error(
        "the relay does not use Redis Cluster: give it one server, or Sentinel with \
         redis+sentinel://host:26379/service"
    )]
    Cluster,
    /// TLS in a build without it.
    #[error("this build has no TLS: build it with the feature `tls`, or use redis://")]
    NoTls,
    /// Certificates that nobody checks.
    #[error("remove `#insecure`: the relay checks the certificate of its server")]
    Insecure,
    /// A part that is wrong.
    #[error("the address of the relay is wrong: {0}")]
    Part(&'static str),
}

impl FromStr for RelayUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let is_tls = matches!(scheme, "rediss" | "valkeys" | "rediss+sentinel");
        match scheme {
            "redis" | "valkey" | "rediss" | "valkeys" | "unix" | "redis+sentinel"
            | "rediss+sentinel" => {}
            "redis+cluster" | "rediss+cluster" | "redis-cluster" => return Err(UrlError::Cluster),
            _ => return Err(UrlError::Scheme),
        }
        if is_tls && cfg!(not(feature = "tls")) {
            return Err(UrlError::NoTls);
        }
        if rest.ends_with("#insecure") {
            return Err(UrlError::Insecure);
        }
        let (credentials, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        // A query may have a password too.
        let shown = place.split(['?', '#']).next().unwrap_or_default();
        let shown = format!("{scheme}://{shown}").into();
        let place = if scheme.ends_with("+sentinel") {
            Place::Sentinels(Box::new(Sentinels::read(credentials, place, is_tls)?))
        } else {
            // The error of the library is not shown: it may have the password.
            let wrong = UrlError::Part("it reads redis://user:password@host:port/database");
            let info = text.into_connection_info().map_err(|_| wrong.clone())?;
            let redis = info.redis_settings().clone();
            let info = info.set_redis_settings(redis.set_protocol(ProtocolVersion::RESP3));
            Place::Server(Box::new(Client::open(info).map_err(|_| wrong)?))
        };
        Ok(Self { place, shown })
    }
}

impl Sentinels {
    fn read(credentials: &str, place: &str, is_tls: bool) -> Result<Self, UrlError> {
        let (hosts, service) = place.split_once('/').unwrap_or((place, ""));
        if service.is_empty() || service.contains(['/', '?', '#']) {
            return Err(UrlError::Part(
                "the name of the service follows the Sentinels: host:26379/service",
            ));
        }
        let address = |host: &str| {
            let (host, port) = host.rsplit_once(':').unwrap_or((host, "26379"));
            let port = port.parse().ok().filter(|_| !host.is_empty());
            Some((host.to_owned(), port?))
        };
        let addresses: Option<Vec<_>> = hosts.split(',').map(address).collect();
        let addresses = addresses.ok_or(UrlError::Part("a Sentinel is host:port"))?;
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let decoded = |text: &str| {
            let wrong = UrlError::Part("user and password are UTF-8, with %-escapes");
            let text = percent_encoding::percent_decode_str(text).decode_utf8();
            let text = text.map_err(|_| wrong)?;
            Ok((!text.is_empty()).then(|| text.into()))
        };
        Ok(Self {
            addresses,
            service: service.into(),
            user: decoded(user)?,
            password: decoded(password)?,
            is_tls,
        })
    }

    async fn primary(&self) -> RedisResult<Client> {
        let address = |(host, port): &(String, u16)| ConnectionAddr::Tcp(host.clone(), *port);
        let service = &*self.service;
        let sentinels = self.addresses.iter().map(address);
        let mut builder =
            SentinelClientBuilder::new(sentinels, service, SentinelServerType::Master)?
                .set_client_to_redis_protocol(ProtocolVersion::RESP3);
        if self.is_tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(user) = &self.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &self.password {
            builder = builder.set_client_to_redis_password(password);
        }
        builder.build()?.async_get_client().await
    }
}

impl RelayUrl {
    /// The client of the server that takes writes.
    pub(crate) async fn client(&self) -> RedisResult<Client> {
        #[cfg(feature = "tls")]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // The library asks for the provider of the process. That of a program that embeds the
            // server goes first.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        match &self.place {
            Place::Server(client) => Ok(Client::clone(client)),
            Place::Sentinels(sentinels) => sentinels.primary().await,
        }
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl fmt::Debug for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayUrl({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, UrlError> {
        text.parse::<RelayUrl>().map(|url| format!("{url} {url:?}"))
    }

    #[test]
    fn user_and_password_are_never_shown() {
        for text in [
            "redis://ann:s3cret@host:1/0",
            "redis://:s3cret@host:1/0?protocol=resp3",
            "redis://ann:s3%40cret@host:1/0",
            "redis+sentinel://ann:s3cret@host:1,other:2/service",
            "unix:///socket?user=ann&pass=s3cret",
        ] {
            let shown = parse(text).unwrap();
            assert!(!shown.contains("cret") && !shown.contains("ann"), "{shown}");
            assert!(
                shown.contains("host:1") || shown.contains("/socket"),
                "{shown}"
            );
        }
        for text in ["redis://ann:s3cret@host:1/x", "redis://ann:s3cret@:1"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("cret"), "{error}");
        }
    }

    #[test]
    fn an_address_that_cannot_work_says_what_to_change() {
        assert_eq!(parse("host:6379"), Err(UrlError::Scheme));
        assert_eq!(parse("http://host"), Err(UrlError::Scheme));
        assert_eq!(parse("redis+cluster://host"), Err(UrlError::Cluster));
        let insecure = parse("rediss://host#insecure");
        if cfg!(feature = "tls") {
            assert_eq!(insecure, Err(UrlError::Insecure));
            assert!(parse("rediss://host").is_ok());
        } else {
            assert_eq!(insecure, Err(UrlError::NoTls));
        }
        for text in [
            "redis+sentinel://host",
            "redis+sentinel://:1/s",
            "redis+sentinel://a:x/s",
        ] {
            assert!(matches!(parse(text), Err(UrlError::Part(_))), "{text}");
        }
    }
}
