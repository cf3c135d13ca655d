//! URLs of published keys.

use alloc::boxed::Box;
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The URL of published keys: `https://`, or `http://` to the machine itself.
///
/// It is fixed. A URL that a token could complete would let anyone use their own keys.
///
/// ```
/// use roomcast_token::JwksUrl;
///
/// assert!("https://login.example.com/.well-known/jwks.json".parse::<JwksUrl>().is_ok());
/// assert!("https://login.example.com/{tenant}/jwks.json".parse::<JwksUrl>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksUrl(Box<str>);

/// The error of a text that cannot be the URL of published keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksUrlError {
    /// The scheme of the URL is not `https`.
    #[error(
        "the URL of published keys begins with `https://`; with `http://` it may only lead to this \
         machine, such as http://127.0.0.1:8080/jwks.json"
    )]
    Scheme,
    /// The URL has characters of a template, or characters that no URL has.
    #[error(
        "the URL of published keys is fixed, up to 2048 characters as a request sends them: no \
         templates (`{{...}}`), spaces, `#` or letters beyond ASCII"
    )]
    Characters,
    /// The host is missing, or has a user name before it.
    #[error("the URL of published keys needs a host, and has no user name or password before it")]
    Host,
}

impl JwksUrl {
    const BYTES_MAX: usize = 2048;

    /// The URL as it was written.
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JwksUrl {
    type Err = JwksUrlError;

    fn from_str(text: &str) -> Result<Self, JwksUrlError> {
        let fits = |byte: u8| byte.is_ascii_graphic() && !br##"{}<>"\^`|#"##.contains(&byte);
        if text.len() > Self::BYTES_MAX || !text.bytes().all(fits) {
            return Err(JwksUrlError::Characters);
        }
        let (scheme, rest) = text.split_once("://").ok_or(JwksUrlError::Scheme)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let host = host(&rest[..end]).ok_or(JwksUrlError::Host)?;
        match scheme {
            "https" => {}
            "http" if is_loopback(host) => {}
            _ => return Err(JwksUrlError::Scheme),
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host of an authority, without its port.
fn host(authority: &str) -> Option<&str> {
    // In brackets there are colons.
    let split = match authority.rfind(']') {
        Some(end) => end + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(split);
    let port_fits = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        });
    let host_fits = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !host.is_empty() && host.chars().all(fits)
        }
    };
    (port_fits && host_fits).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<Ipv4Addr>().is_ok_and(|it| it.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_or_of_this_machine() {
        for good in [
            "https://example.com",
            "https://example.com/a/b?c=d%20e",
            "https://example.com:8443/jwks",
            "https://[2001:db8::1]:443/",
            "http://localhost/jwks",
            "http://127.1.2.3:8080/jwks",
            "http://[::1]/jwks",
        ] {
            let url: Result<JwksUrl, _> = good.parse();
            assert_eq!(url.as_ref().map(JwksUrl::as_str), Ok(good));
        }
        for (bad, fault) in [
            ("http://example.com/", JwksUrlError::Scheme),
            ("http://127.0.0.1.example.com/", JwksUrlError::Scheme),
            ("http://localhost.example.com/", JwksUrlError::Scheme),
            ("ftp://localhost/", JwksUrlError::Scheme),
            ("HTTPS://example.com/", JwksUrlError::Scheme),
            ("/jwks.json", JwksUrlError::Scheme),
            ("", JwksUrlError::Scheme),
            ("https://example.com/{kid}", JwksUrlError::Characters),
            ("https://{iss}/jwks", JwksUrlError::Characters),
            ("https://example.com/#a", JwksUrlError::Characters),
            ("https://example.com/a b", JwksUrlError::Characters),
            ("https://ex\u{e4}mple.com/", JwksUrlError::Characters),
            ("https://example.com\\@evil.com/", JwksUrlError::Characters),
            ("https:///jwks", JwksUrlError::Host),
            ("https://a@example.com/", JwksUrlError::Host),
            ("http://localhost@example.com/", JwksUrlError::Host),
            ("http://localhost:80@example.com/", JwksUrlError::Host),
            ("https://example.com:99999/", JwksUrlError::Host),
            ("https://[::1/", JwksUrlError::Host),
        ] {
            assert_eq!(bad.parse::<JwksUrl>(), Err(fault), "{bad}");
        }
    }
}
