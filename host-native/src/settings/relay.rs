//! The relay between servers: its address, its lineage, and the prefix of its keys.

use std::{fmt, str::FromStr};

/// The default of [`Settings::relay_prefix`](super::Settings::relay_prefix).
pub(crate) const PREFIX: &str = "roomcast:";
/// The maximum length of a prefix in bytes: each key and topic begins with the prefix.
pub(super) const PREFIX_BYTES_MAX: usize = 64;

/// The address of the relay that servers share: Redis or Valkey, version 7 or newer.
///
/// - `redis://user:password@host:6379`, with TLS `rediss://`
/// - `redis+sentinel://user:password@host:26379,host:26379/service`
/// - `redis+cluster://user:password@host:6379,host:6379`
/// - `unix:///path/to/socket`
///
/// `Display` and `Debug` show no user and password.
///
/// ```
/// # #[cfg(feature = "relay")] {
/// use roomcast::RelayAddress;
///
/// let relay: RelayAddress = "redis://ann:secret@host:6379".parse()?;
/// assert_eq!(relay.to_string(), "redis://host:6379");
/// assert!("host:6379".parse::<RelayAddress>().is_err());
/// # }
/// # Ok::<_, roomcast::RelayAddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RelayAddress {
    #[cfg_attr(not(feature = "relay"), allow(dead_code))] // nobody connects to it
    text: Box<str>,
    shown: Box<str>,
}

/// A malformed address; the message names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RelayAddressError(Box<str>);

impl RelayAddress {
    /// The whole address, with user and password.
    #[cfg(feature = "relay")]
    pub(crate) fn as_text(&self) -> &str {
        &self.text
    }
}

impl FromStr for RelayAddress {
    type Err = RelayAddressError;

    fn from_str(text: &str) -> Result<Self, RelayAddressError> {
        let shown = shown(text)?;
        let text = text.into();
        Ok(Self { text, shown })
    }
}

#[cfg(feature = "relay")]
fn shown(text: &str) -> Result<Box<str>, RelayAddressError> {
    let url: Result<roomcast_relay::RelayUrl, _> = text.parse();
    let url = url.map_err(|fault| RelayAddressError(fault.to_string().into()))?;
    Ok(url.to_string().into())
}

/// Without the feature, addresses cannot be parsed. The check of the settings refuses them all.
#[cfg(not(feature = "relay"))]
fn shown(text: &str) -> Result<Box<str>, RelayAddressError> {
    let (scheme, _) = text.split_once("://").unwrap_or_default();
    Ok(format!("{scheme}://").into())
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayAddress({})", self.shown)
    }
}

/// The mark of the relay's data. If it differs from a room's mark, the room begins a new epoch, and
/// its members are told of a gap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayLineage {
    /// The replication id, which changes with each failover and restart.
    #[default]
    Replication,
    /// A value that is stored with the data, so that epochs outlive a restart. For a server with
    /// `appendfsync always` and without replicas, which loses nothing.
    Data,
    /// The id of the server's run, which misses a failover there and back. For negative controls in
    /// tests.
    #[doc(hidden)]
    RunId,
    /// No mark, which misses every failover. For negative controls in tests.
    #[doc(hidden)]
    Off,
}

impl RelayLineage {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::Data => "data",
            Self::RunId => "run_id",
            Self::Off => "off",
        }
    }

    pub(super) fn read(text: &str) -> Result<Self, String> {
        let all = [Self::Replication, Self::Data, Self::RunId, Self::Off];
        let found = all.into_iter().find(|lineage| lineage.name() == text);
        found.ok_or_else(|| "must be one of replication, data".to_owned())
    }
}

/// Checks the prefix of keys and topics. It may contain one hash tag, for Redis Cluster.
pub(super) fn check_prefix(text: &str) -> Result<(), String> {
    let is_plain = |text: &str| {
        let may_be_there = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        text.bytes().all(may_be_there)
    };
    let is_good = match text.split_once('{') {
        None => is_plain(text),
        Some((before, rest)) => rest.split_once('}').is_some_and(|(tag, after)| {
            !tag.is_empty() && [before, tag, after].into_iter().all(is_plain)
        }),
    };
    if (1..=PREFIX_BYTES_MAX).contains(&text.len()) && is_good {
        return Ok(());
    }
    Err(format!(
        "must be 1 to {PREFIX_BYTES_MAX} letters, digits, and any of - _ . : /, such as chat:, or with \
         a hash tag {{chat}}:"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lineages_of_negative_controls_are_read_and_not_named() {
        for lineage in [RelayLineage::RunId, RelayLineage::Off] {
            assert_eq!(RelayLineage::read(lineage.name()), Ok(lineage));
        }
        let fault = RelayLineage::read("on").expect_err("no lineage");
        assert_eq!(fault, "must be one of replication, data");
    }
}
