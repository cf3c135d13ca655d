//! Which web pages may connect.

use alloc::{borrow::ToOwned, format, string::String};
use core::str::FromStr;

use super::host::{host_only, is_loopback_host};

/// An origin that may connect: `https://example.com`, `http://localhost:5173`, or with one
/// wildcard for whole labels, `https://*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule {
    scheme: String,
    /// Lower case, with its port when it is not the scheme's own.
    authority: String,
    /// Whether any labels may stand before the authority.
    subdomains: bool,
}

/// A text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is a scheme, a host and maybe a port, like https://example.com or https://*.example.com"
)]
pub struct OriginRuleError;

impl FromStr for OriginRule {
    type Err = OriginRuleError;

    fn from_str(text: &str) -> Result<Self, OriginRuleError> {
        // The wildcard is the rule's, not the origin's: no host name has one.
        let plain = text.replacen("://*.", "://", 1);
        let (scheme, authority) = split(&plain).ok_or(OriginRuleError)?;
        let subdomains = plain.len() < text.len();
        Ok(Self {
            scheme,
            authority,
            subdomains,
        })
    }
}

impl OriginRule {
    /// True when only pages of this machine have such an origin.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback_host(host_only(&self.authority))
    }

    fn allows(&self, scheme: &str, authority: &str) -> bool {
        self.scheme == scheme
            && if self.subdomains {
                // At least one whole label before the dot.
                authority
                    .strip_suffix(&self.authority)
                    .and_then(|labels| labels.strip_suffix('.'))
                    .is_some_and(|labels| !labels.is_empty())
            } else {
                self.authority == authority
            }
    }
}

/// The scheme and the authority of an origin, in lower case, without the scheme's own port.
pub(super) fn split(origin: &str) -> Option<(String, String)> {
    let origin = origin.to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://")?;
    // An origin ends with its authority; anything more is not one that a browser sends.
    if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ', '\\', '*']) {
        return None;
    }
    let host = host_only(authority);
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return None; // a colon that begins no port
    }
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let authority = match authority.strip_suffix(own_port) {
        Some(host) if !own_port.is_empty() => host,
        _ => authority,
    };
    Some((scheme.to_owned(), authority.to_owned()))
}

/// Whether a request from this origin may connect. No origin at all is no browser, and passes.
///
/// A page of the server itself passes; so does any page of this machine to a server on this
/// machine, for local work. Everything else, `null` included, must be listed.
pub(super) fn may_connect(
    origin: Option<&str>,
    host: &str,
    local: bool,
    rules: &[OriginRule],
) -> bool {
    let Some(origin) = origin else {
        return true;
    };
    let Some((scheme, authority)) = split(origin) else {
        return false;
    };
    let same_host = split(&format!("{scheme}://{host}")).is_some_and(|own| own.1 == authority);
    let local =
        local && is_loopback_host(host_only(host)) && is_loopback_host(host_only(&authority));
    same_host || local || rules.iter().any(|rule| rule.allows(&scheme, &authority))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn allowed(origin: &str, host: &str, rules: &[&str]) -> bool {
        let rules: Vec<_> = rules.iter().map(|rule| rule.parse().expect(rule)).collect();
        may_connect(Some(origin), host, false, &rules)
    }

    #[test]
    fn the_own_page_passes_and_strangers_do_not() {
        assert!(allowed("https://chat.example", "chat.example", &[]));
        assert!(allowed(
            "http://chat.example:3000",
            "chat.example:3000",
            &[]
        ));
        assert!(!allowed(
            "http://chat.example:3001",
            "chat.example:3000",
            &[]
        ));
        assert!(!allowed(
            "https://chat.example.evil.com",
            "chat.example",
            &[]
        ));
        assert!(!allowed("null", "chat.example", &["https://chat.example"]));
        assert!(may_connect(None, "h", false, &[]));
    }

    #[test]
    fn rules_are_exact_or_whole_labels() {
        let rules = ["https://a.com", "https://*.b.com", "http://c.com:8080"];
        for good in [
            "https://a.com",
            "https://A.com:443",
            "https://x.b.com",
            "https://x.y.b.com",
            "http://c.com:8080",
        ] {
            assert!(allowed(good, "h", &rules), "{good}");
        }
        for bad in [
            "http://a.com",
            "https://a.com:444",
            "https://b.com",
            "https://evilb.com",
            "https://.b.com",
            "https://x.b.com.evil.com",
            "https://evil.com/.b.com",
            "https://*.b.com",
            "https://evil.com:443.b.com",
            "https://evil.com@x.b.com",
            "http://c.com",
        ] {
            assert!(!allowed(bad, "h", &rules), "{bad}");
        }
    }

    #[test]
    fn local_pages_reach_a_local_server_only() {
        let origin = Some("http://localhost:5173");
        assert!(may_connect(origin, "127.0.0.1:3000", true, &[]));
        assert!(!may_connect(origin, "chat.example", true, &[]));
        assert!(!may_connect(origin, "127.0.0.1:3000", false, &[]));
        let trick = Some("http://localhost.evil.com");
        assert!(!may_connect(trick, "127.0.0.1:3000", true, &[]));
    }

    #[test]
    fn rules_must_be_origins() {
        for bad in [
            "example.com",
            "https://",
            "https://*",
            "https://a.com/path",
            "*",
            "https://a.*.com",
        ] {
            assert_eq!(bad.parse::<OriginRule>(), Err(OriginRuleError), "{bad}");
        }
    }
}
