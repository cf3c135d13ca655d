//! Slips in settings that name hosts and origins, and what was meant.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, Ipv6Addr};

use super::{
    HostRule, OriginRule,
    host_name::{Host, is_loopback_host},
};

/// A fault in one sentence, with what to write where that is known.
pub(super) fn told(expected: &str, fault: &str, meant: &[String]) -> String {
    match meant {
        [] => format!("{expected}: {fault}"),
        [one] => format!("{expected}: {fault}: write {one}"),
        [others @ .., last] => {
            let others = others.join(", ");
            format!(
                "{expected}: these are several, each is an entry of its own: write {others} and {last}"
            )
        }
    }
}

/// The origins that a text without a rule means; empty when nobody could tell. Each is a rule.
pub(super) fn origins(text: &str) -> Vec<String> {
    each(text, |text| {
        let rule = OriginRule::read(&origin(text)?).ok()?;
        Some(rule.to_string())
    })
}

/// The hosts that a text without a rule means; empty when nobody could tell. Each is a rule.
pub(super) fn hosts(text: &str) -> Vec<String> {
    each(text, |text| {
        let parts = Parts::of(text)?;
        let wildcard = if parts.subdomains { "*." } else { "" };
        let rule = HostRule::read(&format!("{wildcard}{}", parts.host)).ok()?;
        Some(rule.to_string())
    })
}

/// Returns the meaning of each entry of a list; nothing when any entry has no meaning.
fn each(text: &str, meant: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let text = unwrapped(text);
    let separates = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '|');
    let entries = text.split(separates).filter(|entry| !entry.is_empty());
    let entries: Vec<&str> = entries.collect();
    // A word among several may be a part of anything.
    let is_whole = |entry: &&str| entry.contains('.') || entry.contains("://");
    if entries.len() > 1 && !entries.iter().all(is_whole) {
        return Vec::new();
    }
    let meant = entries.into_iter().map(|entry| meant(unwrapped(entry)));
    meant.collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// A text without what files, shells and templates leave around it: blanks, marks without a width,
/// quotes, brackets, separators.
fn unwrapped(text: &str) -> &str {
    let is_around = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '"' | '\'' | '`' | '<' | '>' | '(' | ')' | ',' | ';' | '|'
            )
            || matches!(c, '\u{200b}' | '\u{feff}' | '\u{2018}'..='\u{201f}')
    };
    let bare = text.trim_matches(is_around);
    let within = bare
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match within {
        // In brackets of its own an IPv6 address stands, or what is meant for one.
        Some(within) if within.contains("://") || !within.contains(':') => {
            within.trim_matches(is_around)
        }
        _ => bare,
    }
}

/// The origin that a text means.
fn origin(text: &str) -> Option<String> {
    let parts = Parts::of(text)?;
    let scheme = match parts.scheme.as_deref() {
        Some("ws") => "http".to_owned(),
        Some("wss") => "https".to_owned(),
        Some(scheme) if is_scheme(scheme) => scheme.to_owned(),
        // A word alone may be anything.
        None if !parts.host.contains(['.', '[']) && !is_loopback_host(&parts.host) => return None,
        _ if is_loopback_host(&parts.host) => "http".to_owned(),
        _ => "https".to_owned(),
    };
    let wildcard = if parts.subdomains { "*." } else { "" };
    let port = parts.port.map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    Some(format!("{scheme}://{wildcard}{}{port}", parts.host))
}

pub(super) fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Parts that are read out of a text that is nearly the URL of a host.
struct Parts {
    scheme: Option<String>,
    subdomains: bool,
    host: String,
    port: Option<u16>,
}

impl Parts {
    fn of(text: &str) -> Option<Self> {
        let text = text.replace('\\', "/");
        let (mut scheme, mut rest) = (None, &*text);
        while let Some((before, behind)) = scheme_of(rest) {
            (scheme, rest) = (Some(before), behind.trim_start_matches('/'));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = &rest[..end];
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let name = authority.trim_start_matches(['*', '.']);
        let stars = &authority[..authority.len() - name.len()];
        if stars.starts_with('.') {
            return None;
        }
        let (host, port) = host_and_port(name)?;
        let host = Host::read(&host).ok()?;
        Some(Self {
            scheme,
            subdomains: !stars.is_empty() && matches!(host, Host::Name(_)),
            host: host.to_string(),
            port,
        })
    }
}

/// The scheme at the beginning of a text, in lower case, and what stands behind it.
fn scheme_of(text: &str) -> Option<(String, &str)> {
    if let Some((before, behind)) = text.split_once("://")
        && !before.contains(['/', '.', '?', '#', '@'])
    {
        let scheme = before.rsplit(':').next().unwrap_or(before);
        return Some((scheme.to_ascii_lowercase(), behind));
    }
    if let Some(behind) = text.strip_prefix("//") {
        return Some(("https".to_owned(), behind));
    }
    // `https//`, `https:/`, `https:a.com`; yet `https:8080` is a host with a port.
    ["https", "http", "wss", "ws"].iter().find_map(|scheme| {
        let begin = text.get(..scheme.len())?;
        let behind = &text[scheme.len()..];
        let named = behind
            .strip_prefix(':')
            .is_some_and(|behind| !behind.starts_with(|c: char| c.is_ascii_digit() || c == '*'));
        let is_slip = begin.eq_ignore_ascii_case(scheme) && (named || behind.starts_with("//"));
        is_slip.then(|| ((*scheme).to_owned(), behind.trim_start_matches([':', '/'])))
    })
}

/// A host and its port, the first of several.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, ports) = match authority.find(']') {
        Some(end) => {
            let (host, ports) = authority.split_at(end + 1);
            (host.to_owned(), ports.strip_prefix(':').unwrap_or(ports))
        }
        None => match authority.parse::<Ipv6Addr>() {
            // Its last number may be meant as a port.
            Ok(_) if has_decimal_end(authority) => return None,
            Ok(address) => return Some((Host::Address(IpAddr::V6(address)).to_string(), None)),
            Err(_) if authority.contains("::") => return None,
            Err(_) => match authority.split_once(':') {
                Some((host, ports)) => (host.to_owned(), ports),
                None => (authority.to_owned(), ""),
            },
        },
    };
    let port = ports.split(':').next().unwrap_or_default();
    let port = port.strip_prefix('+').unwrap_or(port);
    if port.is_empty() {
        return Some((host, None));
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port
        .parse()
        .ok()
        .filter(|&port: &u16| is_number && port > 0)?;
    Some((host, Some(port)))
}

fn has_decimal_end(address: &str) -> bool {
    let end = address.rsplit(':').next().unwrap_or_default();
    end.len() > 1 && end.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
pub(super) mod tests {
    use core::{fmt::Debug, str::FromStr};

    use super::*;

    /// Checks that what a fault says to write is taken as it stands.
    pub(crate) fn assert_accepted<T: FromStr<Err: Debug>>(fault: &str) {
        let Some((_, advice)) = fault.split_once(": write ") else {
            assert!(!fault.contains("write "), "{fault}");
            return;
        };
        for text in advice.replace(" and ", ", ").split(", ") {
            assert!(text.parse::<T>().is_ok(), "{text:?} of {fault}");
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
            assert_eq!(origins(text), Vec::<String>::new(), "{text:?}");
        }
    }
}
