//! Origins of web pages that may connect.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};
use core::{fmt, net::Ipv6Addr, str::FromStr};

use super::{
    host_name::{Host, covers, host_only, is_loopback_host, port, split_wildcard, wildcard},
    slip::{self, Parts},
};

/// An origin that may connect: `https://example.com`, `http://localhost:5173`, or with one
/// wildcard for whole labels, `https://*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRule {
    scheme: String,
    /// The authority as browsers send it, with its port unless it is the default of the scheme.
    authority: String,
    /// True when any labels may stand before the authority.
    subdomains: bool,
}

/// The error of a text that is not an origin. It says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OriginRuleError(String);

const EXPECTED: &str = "an origin is a scheme, a host and maybe a port, like https://example.com or https://*.example.com";

/// A rule as an operator may write it, in the form in which browsers send origins.
///
/// Surrounding blanks and line ends, a `/` at the end, upper case, zeros before the port, letters
/// beyond ASCII and other spellings of an address mean what they mean in the address bar of a
/// browser.
impl FromStr for OriginRule {
    type Err = OriginRuleError;

    fn from_str(text: &str) -> Result<Self, OriginRuleError> {
        let text = text.trim();
        let meant = |parts: Parts| Some(Self::read(&parts.origin()?).ok()?.to_string());
        Self::read(text)
            .map_err(|fault| OriginRuleError(slip::told(EXPECTED, &fault, text, &meant)))
    }
}

impl OriginRule {
    /// Reads a rule, or says what is wrong with it.
    fn read(text: &str) -> Result<Self, String> {
        let fault = match text {
            "" => "one is empty",
            "*" => "list the pages that may connect, `*` alone is none",
            _ if text.eq_ignore_ascii_case("null") => {
                "`null` is what any page can say that has no origin: serve yours over http or https"
            }
            _ if text.contains(char::is_whitespace) => "blanks and line ends separate none",
            _ => match text.split_once("://") {
                Some((scheme, rest)) => return Self::of(scheme.to_ascii_lowercase(), rest),
                None => "its scheme is missing",
            },
        };
        Err(fault.to_owned())
    }

    /// Reads the scheme and the text after `://`.
    fn of(scheme: String, rest: &str) -> Result<Self, String> {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (subdomains, authority) = split_wildcard(rest);
        let (host, port_text) = split_port(authority);
        let port = port(port_text);
        let is_address = host.starts_with('[') || host.parse::<Ipv6Addr>().is_ok();
        let fault = match host {
            _ if matches!(&*scheme, "ws" | "wss") => {
                "it is that of the page and not of the WebSocket"
            }
            _ if !slip::is_scheme(&scheme) => "its scheme is not one",
            _ if rest.contains(['/', '?', '#']) => "it has no path",
            _ if rest.contains('@') => "it has no user",
            _ if port.is_none() && !port_text.is_empty() => "its port is 1 to 65535",
            _ if host.contains('*') => "`*.` stands right behind ://, for whole labels",
            _ if host.contains(':') && !is_address => "it has one port",
            _ => match Host::read(host)? {
                Host::Address(_) if subdomains => "an address has no names below it",
                host @ (Host::Name(_) | Host::Address(_)) => {
                    let authority = match (&*scheme, port) {
                        ("http", Some(80)) | ("https", Some(443)) | (_, None) => host.to_string(),
                        (_, Some(port)) => format!("{host}:{port}"),
                    };
                    return Ok(Self {
                        scheme,
                        authority,
                        subdomains,
                    });
                }
            },
        };
        Err(fault.to_owned())
    }

    /// True when only pages of this machine can have such an origin.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback_host(host_only(&self.authority))
    }

    pub(super) fn allows(&self, scheme: &str, authority: &str) -> bool {
        self.scheme == scheme && covers(self.subdomains, &self.authority, authority)
    }
}

/// The host of an authority, and the text after its colon.
fn split_port(authority: &str) -> (&str, &str) {
    let behind_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[behind_brackets..].rfind(':') {
        Some(colon) => {
            let colon = behind_brackets + colon;
            (&authority[..colon], &authority[colon + 1..])
        }
        None => (authority, ""),
    }
}

impl fmt::Display for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wildcard = wildcard(self.subdomains);
        write!(f, "{}://{wildcard}{}", self.scheme, self.authority)
    }
}

