//! The address of the relay between servers.

use std::{fmt, str::FromStr};

/// The address of the relay that servers share: Redis or Valkey, version 7 or newer.
///
/// - `redis://user:password@host:6379`, with TLS `rediss://`
/// - `redis+sentinel://user:password@host:26379,host:26379/service`
/// - `unix:///path/to/socket`
///
/// It is shown without user and password.
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

/// An address that is malformed; the message says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RelayAddressError(Box<str>);

impl RelayAddress {
    /// The whole address.
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

/// Without the feature nothing is known of addresses. The check of the settings refuses them all.
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
