//! A list of servers, any of which may answer, with the credentials of the relay.

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisResult,
    TlsMode,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

/// Hosts of an address, such as `host:26379,host:26379`.
#[derive(Clone)]
pub(super) struct Hosts {
    pub(super) addresses: Vec<(String, u16)>,
    user: Option<Box<str>>,
    password: Option<Box<str>>,
    is_tls: bool,
}

impl Hosts {
    /// Parses a list. `port` is for hosts without one; `wrong` is the error text.
    pub(super) fn read(
        credentials: &str,
        hosts: &str,
        (port, is_tls): (u16, bool),
        wrong: &'static str,
    ) -> Result<Self, &'static str> {
        let address = |text: &str| {
            let (host, port) = match text.rsplit_once(':') {
                None => (text, port),
                Some((host, port)) => (host, port.parse().ok()?),
            };
            (!host.is_empty()).then(|| (host.to_owned(), port))
        };
        let addresses: Option<Vec<_>> = hosts.split(',').map(address).collect();
        let addresses = addresses.ok_or(wrong)?;
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let decoded = |text: &str| -> Result<Option<Box<str>>, &'static str> {
            let wrong = "user and password are UTF-8, with %-escapes";
            let text = percent_encoding::percent_decode_str(text).decode_utf8();
            let text = text.map_err(|_| wrong)?;
            Ok((!text.is_empty()).then(|| text.into()))
        };
        Ok(Self {
            addresses,
            user: decoded(user)?,
            password: decoded(password)?,
            is_tls,
        })
    }

    /// The client of one of them.
    pub(super) fn client(&self, host: &str, port: u16) -> RedisResult<Client> {
        let host = host.to_owned();
        let address = if self.is_tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info: ConnectionInfo = address.into_connection_info()?;
        let mut redis = info.redis_settings().clone();
        redis = redis.set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &self.user {
            redis = redis.set_username(user);
        }
        if let Some(password) = &self.password {
            redis = redis.set_password(password);
        }
        Client::open(info.set_redis_settings(redis))
    }

    /// Makes the client of the primary that Sentinels on these hosts name. User and password are
    /// for the primary.
    pub(super) async fn primary(&self, service: &str) -> RedisResult<Client> {
        let address = |(host, port): &(String, u16)| ConnectionAddr::Tcp(host.clone(), *port);
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
