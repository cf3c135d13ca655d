//! The settings of a server at its start.

mod otlp;
pub(crate) mod relay;
mod relayed;
mod table;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use roomcast_core::{Limits, Policies, Rate, queue::QueueLimits};
use roomcast_hooks::{AskSettings, Hook};
use roomcast_http::{
    Access, ProxyTrust,
    settings::{
        ACCESS, API_BODY_BYTES_MAX, MESSAGE_TIME_MS, Setting, SettingError, check_limits,
        check_ranges,
    },
};

pub use self::{
    otlp::{OtlpEndpoint, OtlpError, OtlpHeaders, OtlpSettings},
    relay::{RelayAddress, RelayAddressError, RelayLineage},
};
use crate::store::StoreSync;

/// The settings of a server. Every field has a default; units are in the names or types.
///
/// ```
/// let mut settings = roomcast::Settings::default();
/// settings.listen = ([127, 0, 0, 1], 0).into();
/// settings.hub.rooms_per_connection = 16;
/// assert!(settings.check().is_ok());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Address to listen on; default `127.0.0.1:3000`, so that a server that is just tried out
    /// cannot be reached from outside.
    pub listen: SocketAddr,
    /// Address of a separate listener for the HTTP API, the metrics and the page; default none: all
    /// are on [`listen`](Self::listen). With it, [`listen`](Self::listen) serves only WebSockets,
    /// the browser client and probes, and this listener serves everything.
    pub admin_listen: Option<SocketAddr>,
    /// TLS on [`admin_listen`](Self::admin_listen) too, with the same certificate; default no.
    pub admin_tls: bool,
    /// I/O threads; default 1, which serves some 400,000 deliveries a second.
    pub threads: usize,
    /// Listen beyond loopback without a key; default no.
    pub insecure: bool,
    /// The file of the certificate, in PEM: the server's own first, then the intermediate ones;
    /// default none: no TLS. Needs [`tls_key`](Self::tls_key) and the feature `tls`.
    pub tls_cert: Option<PathBuf>,
    /// The file of the certificate's key, in PEM: PKCS#8, SEC1 or PKCS#1, without a password.
    pub tls_key: Option<PathBuf>,
    /// Time between two checks of the certificate files; default 60 s. A new certificate applies to
    /// new connections.
    pub tls_check: Duration,
    /// Access rules of the HTTP API and of WebSockets, the allowed namespaces, and the allowed host
    /// names; default: the API on loopback only, pages of the server itself, and any namespace.
    pub access: Access,
    /// Proxies that may name the address of a client, and the user; default none.
    pub proxy_trust: ProxyTrust,
    /// Number of live namespaces; default 1,024.
    pub namespaces_max: usize,
    /// Client idempotency keys that are remembered in all namespaces together; default 100,000,
    /// some 30 MB. Beyond that keys are evicted across all namespaces: the oldest key of the owner
    /// with the most keys goes first.
    pub client_keys_max: usize,
    /// WebSocket connections of the process; default 100,000, and never more than the file
    /// descriptors allow.
    pub connections_max: usize,
    /// WebSocket connections from one address, or from one 64-bit network of IPv6; default off,
    /// since many people may share one.
    pub connections_per_address_max: Option<usize>,
    /// WebSocket connections of one user in one namespace; default off, since applications differ
    /// in how many tabs and devices they expect. Excess: 503, and for `$auth` a close with 1013.
    pub connections_per_user_max: Option<usize>,
    /// Limits of each namespace; the limit on the bytes of histories applies to all namespaces
    /// together.
    pub hub: Limits,
    /// Policies of rooms; default none: rooms keep no history and show nobody.
    pub policies: Policies,
    /// Endpoints of backends that are notified of events; default none. Needs the feature `jwks`.
    pub hooks: Vec<Hook>,
    /// The backend that identifies connections and decides what they may join; default none. Needs
    /// the feature `jwks`.
    pub ask: Option<AskSettings>,
    /// WebSocket pings, pongs and closes from one connection; default 5 a second, burst 50; `None`
    /// is no limit. Excess: not answered, then close 4429.
    pub control: Option<Rate>,
    /// Bytes from one connection outside of messages, which are control frames and the headers of
    /// fragments; default 16 KiB a second, burst 160 KiB; `None` is no limit. Excess: close 4429.
    pub framing_bytes: Option<Rate>,
    /// Messages from all connections of one user in one namespace; default off, since applications
    /// differ in how many tabs and devices they expect. Excess: `rate_limited`, and after
    /// [`Limits::inbound_refusals`] refusals over all connections close 4429.
    pub user_messages: Option<Rate>,
    /// Bytes read from all connections of one user in one namespace; default off, as for
    /// [`user_messages`](Self::user_messages). Excess: the same.
    pub user_bytes: Option<Rate>,
    /// Disconnected users whose remaining allowance under these rates is remembered until it is
    /// full again; default 10,000, some 3 MB. Beyond that the users with the fullest allowances are
    /// forgotten.
    pub users_resting_max: usize,
    /// Fragments of one message; default 64. Excess: close 1008.
    pub fragments_max: usize,
    /// Time from the start of a message to its end; default 10 s. Excess: close 1008.
    pub message_time: Duration,
    /// Time for a TLS handshake, and from the first byte of a request to the end of its head;
    /// default 5 s. Excess: 408.
    pub handshake_time: Duration,
    /// Time without a request after which a connection ends; default 75 s. A proxy in front must
    /// end the connection first, or it may send a request just then and get no answer; nginx does
    /// so after 60 s.
    pub keep_alive: Duration,
    /// Bytes of a request head; default and minimum 8 KiB. Excess: 431.
    pub header_bytes_max: usize,
    /// Headers of a request; default 64, at most 4,096. Excess: 431.
    pub headers_max: usize,
    /// Bytes queued for one connection; default 1 MiB. Excess: close 4409.
    pub outbox_bytes_max: usize,
    /// Frames queued for one connection; default 1,024. Excess: close 4409.
    pub outbox_frames_max: usize,
    /// Time in which a connection with a queue must accept some of it; default 10 s. Excess: close
    /// 4409.
    pub write_stall: Duration,
    /// Time for the peer to answer a close frame; default 5 s. Excess: the TCP connection ends.
    pub close_wait: Duration,
    /// Time between the stop signal and the shutdown, in which `/readyz` is 503 and everything else
    /// continues; default none. For load balancers that probe: longer than they take to notice.
    pub drain_delay: Duration,
    /// Time over which the closes of a shutdown are spread, when there are many; default 15 s. With
    /// the time for the peers' answers, a shutdown stays within the 30 s that most supervisors
    /// allow.
    pub drain_window: Duration,
    /// Bytes of an API request's body; default 1 MiB. Excess: 413.
    pub api_body_bytes_max: usize,
    /// The folder of the store, in which histories outlive the process; default none: they are in
    /// memory. Needs the feature `store`.
    pub store: Option<PathBuf>,
    /// The sync policy of the store: how soon writes survive a power or system failure; default
    /// once a second.
    pub store_sync: StoreSync,
    /// The relay between servers, with which rooms have members on all of them; default none. Needs
    /// the feature `relay`.
    pub relay: Option<RelayAddress>,
    /// Prefix of all keys and topics of the relay; default `roomcast:`, and `{roomcast}:` with
    /// Redis Cluster, which needs a hash tag. Servers with the same prefix share their rooms.
    /// Servers with other prefixes may use the same Redis.
    pub relay_prefix: String,
    /// The mark of the relay's data that reveals lost messages; default
    /// [`RelayLineage::Replication`].
    pub relay_lineage: RelayLineage,
    /// Read the lineage in each script too; default no: a failover is then noticed within 3 s. Each
    /// read costs the relay some 7 µs per publish.
    pub relay_asks_lineage: bool,
    /// Replicas of the relay that must have a message before its publish is answered; default 0,
    /// because with replicas a publish waits for the publishes before it.
    pub relay_replicas_ack: usize,
    /// The relay hides `INFO` or `CONFIG`, and an operator has checked it; default no.
    pub relay_checked_by_hand: bool,
    /// The folder for the journal of all inputs, with new files for each run; default none. Actions
    /// of applications are not recorded:
    /// [`Replay::with_gateways`](roomcast_core::journal::Replay::with_gateways) runs the
    /// applications again.
    pub record: Option<PathBuf>,
    /// Size in bytes at which the next file of the journal is started; default 64 MiB, which
    /// editors can open.
    pub record_bytes_max: u64,
    /// The duration from which a turn of an I/O thread is slow, and is logged; default 100 ms, the
    /// longest wait that people do not notice. `None` logs none.
    pub slow_turn: Option<Duration>,
    /// Export of spans for OpenTelemetry; default off. Needs the feature `jwks`.
    pub otlp: OtlpSettings,
}

