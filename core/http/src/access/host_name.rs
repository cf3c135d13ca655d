//! Hosts of URLs, as browsers write them.

use alloc::{borrow::ToOwned, string::String};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The host of a URL. It prints as browsers send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// Labels with dots between them, in lower case. A dot at the end is a part of the name.
    Name(String),
    /// An address. An IPv4 address may be written as an IPv6 one.
    Address(IpAddr),
}

impl Host {
    /// Reads a host as the address bar of a browser does, by the URL standard: upper case, letters
    /// beyond ASCII and other spellings of an address mean what they mean there.
    ///
    /// # Errors
    ///
    /// The text that says what is wrong with the host.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("its host is missing".to_owned());
        }
        if let Some(address) = text.strip_prefix('[') {
            let address = address.strip_suffix(']').map(str::parse::<Ipv6Addr>);
            return match address {
                Some(Ok(address)) => Ok(Self::Address(address.into())),
                _ => Err("what stands in brackets is no IPv6 address".to_owned()),
            };
        }
        if text.contains(':') {
            return Err("an IPv6 address stands in brackets, like [::1]".to_owned());
        }
        let mut name = text.to_ascii_lowercase();
        if !name.is_ascii() || name.split('.').any(|label| label.starts_with("xn--")) {
            name = to_ascii(&name)?;
        }
        // A dot at the end is a part of the name.
        let mut labels = without_dot(&name).split('.');
        if name.len() > 253 || !labels.clone().all(is_label) {
            return Err("its host has letters, digits, `-`, `_` and single dots".to_owned());
        }
        if !labels.next_back().is_some_and(is_number) {
            return Ok(Self::Name(name));
        }
        let fault = "a host that ends in a number is an IPv4 address to browsers, and an IPv4 address \
            has four numbers from 0 to 255";
        let address = ipv4(&name).ok_or(fault)?;
        Ok(Self::Address(address.into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            // Browsers write all of it in hexadecimal.
            Self::Address(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(_) => {
                    let [.., high, low] = address.segments();
                    write!(f, "[::ffff:{high:x}:{low:x}]")
                }
                None => write!(f, "[{address}]"),
            },
        }
    }
}

/// A name without its wildcard `*.`, which stands for whole labels, and true if it had one.
pub(super) fn split_wildcard(name: &str) -> (bool, &str) {
    let behind = name.strip_prefix("*.");
    (behind.is_some(), behind.unwrap_or(name))
}

/// The wildcard of a rule; empty if it has none.
pub(super) const fn wildcard(subdomains: bool) -> &'static str {
    if subdomains { "*." } else { "" }
}

/// True when a rule, with a wildcard if it has `subdomains`, covers this name.
pub(super) fn covers(subdomains: bool, rule: &str, name: &str) -> bool {
    let labels = name.strip_suffix(rule);
    if subdomains {
        // At least one whole label before the dot.
        let labels = labels.and_then(|labels| labels.strip_suffix('.'));
        labels.is_some_and(|labels| !labels.is_empty())
    } else {
        labels == Some("")
    }
}

/// A name without a dot at its end.
pub(super) fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The number of a port.
pub(super) fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| is_number && port > 0)
}

fn is_label(label: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len()) && label.bytes().all(known)
}

/// True for a last label that makes browsers read a host as an IPv4 address, or as a fault.
fn is_number(label: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits(label) || label.strip_prefix("0x").is_some_and(hexadecimal)
}

/// The IPv4 address as which a browser reads a host in lower case: one to four numbers in decimal,
/// octal or hexadecimal, the last of which fills the remaining bytes.
fn ipv4(host: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some("") => Some(0),
        _ if !is_number(text) || text.is_empty() => None,
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    let host = without_dot(host);
    let (mut address, mut bits_left) = (0, 32);
    let mut numbers = host.split('.').peekable();
    while let Some(text) = numbers.next() {
        let number: u32 = number(text)?;
        if bits_left == 0 {
            return None; // a fifth one
        }
        if numbers.peek().is_none() {
            let fits = bits_left == 32 || number < 1 << bits_left;
            return fits.then(|| Ipv4Addr::from(address | number));
        }
        bits_left -= 8;
        address |= u32::from(u8::try_from(number).ok()?) << bits_left;
    }
    None
}

const UNREGISTRABLE: &str = "its host is no name that can be registered";

/// The ASCII form of a host name with other letters, as browsers make it.
#[cfg(feature = "idn")]
fn to_ascii(host: &str) -> Result<String, String> {
    idna::domain_to_ascii(host).map_err(|_| UNREGISTRABLE.to_owned())
}

