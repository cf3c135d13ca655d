//! Which web pages may connect.

use alloc::{borrow::ToOwned, format, string::String};
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

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

/// A text that is no origin; says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OriginRuleError(String);

/// A rule as an operator may write it, in the form in which browsers send origins.
///
/// Blanks and line ends around it, a `/` at its end, upper case, zeros before the port and letters
/// beyond ASCII mean what they mean in the address bar of a browser.
impl FromStr for OriginRule {
    type Err = OriginRuleError;

    fn from_str(text: &str) -> Result<Self, OriginRuleError> {
        let text = text.trim();
        let wrong = |advice: &str| OriginRuleError(format!("{EXPECTED}: {advice}"));
        let fault = |advice: &str| Err(wrong(advice));
        if text.contains(char::is_whitespace) {
            return fault("blanks and line ends separate none, write a comma between two");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text {
                "" => fault("one is empty"),
                "*" => fault("list the pages that may connect, `*` alone is none"),
                host => fault(&format!("write https://{host}")),
            };
        };
        let scheme = scheme.to_ascii_lowercase();
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        match &*scheme {
            "wss" => return fault(&format!("it is that of the page, write https://{rest}")),
            "ws" => return fault(&format!("it is that of the page, write http://{rest}")),
            _ => {}
        }
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme {
            return fault("its scheme is not one, write https://");
        }
        if let Some(end) = rest.find(['/', '?', '#']) {
            return fault(&format!(
                "it has no path, write {scheme}://{}",
                &rest[..end]
            ));
        }
        if let Some((_, host)) = rest.rsplit_once('@') {
            return fault(&format!("it has no user, write {scheme}://{host}"));
        }
        let (subdomains, authority) = match rest.strip_prefix("*.") {
            Some(authority) => (true, authority),
            None => (false, rest),
        };
        if authority.contains('*') {
            return fault("`*.` stands right behind ://, for whole labels");
        }
        let (host, port) = split_port(authority);
        let port = match port {
            None | Some("") => None,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return fault("its port is 1 to 65535"),
            },
        };
        let mut authority = host_as_sent(host).map_err(|advice| wrong(&advice))?;
        match (&*scheme, port) {
            ("http", Some(80)) | ("https", Some(443)) | (_, None) => {}
            (_, Some(port)) => authority.push_str(&format!(":{port}")),
        }
        Ok(Self {
            scheme,
            authority,
            subdomains,
        })
    }
}

const EXPECTED: &str = "an origin is a scheme, a host and maybe a port, like https://example.com or https://*.example.com";

/// The host of an authority, and what stands behind the colon.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let behind_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[behind_brackets..].rfind(':') {
        Some(colon) => {
            let colon = behind_brackets + colon;
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        None => (authority, None),
    }
}

/// A host as browsers send it; else the advice.
fn host_as_sent(host: &str) -> Result<String, String> {
    if host.is_empty() {
        return Err("its host is missing".to_owned());
    }
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return match address {
            Some(Ok(address)) => Ok(format!("[{address}]")),
            _ => Err("what stands in brackets is no IPv6 address".to_owned()),
        };
    }
    if host.contains(':') {
        return Err("an IPv6 address stands in brackets, like http://[::1]:5173".to_owned());
    }
    let host = if host.is_ascii() {
        host.to_ascii_lowercase()
    } else {
        to_ascii(host)?
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // A dot at the end is a part of the name.
    let mut labels = host.strip_suffix('.').unwrap_or(&host).split('.');
    if host.len() > 253 || !labels.clone().all(is_label) {
        return Err("its host has letters, digits, `-`, `_` and single dots".to_owned());
    }
    // A name that ends in a number is an IPv4 address to browsers.
    let numeric = labels
        .next_back()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("an IPv4 address has four numbers from 0 to 255".to_owned());
    }
    Ok(host)
}

/// The ASCII form of a host name with other letters, as browsers make it.
#[cfg(feature = "idn")]
fn to_ascii(host: &str) -> Result<String, String> {
    idna::domain_to_ascii(host).map_err(|_| "its host is no name that can be registered".to_owned())
}

/// Refuses: the tables for it are large, and a host has its own or does without.
#[cfg(not(feature = "idn"))]
fn to_ascii(host: &str) -> Result<String, String> {
    Err(format!(
        "write the host in ASCII, with xn-- as browsers send it: `new URL(\"https://{host}\").host` in \
         the console of a browser prints it"
    ))
}

impl fmt::Display for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wildcard = if self.subdomains { "*." } else { "" };
        write!(f, "{}://{wildcard}{}", self.scheme, self.authority)
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
    use alloc::{string::ToString, vec::Vec};

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

    #[test]
    fn what_is_no_rule_says_what_to_write() {
        for (bad, advice) in [
            ("example.com", "write https://example.com"),
            ("", "one is empty"),
            ("*", "`*` alone is none"),
            ("https://", "its host is missing"),
            ("https://*", "`*.` stands right behind"),
            ("https://*.", "its host is missing"),
            ("https://a.*.com", "`*.` stands right behind"),
            ("https://a.com/path", "write https://a.com"),
            ("https://a.com?x", "write https://a.com"),
            ("https://me@a.com", "write https://a.com"),
            ("wss://a.com/", "write https://a.com"),
            ("ws://a.com:3000", "write http://a.com:3000"),
            ("https://a.com:99999", "port is 1 to 65535"),
            ("https://a.com:0", "port is 1 to 65535"),
            ("https://a.com:x", "port is 1 to 65535"),
            ("https://a.com https://b.com", "write a comma"),
            ("https://a.com\nhttps://b.com", "write a comma"),
            ("https://a..com", "its host has letters"),
            ("https://a%2ecom", "its host has letters"),
            ("https://::1", "stands in brackets"),
            ("https://[::1", "stands in brackets"),
            ("https://[g]", "no IPv6 address"),
            ("https://127.1", "an IPv4 address"),
            ("https://300.0.0.1", "an IPv4 address"),
            ("1://a.com", "its scheme"),
            ("https,https://a.com", "its scheme"),
        ] {
            let fault = bad.parse::<OriginRule>().expect_err(bad).to_string();
            assert!(
                fault.starts_with("an origin is") && fault.contains(advice),
                "{bad:?}: {fault}"
            );
        }
    }
}
