//! URLs of endpoints.

use core::{fmt, str::FromStr};

use roomcast_token::{JwksUrl, JwksUrlError};

/// The URL of an endpoint: `https://`, or `http://` to the machine itself.
// The same rules as for the other URLs that a server calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookUrl(JwksUrl);

/// The error of a text that cannot be the URL of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HookUrlError {
    /// The scheme of the URL is not `https`.
    #[error(
        "the URL begins with `https://`; with `http://` it may only lead to this machine, such as \
         http://127.0.0.1:8080/hook"
    )]
    Scheme,
    /// The URL has characters that no URL has.
    #[error(
        "the URL has up to 2048 characters as a request sends them: no spaces, `{{}}`, `#` or \
         letters beyond ASCII"
    )]
    Characters,
    /// The host is missing, or has a user name before it.
    #[error("the URL needs a host, and has no user name or password before it")]
    Host,
}

impl HookUrl {
    /// The URL as it was written.
    pub const fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL without its query, which may hold a secret: for logs.
    pub fn shown(&self) -> &str {
        let url = self.as_str();
        url.split('?').next().unwrap_or(url)
    }
}

impl FromStr for HookUrl {
    type Err = HookUrlError;

    fn from_str(text: &str) -> Result<Self, HookUrlError> {
        text.parse().map(Self).map_err(|fault| match fault {
            JwksUrlError::Scheme => HookUrlError::Scheme,
            JwksUrlError::Host => HookUrlError::Host,
            JwksUrlError::Characters | _ => HookUrlError::Characters,
        })
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