/// The same without the tables of Unicode, which are large. Letters beyond ASCII are refused, and a
/// label that begins with `xn--` must encode some.
#[cfg(not(feature = "idn"))]
fn to_ascii(host: &str) -> Result<String, String> {
    if !host.is_ascii() {
        return Err(alloc::format!(
            "its host has to be in ASCII, with xn-- as browsers send it: `new \
             URL(\"https://{host}\").host` in the console of a browser prints it"
        ));
    }
    let labels = host.split('.');
    let mut encoded = labels.filter_map(|label| label.strip_prefix("xn--"));
    if encoded.any(|letters| letters.is_empty() || letters.ends_with('-')) {
        return Err(UNREGISTRABLE.to_owned());
    }
    Ok(host.to_owned())
}

/// The host of a `Host` header or an authority, without its port.
pub(crate) fn host_only(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// The address in the host of a request, in full form: IPv6 in brackets.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => {
            let address: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
            Some(address.to_canonical())
        }
        None => Some(host.parse::<Ipv4Addr>().ok()?.into()),
    }
}

/// True for a host name that can only mean this machine: `localhost`, a name below it, a loopback
/// address.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    if let Some(address) = address(host) {
        return address.is_loopback();
    }
    let name = host.to_ascii_lowercase();
    let labels = name.strip_suffix(".localhost");
    name == "localhost" || labels.is_some_and(|labels| labels.split('.').all(is_label))
}

/// True for a host name that looks as if a proxy had set it: loopback, a private address, or a name
/// of one label, like the upstreams in the configuration of proxies.
pub(super) fn is_upstream_host(host: &str) -> bool {
    match address(host) {
        Some(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Some(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        None => !host.is_empty() && (is_loopback_host(host) || !host.contains('.')),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_host_is_read_as_a_browser_reads_it() {
        for (text, sent) in [
            ("Chat.Example", "chat.example"),
            ("chat.example.", "chat.example."),
            ("app_servers", "app_servers"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("0x7f.example", "0x7f.example"),
            ("1.0xg", "1.0xg"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("127.0.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0X7F.0x0.0.0x1", "127.0.0.1"),
            ("0x", "0.0.0.0"),
            ("0", "0.0.0.0"),
            ("1", "0.0.0.1"),
            ("017.1", "15.0.0.1"),
            ("1.2.3.0x4", "1.2.3.4"),
            ("2130706433", "127.0.0.1"),
            ("4294967295", "255.255.255.255"),
            ("1.16777215", "1.255.255.255"),
            ("[::1]", "[::1]"),
            ("[0:0::1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[1:0:0:2:0:0:0:3]", "[1:0:0:2::3]"),
            ("[1:0:2:0:3:0:4:5]", "[1:0:2:0:3:0:4:5]"),
            ("[::ffff:1.2.3.4]", "[::ffff:102:304]"),
            ("[::ffff:0:0]", "[::ffff:0:0]"),
            ("[::1.2.3.4]", "[::102:304]"),
            ("[64:ff9b::1.2.3.4]", "[64:ff9b::102:304]"),
        ] {
            let host = Host::read(text).expect(text);
            assert_eq!(host.to_string(), sent, "{text}");
            assert_eq!(Host::read(sent).expect(sent), host, "{sent}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a%2eb",
            "a/b",
            "::1",
            "a:80",
            "[::1",
            "[1.2.3.4]",
            "[::1%1]",
            "[]",
            "a.0x10",
            "a.1",
            "1.2.3.4.5",
            "256.0.0.1",
            "1.2.3.256",
            "1.2.65536",
            "1.16777216",
            "4294967296",
            "08",
            "1..2",
            "1.2.3.0xfff",
            "xn--.com",
            "a.xn--",
            "xn--a-.com",
        ] {
            assert!(Host::read(bad).is_err(), "{bad:?}");
        }
        assert!(Host::read(&"a".repeat(64)).is_err());
        assert!(Host::read(&"a.".repeat(127)).is_err());
    }

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
            "a..localhost",
            "evil/.localhost",
            "evil?.localhost",
            "evil#.localhost",
            "user@.localhost",
            "*.localhost",
            "localhost.",
            "10.0.0.1",
            "0.0.0.0",
            "[127.0.0.1]",
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
        for bad in ["", "chat.example", "203.0.113.7"] {
            assert!(!is_upstream_host(bad), "{bad}");
        }
    }
}