impl Default for Settings {
    fn default() -> Self {
        let queues = QueueLimits::default();
        Self {
            listen: ([127, 0, 0, 1], 3000).into(),
            admin_listen: None,
            admin_tls: false,
            threads: 1,
            insecure: false,
            tls_cert: None,
            tls_key: None,
            tls_check: Duration::from_secs(60),
            access: Access::default(),
            proxy_trust: ProxyTrust::default(),
            namespaces_max: 1024,
            client_keys_max: 100_000,
            connections_max: 100_000,
            connections_per_address_max: None,
            connections_per_user_max: None,
            hub: Limits::default(),
            policies: Policies::default(),
            hooks: Vec::new(),
            ask: None,
            control: Some(Rate {
                per_second: 5,
                burst: 50,
            }),
            framing_bytes: Some(Rate {
                per_second: 16 * 1024,
                burst: 160 * 1024,
            }),
            user_messages: None,
            user_bytes: None,
            users_resting_max: 10_000,
            fragments_max: 64,
            message_time: Duration::from_millis(MESSAGE_TIME_MS.into()),
            handshake_time: Duration::from_secs(5),
            keep_alive: Duration::from_secs(75),
            header_bytes_max: 8 * 1024,
            headers_max: 64,
            outbox_bytes_max: queues.bytes_max,
            outbox_frames_max: queues.frames_max,
            write_stall: Duration::from_secs(10),
            close_wait: Duration::from_secs(5),
            drain_delay: Duration::ZERO,
            drain_window: Duration::from_secs(15),
            api_body_bytes_max: API_BODY_BYTES_MAX,
            store: None,
            store_sync: StoreSync::default(),
            relay: None,
            relay_prefix: relay::PREFIX.to_owned(),
            relay_lineage: RelayLineage::default(),
            relay_asks_lineage: false,
            relay_replicas_ack: 0,
            relay_checked_by_hand: false,
            record: None,
            record_bytes_max: 64 * 1024 * 1024,
            slow_turn: Some(Duration::from_millis(100)),
            otlp: OtlpSettings::default(),
        }
    }
}

