//! Names under which a server is taken.

use alloc::{borrow::ToOwned, string::String};
use core::{net::IpAddr, str::FromStr};

/// A host name under which a server on loopback may be asked: `chat.example`, or with one wildcard
/// for whole labels, `*.chat.example`. With any port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// Lower case; an IPv6 address has its brackets.
    name: String,
    /// Labels must stand before the name, any and as many as there are.
    subdomains: bool,
}

/// A text that is no host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host is a name or an address without scheme, port and path, like chat.example or *.chat.example"
)]
pub struct HostRuleError;

impl FromStr for HostRule {
    type Err = HostRuleError;

    fn from_str(text: &str) -> Result<Self, HostRuleError> {
        let (subdomains, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let is_label = |label: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(known)
        };
        let is_name = name.len() <= 253 && name.split('.').all(is_label);
        let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
        let is_address = address.is_some_and(|bare| bare.parse::<core::net::Ipv6Addr>().is_ok());
        if is_name || (is_address && !subdomains) {
            let name = name.to_ascii_lowercase();
            Ok(Self { name, subdomains })
        } else {
            Err(HostRuleError)
        }
    }
}

impl HostRule {
    /// True when the rule is about a host name, which has no port.
    pub(super) fn allows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        if self.subdomains {
            let labels = host.strip_suffix(&self.name);
            let labels = labels.and_then(|labels| labels.strip_suffix('.'));
            labels.is_some_and(|labels| !labels.is_empty())
        } else {
            host == self.name
        }
    }

    /// True when only this machine has the names of the rule.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback_host(&self.name)
    }
}

/// The host of a `Host` header or an authority, without its port.
pub(super) fn host_only(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// True for a host name that can only mean this machine: `localhost`, a name below it, a loopback
/// address.
pub(super) fn is_loopback_host(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => match rest.strip_suffix(']') {
            Some(bare) => bare,
            None => return false,
        },
        None => host,
    };
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = host.to_ascii_lowercase();
    let labels = name.strip_suffix("localhost");
    labels.is_some_and(|labels| labels.is_empty() || labels.len() > 1 && labels.ends_with('.'))
}

/// True for a host name that looks as if a proxy had put it there: loopback, a private address, or a name
/// of one label, as upstreams in the files of proxies have.
pub(super) fn is_upstream_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        Err(_) => !host.is_empty() && (is_loopback_host(host) || !host.contains('.')),
    }
}

/// The host of an origin or of a `Host` header as a setting may name it: `None` for what is no
/// plain name.
pub(super) fn plain(text: &str) -> Option<String> {
    let host = host_only(text);
    host.parse::<HostRule>().ok()?;
    (!host.contains('*')).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_or_localhost_and_nothing_like_it() {
        for good in [
            "localhost",
            "LOCALHOST",
            "app.localhost",
            "a.b.LocalHost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
        ] {
            assert!(is_loopback_host(good), "{good}");
        }
        for bad in [
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "evillocalhost",
            ".localhost",
            "localhost.",
            "10.0.0.1",
            "0.0.0.0",
            "[::ffff:10.0.0.1]",
            "[::1",
            "[localhost]",
            "",
        ] {
            assert!(!is_loopback_host(bad), "{bad}");
        }
        assert_eq!(host_only("[::1]:3000"), "[::1]");
        assert_eq!(host_only("localhost"), "localhost");
    }

    #[test]
    fn rules_are_exact_or_whole_labels() {
        let allows = |rule: &str, host: &str| rule.parse::<HostRule>().expect(rule).allows(host);
        assert!(allows("Chat.example", "chat.EXAMPLE"));
        assert!(!allows("chat.example", "a.chat.example"));
        assert!(allows("*.chat.example", "a.b.chat.example"));
        for bad in ["chat.example", ".chat.example", "achat.example"] {
            assert!(!allows("*.chat.example", bad), "{bad}");
        }
        assert!(allows("[fd00::1]", "[fd00::1]") && allows("10.0.0.1", "10.0.0.1"));
    }

    #[test]
    fn rules_must_be_host_names() {
        for bad in [
            "",
            "*",
            "*.",
            "https://chat.example",
            "chat.example:3000",
            "chat.example/path",
            "a..b",
            "a.*.b",
            "*.[::1]",
            "[::1]:3000",
            "fd00::1",
            "a b",
        ] {
            assert_eq!(bad.parse::<HostRule>(), Err(HostRuleError), "{bad}");
        }
    }

    #[test]
    fn upstreams_are_private_or_have_one_label() {
        for good in [
            "127.0.0.1",
            "localhost",
            "backend",
            "app_servers",
            "10.1.2.3",
            "[fd00::1]",
        ] {
            assert!(is_upstream_host(good), "{good}");
        }
        for bad in ["", "chat.example", "203.0.113.7", "[2001:db8::1]"] {
            assert!(!is_upstream_host(bad), "{bad}");
        }
    }
}
