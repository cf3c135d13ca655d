//! The settings of a backend that is asked.

use alloc::{boxed::Box, vec::Vec};
use core::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    hook_url::HookUrl,
    key::KeySource,
    limits::{ASK_HEADERS_MAX, ASK_TIMEOUT_MAX, ASK_TIMEOUT_MIN, KEYS_MAX},
};

/// A backend that is asked who a connection is, and which rooms it may join.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskSettings {
    /// The URL that questions are sent to.
    pub url: HookUrl,
    /// The events at which it is asked.
    pub on: AskOn,
    /// Time for an answer; default 1 s, 10 ms to 10 s. After it the answer is `unavailable`.
    pub timeout: Duration,
    /// Header fields of the client's request that are forwarded to the backend; default none.
    pub headers: Vec<HeaderName>,
    /// The keys that sign.
    pub keys: Vec<KeySource>,
    /// True when the backend is asked about clients with a valid token as well; default false.
    pub with_token: bool,
}

/// Events at which a backend is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskOn {
    /// A client connects.
    pub connect: bool,
    /// A client joins a room, and no grant of its own or of the settings allows it.
    pub join: bool,
}

/// An event at which a backend can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskEvent {
    /// A client connects.
    Connect,
    /// A client joins a room.
    Join,
}

impl FromIterator<AskEvent> for AskOn {
    fn from_iter<I: IntoIterator<Item = AskEvent>>(events: I) -> Self {
        let mut on = Self::default();
        for event in events {
            match event {
                AskEvent::Connect => on.connect = true,
                AskEvent::Join => on.join = true,
            }
        }
        on
    }
}

/// The name of a header field, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(Box<str>);

/// The error of invalid settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskSettingsError {
    /// Nothing would be asked.
    #[error("`on` names \"connect\", \"join\" or both")]
    NoEvents,
    /// The number of keys does not fit.
    #[error("`keys` has 1 to {KEYS_MAX} keys")]
    Keys,
    /// The time is out of range.
    #[error(
        "`timeout_ms` must be {} to {}",
        ASK_TIMEOUT_MIN.as_millis(),
        ASK_TIMEOUT_MAX.as_millis()
    )]
    Timeout,
    /// There are too many header fields.
    #[error("`headers` has at most {ASK_HEADERS_MAX} names")]
    Headers,
    /// The name of a header field is not valid.
    #[error("a header field has a name such as \"cookie\"")]
    HeaderName,
}

impl AskSettings {
    /// The default of [`timeout`](Self::timeout).
    pub const TIMEOUT: Duration = Duration::from_secs(1);

    /// A backend, with defaults for everything else.
    ///
    /// # Errors
    ///
    /// When no event is named, or none or too many keys.
    pub fn new(url: HookUrl, on: AskOn, keys: Vec<KeySource>) -> Result<Self, AskSettingsError> {
        if !(on.connect || on.join) {
            return Err(AskSettingsError::NoEvents);
        }
        if !(1..=KEYS_MAX).contains(&keys.len()) {
            return Err(AskSettingsError::Keys);
        }
        Ok(Self {
            url,
            on,
            timeout: Self::TIMEOUT,
            headers: Vec::new(),
            keys,
            with_token: false,
        })
    }

    /// True when the backend is asked about a client that connects, with or without a valid token.
    pub const fn asks_connect(&self, by_token: bool) -> bool {
        self.on.connect && (!by_token || self.with_token)
    }

    /// Sets the time for an answer.
    ///
    /// # Errors
    ///
    /// When it is out of range.
    pub fn with_timeout(mut self, timeout: Duration) -> Result<Self, AskSettingsError> {
        if !(ASK_TIMEOUT_MIN..=ASK_TIMEOUT_MAX).contains(&timeout) {
            return Err(AskSettingsError::Timeout);
        }
        self.timeout = timeout;
        Ok(self)
    }

    /// Sets the header fields that are forwarded.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub fn with_headers(mut self, headers: Vec<HeaderName>) -> Result<Self, AskSettingsError> {
        if headers.len() > ASK_HEADERS_MAX {
            return Err(AskSettingsError::Headers);
        }
        self.headers = headers;
        Ok(self)
    }
}

impl HeaderName {
    /// The name.
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = AskSettingsError;

    fn from_str(text: &str) -> Result<Self, AskSettingsError> {
        let is_of_a_name =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_name = (1..=64).contains(&text.len()) && text.bytes().all(is_of_a_name);
        if is_name {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(AskSettingsError::HeaderName)
        }
    }
}