/// The scheme and the authority of an origin, in lower case, without the scheme's default port.
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
    let authority = authority.strip_suffix(own_port).unwrap_or(authority);
    Some((scheme.to_owned(), authority.to_owned()))
}

/// True when a request from this origin may connect. A request without an origin does not come from
/// a browser, and may connect.
///
/// A page of the server itself may connect; so may any page of this machine to a server on this
/// machine, for local work. Every other origin, `null` included, must be listed.
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
    fn a_rule_means_what_it_means_in_the_address_bar() {
        for (rule, origin) in [
            (" https://b.com", "https://b.com"),
            ("https://b.com\r\n", "https://b.com"),
            ("https://b.com/", "https://b.com"),
            ("HTTPS://B.com:443", "https://b.com"),
            ("https://b.com:0443", "https://b.com"),
            ("https://b.com:", "https://b.com"),
            ("http://b.com:08080", "http://b.com:8080"),
            ("http://[0:0::1]:5173", "http://[::1]:5173"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("app://-", "app://-"),
            ("https://a.com.", "https://a.com."),
            ("https://[::ffff:1.2.3.4]", "https://[::ffff:102:304]"),
            (
                "https://[::FFFF:102:304]:8443",
                "https://[::ffff:102:304]:8443",
            ),
            ("https://[::1.2.3.4]", "https://[::102:304]"),
            ("https://1.2.3.0x4", "https://1.2.3.4"),
            ("https://127.1", "https://127.0.0.1"),
            ("https://2130706433:8443", "https://127.0.0.1:8443"),
            ("https://1.2.3.4.", "https://1.2.3.4"),
            ("https://*.B.com/", "https://x.b.com"),
        ] {
            assert!(allowed(origin, "h", &[rule]), "{rule:?} and {origin}");
        }
        assert!(!allowed("https://b.com", "h", &["https://*.b.com"]));
    }

    #[cfg(feature = "idn")]
    #[test]
    fn other_letters_are_sent_as_punycode() {
        for (rule, origin) in [
            (
                "https://b\u{fc}cher.example",
                "https://xn--bcher-kva.example",
            ),
            (
                "https://BU\u{308}cher.example",
                "https://xn--bcher-kva.example",
            ),
            ("https://fa\u{df}.de:8443", "https://xn--fa-hia.de:8443"),
            ("https://*.\u{4f8b}\u{3048}.jp", "https://a.xn--r8jz45g.jp"),
        ] {
            assert!(allowed(origin, "h", &[rule]), "{rule:?} and {origin}");
        }
        assert!("https://a\u{2f}\u{301}.b".parse::<OriginRule>().is_err());
    }

    #[cfg(not(feature = "idn"))]
    #[test]
    fn other_letters_must_be_written_as_punycode() {
        let fault = "https://b\u{fc}cher.example".parse::<OriginRule>();
        let said = fault.expect_err("not as it is sent").to_string();
        assert!(said.contains("xn--") && said.contains("new URL("), "{said}");
    }

    const SLIPS: &[(&str, &str)] = &[
        ("", "one is empty"),
        ("*", "`*` alone is none"),
        ("null", "serve yours over http"),
        ("NULL", "serve yours over http"),
        ("https://", "its host is missing"),
        ("https://*", "`*.` stands right behind"),
        ("https://*.", "its host is missing"),
        ("https://a.*.com", "`*.` stands right behind"),
        ("https://a.com:99999", "port is 1 to 65535"),
        ("https://a.com:0", "port is 1 to 65535"),
        ("https://a.com:x", "port is 1 to 65535"),
        ("http://localhost:*", "port is 1 to 65535"),
        ("https://a..com", "its host has letters"),
        ("https://a%2ecom", "its host has letters"),
        ("https://xn--.com", "no name that can be registered"),
        ("https://a.xn--", "no name that can be registered"),
        ("https://[::1", "no IPv6 address"),
        ("https://[g]", "no IPv6 address"),
        ("http://::1:5173", "stands in brackets"),
        ("https://300.0.0.1", "an IPv4 address"),
        ("https://1.2.3.4.5", "an IPv4 address"),
        ("https://a.0x10", "an IPv4 address"),
        ("https://a.1", "an IPv4 address"),
        ("https,https://a.com", "its scheme"),
        ("about:blank", "its scheme is missing"),
        ("file:///", "its host is missing"),
        ("chat", "its scheme is missing"),
        ("example.com", ": write https://example.com"),
        ("localhost:5173", ": write http://localhost:5173"),
        ("127.0.0.1:5173", ": write http://127.0.0.1:5173"),
        ("https//a.com", ": write https://a.com"),
        ("https:/a.com", ": write https://a.com"),
        ("https:a.com", ": write https://a.com"),
        ("http:/localhost:5173", ": write http://localhost:5173"),
        ("//a.com", ": write https://a.com"),
        ("https:///a.com", ": write https://a.com"),
        ("https://https://a.com", ": write https://a.com"),
        ("blob:https://a.com", ": write https://a.com"),
        ("1://a.com", ": write https://a.com"),
        ("https:\\\\a.com\\", ": write https://a.com"),
        ("https://a.com/path", ": write https://a.com"),
        ("https://a.com//", ": write https://a.com"),
        ("https://a.com/*", ": write https://a.com"),
        ("https://a.com?x", ": write https://a.com"),
        ("https://a.com/?u=http://b.com", ": write https://a.com"),
        ("https://me@a.com", ": write https://a.com"),
        ("wss://me@a.com:443/ws", ": write https://a.com"),
        ("wss://a.com/", ": write https://a.com"),
        ("ws://a.com:3000", ": write http://a.com:3000"),
        ("https://a.com:+443", ": write https://a.com"),
        ("https://a.com:+8443", ": write https://a.com:8443"),
        (
            "http://a.com:8080:80",
            "it has one port: write http://a.com:8080",
        ),
        ("http://[::1]:8080:80", ": write http://[::1]:8080"),
        ("https://example.com:443:", ": write https://example.com"),
        ("https://fd00::a", ": write https://[fd00::a]"),
        ("https://*a.com", ": write https://*.a.com"),
        ("https://**.a.com", ": write https://*.a.com"),
        ("https://*.*.a.com", ": write https://*.a.com"),
        ("*.a.com", ": write https://*.a.com"),
        ("https://*.127.0.0.1", ": write https://127.0.0.1"),
        ("https://*.[::1]", ": write https://[::1]"),
        ("https://*.0x1", ": write https://0.0.0.1"),
        ("\"https://a.com\"", ": write https://a.com"),
        ("'https://a.com/'", ": write https://a.com"),
        ("[https://a.com]", ": write https://a.com"),
        ("https://a.com,", ": write https://a.com"),
        ("\u{feff}https://a.com", ": write https://a.com"),
        (
            "https://a.com https://b.com",
            "entry of its own: write https://a.com and https://b.com",
        ),
        (
            "https://a.com\nb.com",
            "entry of its own: write https://a.com and https://b.com",
        ),
        (
            "https://a.com|https://b.com",
            "entry of its own: write https://a.com and https://b.com",
        ),
        (
            "https://a.com;wss://b.com/ws",
            ": write https://a.com and https://b.com",
        ),
        (
            "https://a.com, b.com; c.com",
            ": write https://a.com, https://b.com and https://c.com",
        ),
    ];

    #[test]
    fn what_is_no_rule_says_what_to_write() {
        for (bad, advice) in SLIPS {
            let fault = bad.parse::<OriginRule>().expect_err(bad).to_string();
            assert!(
                fault.starts_with("an origin is") && fault.contains(advice),
                "{bad:?}: {fault}"
            );
            slip::tests::assert_accepted::<OriginRule>(&fault);
        }
    }

    #[test]
    fn what_nobody_could_tell_is_not_guessed() {
        for text in [
            "",
            "*",
            "null",
            "all",
            "any",
            "https",
            "https:8080",
            "a.*.com",
            "https://a..com",
            "https://a.com:99999",
            "http://localhost:*",
            "http://[::1",
            "http://::1:5173",
            ".a.com",
            "http://[fe80::1%1]",
            "http://fe80::1%1",
            "http://1::2::3",
            "about:blank",
            "data:,x",
            "file:///",
            "https, https://a.com",
            "https://a.1",
        ] {
            let fault = text.parse::<OriginRule>().expect_err(text).to_string();
            assert!(!fault.contains(": write "), "{text:?}: {fault}");
        }
    }
}
