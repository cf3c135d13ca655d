//! Names under which a server is taken.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};
use core::{fmt, net::IpAddr, str::FromStr};

use super::{
    host_name::{Host, address, host_only, is_loopback_host},
    slip,
};

/// A host name under which a server on loopback may be asked: `chat.example`, or with one wildcard
/// for whole labels, `*.chat.example`. With any port.
///
/// Read as the address bar of a browser reads it. A dot at the end makes no difference, and an
/// address is one in any spelling that browsers send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// A name has no dot at its end.
    host: Host,
    /// Labels must stand before the name, any and as many as there are.
    subdomains: bool,
}

/// A text that is no host name; says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostRuleError(String);

const EXPECTED: &str = "a host is a name or an address without scheme, port and path, like \
    chat.example or *.chat.example";

impl FromStr for HostRule {
    type Err = HostRuleError;

    fn from_str(text: &str) -> Result<Self, HostRuleError> {
        let text = text.trim();
        Self::read(text).map_err(|fault| {
            let meant = slip::hosts(text);
            HostRuleError(slip::told(EXPECTED, &fault, &meant))
        })
    }
}

impl HostRule {
    /// Reads a rule; else says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (subdomains, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        if text == "*" {
            return Err("list the names, `*` alone is none".to_owned());
        }
        if name.contains('/') {
            return Err("it has no scheme and no path".to_owned());
        }
        if name.contains('*') {
            return Err("`*.` stands at its beginning, for whole labels".to_owned());
        }
        if let Some((host, _)) = name.rsplit_once(':')
            && Host::read(host).is_ok()
        {
            return Err("it has no port, any is taken".to_owned());
        }
        let host = match Host::read(name)? {
            Host::Address(_) if subdomains => {
                return Err("an address has no names below it".to_owned());
            }
            Host::Address(IpAddr::V4(address)) if address.to_string() != name => {
                return Err("browsers make an address of it".to_owned());
            }
            Host::Name(name) => Host::Name(without_dot(&name).to_owned()),
            address @ Host::Address(_) => address,
        };
        Ok(Self { host, subdomains })
    }

    /// True when the rule is about a host name, which has no port.
    pub(super) fn allows(&self, host: &str) -> bool {
        let rule = match &self.host {
            Host::Name(rule) => rule,
            Host::Address(rule) => return address(host) == Some(rule.to_canonical()),
        };
        let host = host.to_ascii_lowercase();
        let host = without_dot(&host);
        if self.subdomains {
            let labels = host.strip_suffix(&**rule);
            let labels = labels.and_then(|labels| labels.strip_suffix('.'));
            labels.is_some_and(|labels| !labels.is_empty())
        } else {
            host == rule
        }
    }

    /// True when only this machine has the names of the rule.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host.to_string())
    }
}

/// The rule as a setting names it.
impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wildcard = if self.subdomains { "*." } else { "" };
        write!(f, "{wildcard}{}", self.host)
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The host of an origin or of a `Host` header as a setting may name it: `None` for what is no
/// plain name.
pub(super) fn plain(text: &str) -> Option<String> {
    let host = host_only(text);
    if host.contains('*') || !host.is_ascii() {
        return None;
    }
    let rule = host.parse::<HostRule>().ok()?;
    Some(format!("{rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_exact_or_whole_labels() {
        let allows = |rule: &str, host: &str| rule.parse::<HostRule>().expect(rule).allows(host);
        for (rule, host) in [
            ("Chat.example", "chat.EXAMPLE"),
            ("*.chat.example", "a.b.chat.example"),
            (" chat.example\n", "chat.example"),
            ("chat.example.", "chat.example"),
            ("chat.example", "chat.example."),
            ("*.chat.example.", "a.chat.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1", "[::ffff:a00:1]"),
            ("[fd00::1]", "[fd00::1]"),
            ("[FD00:0:0::1]", "[fd00::1]"),
            ("[::ffff:10.0.0.1]", "[::ffff:a00:1]"),
            ("[::ffff:a00:1]", "10.0.0.1"),
            ("[::1.2.3.4]", "[::102:304]"),
        ] {
            assert!(allows(rule, host), "{rule} and {host}");
        }
        for (rule, host) in [
            ("chat.example", "a.chat.example"),
            ("*.chat.example", "chat.example"),
            ("*.chat.example", ".chat.example"),
            ("*.chat.example", "achat.example"),
            ("10.0.0.1", "a.10.0.0.1"),
            ("10.0.0.1", "10.0.0.2"),
            ("[fd00::1]", "fd00::1"),
        ] {
            assert!(!allows(rule, host), "{rule} and {host}");
        }
    }

    #[cfg(feature = "idn")]
    #[test]
    fn other_letters_are_sent_as_punycode() {
        let rule: HostRule = "*.B\u{fc}cher.example".parse().expect("a rule");
        assert!(rule.allows("a.xn--bcher-kva.example"));
        assert_eq!(rule.to_string(), "*.xn--bcher-kva.example");
    }

    #[cfg(not(feature = "idn"))]
    #[test]
    fn other_letters_must_be_written_as_punycode() {
        let fault = "b\u{fc}cher.example".parse::<HostRule>();
        let said = fault.expect_err("not as it is sent").to_string();
        assert!(said.contains("xn--") && said.contains("new URL("), "{said}");
    }

    #[test]
    fn what_is_no_rule_says_what_to_write() {
        for (bad, advice) in [
            ("", "its host is missing"),
            ("*", "`*` alone is none"),
            ("*.", "its host is missing"),
            ("https://chat.example", ": write chat.example"),
            ("https://chat.example:3000/path", ": write chat.example"),
            ("chat.example:3000", ": write chat.example"),
            ("chat.example/path", ": write chat.example"),
            ("chat.example/", ": write chat.example"),
            ("\"chat.example\"", ": write chat.example"),
            ("*.[::1]", ": write [::1]"),
            ("[::1]:3000", ": write [::1]"),
            ("fd00::1", ": write [fd00::1]"),
            ("*.127.0.0.1", ": write 127.0.0.1"),
            ("127.1", ": write 127.0.0.1"),
            ("0", ": write 0.0.0.0"),
            ("0x7f.1", ": write 127.0.0.1"),
            ("127.0.0.1.", ": write 127.0.0.1"),
            ("*a.com", ": write *.a.com"),
            ("a.com b.com", ": write a.com and b.com"),
            ("a.com; b.com, c.com", ": write a.com, b.com and c.com"),
            ("a..b", "single dots"),
            ("a.*.b", "`*.` stands at its beginning"),
            ("a.1", "IPv4 address"),
            ("xn--.com", "no name that can be registered"),
            ("[fe80::1%1]", "no IPv6 address"),
            ("fe80::1%1", "stands in brackets"),
        ] {
            let fault = bad.parse::<HostRule>().expect_err(bad).to_string();
            assert!(
                fault.starts_with("a host is") && fault.contains(advice),
                "{bad:?}: {fault}"
            );
            slip::tests::assert_accepted::<HostRule>(&fault);
        }
    }
}
