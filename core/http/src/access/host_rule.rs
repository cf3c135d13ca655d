//! Names under which a server may be requested.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
};
use core::{fmt, net::IpAddr, str::FromStr};

use super::{
    host_name::{Host, address, covers, is_loopback_host, split_wildcard, wildcard, without_dot},
    slip::{self, Parts},
};

/// A host name under which a server on loopback may be requested: `chat.example`, or with one
/// wildcard for whole labels, `*.chat.example`; with any port.
///
/// It is read as the address bar of a browser reads it. A dot at the end makes no difference, and
/// an address matches in any spelling that browsers send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// The host; a name is stored without a dot at its end.
    host: Host,
    /// True when at least one label must stand before the name.
    subdomains: bool,
}

/// The error of a text that is not a host name. It says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostRuleError(String);

const EXPECTED: &str = "a host is a name or an address without scheme, port and path, like \
    chat.example or *.chat.example";

impl FromStr for HostRule {
    type Err = HostRuleError;

    fn from_str(text: &str) -> Result<Self, HostRuleError> {
        let text = text.trim();
        let meant = |parts: Parts| Some(Self::read(&parts.name()).ok()?.to_string());
        Self::read(text).map_err(|fault| HostRuleError(slip::told(EXPECTED, &fault, text, &meant)))
    }
}

impl HostRule {
    /// Reads a rule, or says what is wrong with it.
    fn read(text: &str) -> Result<Self, String> {
        let (subdomains, name) = split_wildcard(text);
        let before_port = name.rsplit_once(':').map(|(host, _)| host);
        let fault = match name {
            _ if text == "*" => "list the names, `*` alone is none",
            _ if name.contains('/') => "it has no scheme and no path",
            _ if name.contains('*') => "`*.` stands at its beginning, for whole labels",
            _ if before_port.is_some_and(|host| Host::read(host).is_ok()) => {
                "it has no port, any is taken"
            }
            _ => match Host::read(name)? {
                Host::Address(_) if subdomains => "an address has no names below it",
                Host::Address(IpAddr::V4(address)) if address.to_string() != name => {
                    "browsers make an address of it"
                }
                host @ Host::Address(_) => return Ok(Self { host, subdomains }),
                Host::Name(name) => {
                    let host = Host::Name(without_dot(&name).to_owned());
                    return Ok(Self { host, subdomains });
                }
            },
        };
        Err(fault.to_owned())
    }

    /// True when the rule allows a host name, given without a port.
    pub(super) fn allows(&self, host: &str) -> bool {
        match &self.host {
            Host::Name(rule) => {
                let host = host.to_ascii_lowercase();
                covers(self.subdomains, rule, without_dot(&host))
            }
            Host::Address(rule) => address(host) == Some(rule.to_canonical()),
        }
    }

    /// True when all names of the rule mean this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host.to_string())
    }
}

/// The rule as it is written in a setting.
impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", wildcard(self.subdomains), self.host)
    }
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
