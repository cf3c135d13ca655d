//! Proxies that are trusted to say who a client is, and where it comes from.

mod network;
mod user_header;

use alloc::{boxed::Box, vec::Vec};
use core::net::{IpAddr, SocketAddr};

pub use self::{
    network::{Network, NetworkError},
    user_header::{NamedUserError, UserHeader, UserHeaderNameError},
};
use crate::settings::SettingError;

/// Trust in proxies before a host, to name the address and the user of a client. By default none
/// is trusted.
///
/// Every program that reaches the host from a trusted network can name any user.
///
/// ```
/// use roomcast_http::{NamedUserError, ProxyTrust};
///
/// let mut trust = ProxyTrust::default();
/// trust.networks = vec!["10.0.0.0/8".parse()?];
/// trust.user_header = Some("X-Auth-Request-User".parse()?);
/// let (proxy, stranger) = ([10, 0, 0, 7].into(), [203, 0, 113, 9].into());
///
/// let user = trust.user(proxy, [&b"ann"[..]])?;
/// assert_eq!(user.as_deref(), Some("ann"));
/// assert_eq!(trust.user(proxy, []), Ok(None), "anonymous");
/// assert_eq!(trust.user(stranger, [&b"ann"[..]]), Err(NamedUserError::Untrusted));
///
/// let client = trust.client(proxy, [&b"198.51.100.1, 203.0.113.9"[..]].into_iter());
/// assert_eq!(client, stranger);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyTrust {
    /// Networks that the proxies are in; default none.
    pub networks: Vec<Network>,
    /// The header field in which the proxies name the user; default none.
    pub user_header: Option<UserHeader>,
}

impl ProxyTrust {
    /// Checks that there is a trusted network if a header field for users is set.
    ///
    /// # Errors
    ///
    /// When there is no trusted network.
    pub fn check(&self) -> Result<(), SettingError> {
        if self.user_header.is_some() && self.networks.is_empty() {
            let fault = "needs --trusted-proxy (ROOMCAST_TRUSTED_PROXY), the address or network of \
                the proxy that names the user: it could be anybody";
            return Err(SettingError::new("user-header", fault));
        }
        Ok(())
    }

    /// True when a peer with this address is a trusted proxy.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(peer))
    }

    /// The user whom the peer names, given the values of all fields of the name
    /// [`user_header`](Self::user_header); `None` if anonymous.
    ///
    /// # Errors
    ///
    /// When the peer names a user without being trusted, or when it is trusted and the fields do
    /// not name exactly one valid user.
    pub fn user<'v>(
        &self,
        peer: IpAddr,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) -> Result<Option<Box<str>>, NamedUserError> {
        let mut values = values.into_iter().peekable();
        if self.user_header.is_none() || values.peek().is_none() {
            return Ok(None);
        }
        if !self.trusts(peer) {
            return Err(NamedUserError::Untrusted);
        }
        user_header::read(values)
    }

    /// The address of the client, given the values of all fields `X-Forwarded-For` in order: the
    /// rightmost address that is not a trusted proxy. Entries to the left of it are claims of the
    /// client. If an entry is not an address, the proxy that wrote it counts as the client.
    ///
    /// Work: the number of entries that trusted proxies wrote.
    pub fn client<'v>(
        &self,
        peer: IpAddr,
        values: impl DoubleEndedIterator<Item = &'v [u8]>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        let entries = values
            .rev()
            .flat_map(|value| value.rsplit(|&byte| byte == b','));
        for entry in entries {
            if !self.trusts(client) {
                break;
            }
            let Some(before) = forwarded(entry) else {
                break;
            };
            client = before;
        }
        client
    }
}

/// An entry of `X-Forwarded-For`: an address, which some proxies write in brackets or with a port.
fn forwarded(entry: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(entry).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse().ok();
    let address = address.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn trust() -> ProxyTrust {
        ProxyTrust {
            networks: ["10.0.0.0/8", "2001:db8::7"]
                .map(|text| text.parse().expect(text))
                .into(),
            user_header: Some("X-User".parse().expect("a name")),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn nobody_but_a_trusted_proxy_names_a_user() {
        let trust = trust();
        for proxy in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"] {
            let user = trust.user(ip(proxy), [&b"ann"[..]]).expect(proxy);
            assert_eq!(user.as_deref(), Some("ann"), "{proxy}");
            assert_eq!(trust.user(ip(proxy), []), Ok(None), "{proxy}");
            let empty = trust.user(ip(proxy), [&b""[..]]);
            assert_eq!(empty, Err(NamedUserError::Empty), "{proxy}");
        }
        for stranger in ["11.0.0.1", "127.0.0.1", "::1", "2001:db8::8", "::10.1.2.3"] {
            // An empty one, and several, are no way to find out who is trusted.
            for values in [&[&b"ann"[..]][..], &[b""], &[b"ann", b"bob"]] {
                let refused = trust.user(ip(stranger), values.iter().copied());
                assert_eq!(refused, Err(NamedUserError::Untrusted), "{stranger}");
            }
            assert_eq!(trust.user(ip(stranger), []), Ok(None), "{stranger}");
        }
    }

    #[test]
    fn without_the_setting_no_field_names_anybody() {
        let mut trust = trust();
        trust.user_header = None;
        for peer in ["10.1.2.3", "192.0.2.1"] {
            assert_eq!(trust.user(ip(peer), [&b"ann"[..]]), Ok(None), "{peer}");
        }
    }

    #[test]
    fn a_header_for_users_needs_a_proxy() {
        assert_eq!(ProxyTrust::default().check(), Ok(()));
        assert_eq!(trust().check(), Ok(()));
        let mut alone = trust();
        alone.networks.clear();
        let fault = alone.check().expect_err("anybody could").to_string();
        assert!(fault.starts_with("ROOMCAST_USER_HEADER needs "), "{fault}");
        assert!(fault.contains("--trusted-proxy"), "{fault}");
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_no_proxy() {
        let trust = trust();
        for (peer, values, client) in [
            ("10.0.0.1", &[][..], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.1",
                &["203.0.113.9, 10.0.0.2,10.0.0.3"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &["203.0.113.9", "10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.2", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("2001:db8::7", &["2001:db8::9"], "2001:db8::9"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::9]:4711"], "2001:db8::9"),
            ("10.0.0.1", &["[2001:db8::9]"], "2001:db8::9"),
            // What is no address was not written by a proxy that names its client.
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, "], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
            // Nobody else is believed.
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            (
                "10.0.0.1",
                &["198.51.100.1, 203.0.113.9, 192.0.2.1"],
                "192.0.2.1",
            ),
        ] {
            let found = trust.client(ip(peer), values.iter().map(|value| value.as_bytes()));
            assert_eq!(found, ip(client), "{peer} {values:?}");
        }
        let none = ProxyTrust::default();
        let found = none.client(ip("10.0.0.1"), [&b"203.0.113.9"[..]].into_iter());
        assert_eq!(found, ip("10.0.0.1"));
    }
}