/// Settings that contradict each other; the message names the setting to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl From<SettingError> for SettingsError {
    fn from(fault: SettingError) -> Self {
        Self(format!("--{} {}", fault.name(), fault.fault()))
    }
}

impl Settings {
    /// The settings that are flags and variables of `roomcast serve`, without the settings in
    /// [`hub`](Self::hub) and [`access`](Self::access).
    pub const TABLE: &[Setting<Self>] = table::TABLE;

    /// Checks that all namespaces with gateways fit the limit and may be used.
    pub(crate) fn check_mounted<'a>(
        &self,
        mut namespaces: impl ExactSizeIterator<Item = &'a Arc<str>>,
    ) -> Result<(), SettingsError> {
        self.check_count(namespaces.len(), "have gateways")?;
        match namespaces.find(|name| !self.access.has_namespace(name)) {
            Some(name) => Err(SettingsError(format!(
                "--namespaces must list {name}, which has a gateway: nobody could reach it"
            ))),
            None => Ok(()),
        }
    }

    /// Checks that all namespaces in the store fit the limit.
    pub(crate) fn check_stored(&self, count: usize) -> Result<(), SettingsError> {
        self.check_count(count, "are in the store")
    }

    fn check_count(&self, count: usize, whose: &str) -> Result<(), SettingsError> {
        if count > self.namespaces_max {
            return Err(SettingsError(format!(
                "--namespaces-max must be at least {count}: so many namespaces {whose}"
            )));
        }
        Ok(())
    }

    fn check_admin(&self) -> Result<(), SettingsError> {
        let fault = |text: String| Err(SettingsError(text));
        let Some(address) = self.admin_listen else {
            if self.admin_tls {
                return fault("--admin-tls needs --admin-listen: give both, or neither".into());
            }
            return Ok(());
        };
        if self.admin_tls && self.tls_cert.is_none() {
            return fault("--admin-tls needs --tls-cert and --tls-key: give them too".into());
        }
        let is_open = self.access.api_keys.is_empty() && !self.insecure;
        if is_open && !address.ip().to_canonical().is_loopback() {
            return fault(format!(
                "--admin-listen {address} without an API key would let anybody in: give --api-key KEY \
                 (ROOMCAST_API_KEY), a loopback address, or --insecure to do it all the same"
            ));
        }
        Ok(())
    }

    fn check_tls(&self) -> Result<(), SettingsError> {
        let (given, missing) = match (&self.tls_cert, &self.tls_key) {
            (None, None) => return Ok(()),
            (Some(_), None) => ("cert", "key"),
            (None, Some(_)) => ("key", "cert"),
            (Some(_), Some(_)) if cfg!(feature = "tls") => return Ok(()),
            (Some(_), Some(_)) => {
                return Err(SettingsError(
                    "--tls-cert needs a server that is built with the feature `tls` of `roomcast`: add \
                     it, or leave --tls-cert and --tls-key out"
                        .into(),
                ));
            }
        };
        Err(SettingsError(format!(
            "--tls-{given} needs --tls-{missing} as well: give both files, or neither"
        )))
    }

    /// Checks the relations between settings. [`run`](crate::run) calls this too.
    ///
    /// # Errors
    ///
    /// The first setting that must change, by the name of its flag.
    pub fn check(&self) -> Result<(), SettingsError> {
        let fault = |text: String| Err(SettingsError(text));
        if !self.listen.ip().to_canonical().is_loopback()
            && self.access.api_keys.is_empty()
            && !self.insecure
        {
            return fault(format!(
                "listening on {} without an API key would let anybody in: give --api-key KEY \
                 (ROOMCAST_API_KEY), or --insecure to do it all the same",
                self.listen
            ));
        }
        self.check_admin()?;
        check_ranges(Self::TABLE, self)?;
        self.check_tls()?;
        if self.store.is_some() && !cfg!(feature = "store") {
            return fault(
                "--store needs a server that is built with the feature `store` of `roomcast`: add it, \
                 or leave --store out"
                    .into(),
            );
        }
        self.check_relay()?;
        if self.access.tokens.jwks.is_some() && !cfg!(feature = "jwks") {
            return fault(
                "--jwks needs a server that is built with the feature `jwks` of `roomcast`: add it, \
                 or leave --jwks out"
                    .into(),
            );
        }
        if self.otlp.endpoint.is_some() && !cfg!(feature = "jwks") {
            return fault(
                "--otlp-endpoint needs a server that is built with the feature `jwks` of `roomcast`: add \
                 it, or leave --otlp-endpoint out"
                    .into(),
            );
        }
        if (!self.hooks.is_empty() || self.ask.is_some()) && !cfg!(feature = "jwks") {
            return fault(
                "`[[hooks]]` and `[ask]` need a server that is built with the feature `jwks` of `roomcast`: add it, \
                 or leave the tables out"
                    .into(),
            );
        }
        check_limits(&self.hub)?;
        check_ranges(ACCESS, &self.access)?;
        self.access.check()?;
        self.proxy_trust.check()?;
        // Otherwise a single allowed message might not fit the queue.
        if self.outbox_bytes_max < 2 * self.hub.message_bytes {
            return fault(format!(
                "--outbox-bytes-max must be at least twice --message-bytes-max, {}",
                2 * self.hub.message_bytes
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn a_public_address_needs_a_key_or_a_word() {
        let mut settings = Settings {
            listen: ([0, 0, 0, 0], 3000).into(),
            ..Settings::default()
        };
        let fault = settings.check().expect_err("no key").to_string();
        assert!(fault.contains("--api-key") && fault.contains("--insecure"));
        settings.insecure = true;
        assert_eq!(settings.check(), Ok(()));
    }

    #[test]
    fn an_admin_address_needs_the_same() {
        let mut settings = Settings {
            admin_listen: Some(([0, 0, 0, 0], 3001).into()),
            ..Settings::default()
        };
        let fault = settings.check().expect_err("no key").to_string();
        assert!(fault.contains("--admin-listen") && fault.contains("--api-key"));
        settings.admin_listen = Some(([127, 0, 0, 1], 3001).into());
        assert_eq!(settings.check(), Ok(()));
        settings.admin_tls = true;
        let fault = settings.check().expect_err("no certificate").to_string();
        assert!(fault.contains("--tls-cert"), "{fault}");
        settings.admin_listen = None;
        let fault = settings.check().expect_err("no address").to_string();
        assert!(fault.contains("needs --admin-listen"), "{fault}");
    }

    #[test]
    fn a_loopback_address_is_one_in_each_of_its_forms() {
        for listen in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let settings = Settings {
                listen: listen.parse().expect("an address"),
                ..Settings::default()
            };
            assert_eq!(settings.check(), Ok(()), "{listen}");
        }
    }

    #[test]
    fn a_store_needs_its_feature() {
        let settings = Settings {
            store: Some("histories".into()),
            ..Settings::default()
        };
        let fault = settings.check().map_err(|fault| fault.to_string());
        if cfg!(feature = "store") {
            assert_eq!(fault, Ok(()));
        } else {
            let fault = fault.expect_err("no store to be had");
            assert!(fault.starts_with("--store needs") && fault.contains("feature `store`"));
        }
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        for (cert, key, says) in [
            (Some("c"), None, "--tls-cert needs --tls-key"),
            (None, Some("k"), "--tls-key needs --tls-cert"),
        ] {
            let mut settings = Settings::default();
            (settings.tls_cert, settings.tls_key) = (cert.map(Into::into), key.map(Into::into));
            let fault = settings.check().expect_err("one alone").to_string();
            assert!(fault.starts_with(says), "{fault}");
        }
    }

    #[test]
    fn limits_must_fit_each_other() {
        let mut settings = Settings::default();
        settings.outbox_bytes_max = settings.hub.message_bytes;
        let fault = settings.check().expect_err("too small").to_string();
        assert!(fault.contains("--outbox-bytes-max") && fault.contains("131072"));
        settings = Settings::default();
        settings.hub.room_name_bytes = 0;
        let fault = settings.check().expect_err("no name fits").to_string();
        assert_eq!(fault, "--room-name-bytes-max must be 1 to 65536");
    }
}
