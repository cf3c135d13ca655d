//! The address of the server of a relay.

use std::{fmt, str::FromStr};

use redis::{Client, IntoConnectionInfo, ProtocolVersion, RedisResult};

use super::hosts::Hosts;

/// The address of Redis or Valkey.
///
/// - `redis://user:password@host:6379/0`, also `valkey://`; with TLS `rediss://`, `valkeys://`
/// - `redis+sentinel://user:password@host:26379,host:26379/service`: the Sentinels are asked for
///   the primary at each connect. User and password are for the primary.
/// - `redis+cluster://user:password@host:6379,host:6379`: nodes of Redis Cluster, which are asked
///   for the primary of the relay's slot at each connect.
/// - `unix:///path/to/socket`
///
/// `Display` and `Debug` leave out user and password.
#[derive(Clone)]
pub struct RelayUrl {
    place: Place,
    shown: Box<str>,
}

#[derive(Clone)]
enum Place {
    Server(Box<Client>),
    /// Sentinels, and the service.
    Sentinels(Box<(Hosts, Box<str>)>),
    Cluster(Box<Hosts>),
}

/// A text that is not the address of a relay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// A scheme that is not known.
    #[error(
        "the relay is redis://host:6379, rediss://host:6379, \
         redis+sentinel://host:26379,host:26379/service or redis+cluster://host:6379,host:6379"
    )]
    Scheme,
    /// TLS in a build without it.
    #[error("this build has no TLS: build it with the feature `tls`, or use redis://")]
    NoTls,
    /// TLS without a check of the certificate.
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
        let (protocol, group) = scheme.split_once('+').unwrap_or((scheme, ""));
        let is_tls = matches!(protocol, "rediss" | "valkeys");
        match (protocol, group) {
            ("redis" | "valkey" | "rediss" | "valkeys", "" | "sentinel" | "cluster")
            | ("unix", "") => {}
            _ => return Err(UrlError::Scheme),
        }
        if is_tls && cfg!(not(feature = "tls")) {
            return Err(UrlError::NoTls);
        }
        if rest.ends_with("#insecure") {
            return Err(UrlError::Insecure);
        }
        let (credentials, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        // A query may contain a password too.
        let shown = place.split(['?', '#']).next().unwrap_or_default();
        let shown = format!("{scheme}://{shown}").into();
        let place = match group {
            "sentinel" => sentinels(credentials, place, is_tls)?,
            "cluster" => cluster(credentials, place, is_tls)?,
            _ => server(text)?,
        };
        Ok(Self { place, shown })
    }
}

fn server(text: &str) -> Result<Place, UrlError> {
    // The error of the library is not shown: it may contain the password.
    let wrong = UrlError::Part("it reads redis://user:password@host:port/database");
    let info = text.into_connection_info().map_err(|_| wrong.clone())?;
    let redis = info.redis_settings().clone();
    let info = info.set_redis_settings(redis.set_protocol(ProtocolVersion::RESP3));
    Ok(Place::Server(Box::new(
        Client::open(info).map_err(|_| wrong)?,
    )))
}

fn sentinels(credentials: &str, place: &str, is_tls: bool) -> Result<Place, UrlError> {
    let (hosts, service) = place.split_once('/').unwrap_or((place, ""));
    if service.is_empty() || service.contains(['/', '?', '#']) {
        return Err(UrlError::Part(
            "the name of the service follows the Sentinels: host:26379/service",
        ));
    }
    let hosts = Hosts::read(
        credentials,
        hosts,
        (26_379, is_tls),
        "a Sentinel is host:port",
    );
    let hosts = hosts.map_err(UrlError::Part)?;
    Ok(Place::Sentinels(Box::new((hosts, service.into()))))
}

fn cluster(credentials: &str, place: &str, is_tls: bool) -> Result<Place, UrlError> {
    let hosts = place.strip_suffix('/').unwrap_or(place);
    let wrong = "Redis Cluster is host:port,host:port, and has no databases";
    let hosts = Hosts::read(credentials, hosts, (6_379, is_tls), wrong);
    let hosts = hosts.map_err(UrlError::Part)?;
    Ok(Place::Cluster(Box::new(hosts)))
}

impl RelayUrl {
    /// True for Redis Cluster, where the prefix of keys has a hash tag.
    pub const fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    pub(crate) const fn has_sentinels(&self) -> bool {
        matches!(self.place, Place::Sentinels(_))
    }

    /// The client of the server that takes writes of a key.
    pub(crate) async fn client(&self, key: &str) -> RedisResult<Client> {
        #[cfg(feature = "tls")]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // The library needs a default provider. One that an embedding program has installed
            // takes precedence.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        match &self.place {
            Place::Server(client) => Ok(Client::clone(client)),
            Place::Sentinels(sentinels) => sentinels.0.primary(&sentinels.1).await,
            Place::Cluster(hosts) => hosts.owner(key).await,
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
            "redis+cluster://ann:s3cret@host:1,other",
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
        assert_eq!(parse("unix+cluster://host"), Err(UrlError::Scheme));
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
            "redis+cluster://a:1,/",
            "redis+cluster://a:1/0",
        ] {
            assert!(matches!(parse(text), Err(UrlError::Part(_))), "{text}");
        }
    }
}
