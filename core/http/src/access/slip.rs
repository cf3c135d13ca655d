//! Mistakes in settings that name hosts and origins, with corrections.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::Ipv6Addr;

use super::host_name::{Host, is_loopback_host, port, wildcard};

/// Describes a fault of a text in one sentence, with the rules to write if they can be guessed.
pub(super) fn told(
    expected: &str,
    fault: &str,
    text: &str,
    meant: &dyn Fn(Parts) -> Option<String>,
) -> String {
    match &*each(text, meant) {
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

/// Returns the rule that each entry of a list means; nothing if any entry has no clear meaning.
fn each(text: &str, meant: &dyn Fn(Parts) -> Option<String>) -> Vec<String> {
    let text = unwrapped(text);
    let separates = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '|');
    let entries = text.split(separates).filter(|entry| !entry.is_empty());
    let entries: Vec<&str> = entries.collect();
    // A word among several may be a part of anything.
    let is_whole = |entry: &&str| entry.contains('.') || entry.contains("://");
    if entries.len() > 1 && !entries.iter().all(is_whole) {
        return Vec::new();
    }
    let meant = entries
        .into_iter()
        .map(|entry| meant(Parts::of(unwrapped(entry))?));
    meant.collect::<Option<_>>().unwrap_or_default()
}

/// A text without the characters that files, shells and templates leave around it: blanks,
/// zero-width marks, quotes, brackets, separators.
fn unwrapped(text: &str) -> &str {
    let is_around = |c: char| {
        let is_mark = matches!(c, '\u{200b}' | '\u{feff}' | '\u{2018}'..='\u{201f}');
        c.is_whitespace() || is_mark || "\"'`<>(),;|".contains(c)
    };
    let bare = text.trim_matches(is_around);
    let within = bare.strip_prefix('[');
    let within = within.and_then(|rest| rest.strip_suffix(']'));
    // Brackets with a colon in them and no scheme belong to an IPv6 address.
    let within = within.filter(|text| text.contains("://") || !text.contains(':'));
    within.map_or(bare, |text| text.trim_matches(is_around))
}

pub(super) fn is_scheme(scheme: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_lowercase()) && scheme.bytes().all(fits)
}

/// Parts read from a text that is nearly the URL of a host.
pub(super) struct Parts {
    scheme: Option<String>,
    subdomains: bool,
    host: String,
    port: Option<u16>,
}

impl Parts {
    /// The host that is meant, with its wildcard.
    pub(super) fn name(&self) -> String {
        format!("{}{}", wildcard(self.subdomains), self.host)
    }

    /// The origin that is meant.
    pub(super) fn origin(&self) -> Option<String> {
        let scheme = match self.scheme.as_deref() {
            Some("ws") => "http",
            Some("wss") => "https",
            Some(scheme) if is_scheme(scheme) => scheme,
            // A word alone may be anything.
            None if !self.host.contains(['.', '[']) && !is_loopback_host(&self.host) => {
                return None;
            }
            _ if is_loopback_host(&self.host) => "http",
            _ => "https",
        };
        let port = self.port.map(|port| format!(":{port}"));
        Some(format!(
            "{scheme}://{}{}",
            self.name(),
            port.unwrap_or_default()
        ))
    }

    fn of(text: &str) -> Option<Self> {
        let text = text.replace('\\', "/");
        let (mut scheme, mut rest) = (None, &*text);
        while let Some((before, behind)) = scheme_of(rest) {
            (scheme, rest) = (Some(before), behind.trim_start_matches('/'));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = rest[..end].rsplit('@').next().unwrap_or_default();
        let name = authority.trim_start_matches(['*', '.']);
        let stars = &authority[..authority.len() - name.len()];
        if stars.starts_with('.') {
            return None;
        }
        let (host, port) = host_and_port(name)?;
        Some(Self {
            scheme,
            subdomains: !stars.is_empty() && matches!(host, Host::Name(_)),
            host: host.to_string(),
            port,
        })
    }
}

/// The scheme at the beginning of a text, in lower case, and the text after it.
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

/// A host and its port; the first port if there are several.
fn host_and_port(authority: &str) -> Option<(Host, Option<u16>)> {
    let end = authority.rsplit(':').next().unwrap_or_default();
    let (host, ports) = match authority.find(']') {
        Some(end) => {
            let (host, ports) = authority.split_at(end + 1);
            (host, ports.strip_prefix(':').unwrap_or(ports))
        }
        None => match authority.parse::<Ipv6Addr>() {
            // Its last number may be meant as a port.
            Ok(_) if end.len() > 1 && end.bytes().all(|byte| byte.is_ascii_digit()) => return None,
            Ok(address) => return Some((Host::Address(address.into()), None)),
            Err(_) if authority.contains("::") => return None,
            Err(_) => authority.split_once(':').unwrap_or((authority, "")),
        },
    };
    let host = Host::read(host).ok()?;
    let number = ports.split(':').next().unwrap_or_default();
    match number.strip_prefix('+').unwrap_or(number) {
        "" => Some((host, None)),
        number => Some((host, Some(port(number)?))),
    }
}

#[cfg(test)]
pub(super) mod tests;
